"""One column of a table: texts or JSON values in, values of one kind out, and a warning where that needs saying."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from attrs import frozen

from sneframe.errors import ZooError
from sneframe.zoo.column import EXACT_IN_FLOAT

#: Texts that stand for a missing value, in lower case.
MISSING = frozenset({"", "-", "–", "—", "#n/a", "<na>", "n/a", "na", "nan", "null"})
NONE = "none"  #: stands for a missing value among numbers and truth values; among texts it may be a category
PERCENT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))\s*%")
#: Numbers with a decimal comma or with separators of thousands: ``0,91``, ``1,234``, ``1 234.5``, ``1_000``.
SEPARATED = re.compile(r"[+-]?(?:\d+,\d+|\d{1,3}(?:[,'’ _\u00a0\u202f]\d{3})+(?:[.,]\d+)?)")
LONGEST = 40  #: letters of a value that a warning shows


@frozen(kw_only=True)
class Source:
    """Where a column stands.

    Args:
        table: the table's name, as people call it.
        column: the column's name.
        lines: the number of each value's line.
        exported: whether ``sneframe zoo export`` wrote the table, in which only an empty text is missing.
    """

    table: str
    column: str
    lines: Sequence[int]
    exported: bool = False

    def warn(self, said: str) -> None:
        """Warn of something in this column."""
        warnings.warn(f"{self.table}: column {self.column!r}{said}", stacklevel=3)


def is_missing(value: object) -> bool:
    """Return whether a value of a table stands for none: None, NaN, or one of the texts :data:`MISSING`."""
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def typed(values: Sequence[str], source: Source) -> list[Any]:
    """Return the texts of a column as values of the first kind that all of them can be; None where missing.

    The kinds are int, float, fraction written with ``%``, bool and text.

    Args:
        values: the texts.
        source: where they stand.

    Raises:
        ZooError: some numbers have ``%``, others do not.

    Warns:
        UserWarning: values with ``%`` are read as fractions, or a few values make a column of numbers one of text.
    """
    words = [value.strip() for value in values]
    missing = [not word if source.exported else is_missing(word) for word in words]
    # Among texts, "none" is a value like any other.
    without = [
        gone or (word.lower() == NONE and not source.exported)
        for word, gone in zip(words, missing, strict=True)
    ]
    for read in (_int, _float, _bool):
        if not all(without) and (found := _read_all(words, without, read)) is not None:
            return found
    if not source.exported and (found := _percent(words, without, source)) is not None:
        return found
    _explain_text(words, missing, source)
    return [None if gone else word for word, gone in zip(words, missing, strict=True)]


def typed_json(values: Sequence[Any], source: Source) -> list[Any]:
    """Return the values of a column of JSON lines as values of one kind; None where missing.

    Texts stay texts, unless they stand among numbers: then they are read as those of a CSV are. So are ints of which no
    number would hold all digits: those beyond 64 bits, and beside floats those beyond 2**53.

    Args:
        values: of any type that JSON has.
        source: where they stand.

    Raises:
        ZooError: some numbers have ``%``, others do not.

    Warns:
        UserWarning: as :func:`typed`; numbers in quotes.
    """
    values = [None if is_missing(value) else value for value in values]
    there = [value for value in values if value is not None]
    if any(isinstance(value, dict | list) for value in there):
        return values  # what is no plain value leaves its network out, with a reason
    kinds = {"number" if type(value) in (int, float) else type(value).__name__ for value in there}
    quoted = sum(isinstance(value, str) for value in there)
    if kinds == {"str"} and not any(PERCENT.fullmatch(value.strip()) for value in there):
        if all(_is(_float, value.strip()) for value in there):
            source.warn(f" is text: its {len(there)} values are numbers in quotes")
        else:
            _explain_text([value or "" for value in values], [value is None for value in values], source)
        return values
    large = _too_large(there)
    if len(kinds) < 2 and kinds != {"str"} and not large:
        return values
    texts = [
        "" if value is None else value if isinstance(value, str) else json.dumps(value) for value in values
    ]
    found = typed(texts, source)
    if large == len(there) and any(isinstance(value, str) for value in found):
        source.warn(f" is text: its {large} values are ints that no number of 64 bits holds")
    if quoted < len(there) and quoted and any(type(value) in (int, float) for value in found):
        source.warn(f": {quoted} of {len(there)} values are numbers in quotes, and are read as numbers")
    return found


def _too_large(values: Sequence[Any]) -> int:
    """Return how many ints of a column lose digits as numbers."""
    most = EXACT_IN_FLOAT if any(type(value) is float for value in values) else (1 << 63) - 1
    return sum(type(value) is int and not -most - 1 <= value <= most for value in values)


def _read_all(words: Sequence[str], missing: Sequence[bool], read: Callable[[str], Any]) -> list[Any] | None:
    """Return all values that are there, or None if one cannot be read."""
    try:
        return [None if gone else read(word) for word, gone in zip(words, missing, strict=True)]
    except ValueError:
        return None


def _percent(words: Sequence[str], missing: Sequence[bool], source: Source) -> list[Any] | None:
    """Return values with ``%`` as fractions, or None if the column is of another kind."""
    there = [place for place, gone in enumerate(missing) if not gone]
    found = {place: PERCENT.fullmatch(words[place]) for place in there}
    signed = [place for place in there if found[place]]
    if not signed:
        return None
    if len(signed) < len(there):
        number = next((place for place in there if _is(_float, words[place])), None)
        if number is None:
            return None
        raise ZooError(
            f"{source.table}, line {source.lines[number]}: {source.column!r} is {words[number]!r}, and "
            f"{words[signed[0]]!r} in line {source.lines[signed[0]]}; write all values with %, or none"
        )
    source.warn(f": {len(signed)} values with % are read as fractions")
    # 91.37 / 100 is another float than 0.9137.
    return [None if gone else float(Decimal(found[place][1]) / 100) for place, gone in enumerate(missing)]  # type: ignore[index]


def _explain_text(words: Sequence[str], missing: Sequence[bool], source: Source) -> None:
    """Warn of a column that would be of numbers, or of truth values, but for some of its values."""
    there = [place for place, gone in enumerate(missing) if not gone]
    for read, kind in ((_number, "numbers"), (_bool, "true or false")):
        others = [place for place in there if not _is(read, words[place])]
        count = len(there) - len(others)
        if count and others:
            first = others[0]
            why = f"({count} of {len(there)} values are {kind}){_hint(words[first])}"
            source.warn(f" is text because of {_shown(words[first])} in line {source.lines[first]} {why}")
            return
    if there and all(SEPARATED.fullmatch(words[place]) for place in there):
        first = there[0]
        hint = _hint(words[first])
        source.warn(f" is text because of {_shown(words[first])} in line {source.lines[first]}{hint}")


def _hint(word: str) -> str:
    """Return why a word that looks like a number is none."""
    if SEPARATED.fullmatch(word):
        return "; numbers are written with a point, and without separators of thousands"
    return "; as a number it would lose digits" if word.lstrip("+-").isdecimal() else ""


def _shown(word: str) -> str:
    return repr(word if len(word) <= LONGEST else f"{word[: LONGEST - 1]}…")


def _is(read: Callable[[str], Any], word: str) -> bool:
    try:
        read(word)
    except ValueError:
        return False
    return True


def _int(word: str) -> int:
    value = int(word)
    if not -(1 << 63) <= value < 1 << 63 or str(value) != word.removeprefix("+"):
        raise ValueError  # a code such as 007, or 1_000
    return value


def _float(word: str) -> float:
    value = float(word)
    digits = word.lstrip("+-")
    if "_" in digits or (digits.isdecimal() and (str(int(digits)) != digits or int(value) != int(word))):
        raise ValueError  # no number, or one of which digits would be lost
    if math.isinf(value) and digits[:1].isdigit():
        raise ValueError  # a number beyond all floats, such as 1e400
    return value


def _number(word: str) -> float:
    percent = PERCENT.fullmatch(word)
    return float(percent[1]) / 100 if percent else _float(word)


def _bool(word: str) -> bool:
    try:
        return {"true": True, "false": False}[word.lower()]
    except KeyError as error:
        raise ValueError from error
