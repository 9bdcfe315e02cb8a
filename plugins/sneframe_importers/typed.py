"""Convert the values of a table's column (texts or JSON values) to one kind: int, float, bool or text.

If a user may have expected another kind, a warning says which values decide the kind.
"""

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

#: Texts that mean a missing value, in lower case.
MISSING = frozenset({"", "-", "–", "—", "#n/a", "<na>", "n/a", "na", "nan", "null"})
NONE = "none"  #: a missing value in a column of numbers or bools, but an ordinary value in a column of text
PERCENT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))\s*%")
#: Numbers with a decimal comma or thousands separators: ``0,91``, ``1,234``, ``1 234.5``, ``1_000``.
SEPARATED = re.compile(r"[+-]?(?:\d+,\d+|\d{1,3}(?:[,'’ _\u00a0\u202f]\d{3})+(?:[.,]\d+)?)")
LONGEST = 40  #: the largest number of characters of a value that a warning shows


@frozen(kw_only=True)
class ColumnSource:
    """The origin of a column, for warnings and errors.

    Args:
        table: name of the table, as a user would name it.
        column: name of the column.
        lines: line number of each value. For values that are not in a table: the file of each value.
        exported: whether ``sneframe zoo export`` wrote the table. If so, only an empty text is a missing
            value.
    """

    table: str
    column: str
    lines: Sequence[int | str]
    exported: bool = False

    def where(self, index: int) -> str:
        """Return where a value is, such as ``line 5``."""
        line = self.lines[index]
        return f"line {line}" if isinstance(line, int) else line

    def warn(self, message: str) -> None:
        """Warn about this column. The warning is the name of the column, followed by ``message``."""
        warnings.warn(f"{self.table}: column {self.column!r}{message}", stacklevel=3)


def is_missing(value: object) -> bool:
    """Return whether a value of a table is missing: None, NaN, or one of the texts in :data:`MISSING`."""
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def run_group(value: object) -> str | None:
    """Return the run group that a value names, or None if the value is missing.

    Equal values name one group, whatever their types: 1, 1.0 and the text ``1`` with spaces around it.
    """
    if is_missing(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()  # as in a column of text
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def typed(values: Sequence[str], source: ColumnSource) -> list[Any]:
    """Convert the texts of a column to the first kind that fits all of them. Missing values become None.

    The kinds are int, float, bool, fraction written with ``%``, and text, in this order.

    Args:
        values: the texts.
        source: the origin of the column.

    Raises:
        ZooError: only some of the numbers have ``%``.

    Warns:
        UserWarning: values with ``%`` are read as fractions, or a few values turn a column of numbers into
            text.
    """
    words = [value.strip() for value in values]
    missing = [not word if source.exported else is_missing(word) for word in words]
    # In a column of numbers or bools, "none" is a missing value. In a column of text, "none" is a value.
    without = [
        gone or (word.lower() == NONE and not source.exported)
        for word, gone in zip(words, missing, strict=True)
    ]
    for read in (_int, _float, _bool):
        if not all(without) and (converted := _read_all(words, without, read)) is not None:
            return converted
    if not source.exported and (converted := _percent(words, without, source)) is not None:
        return converted
    _explain_text(words, missing, source)
    return [None if gone else word for word, gone in zip(words, missing, strict=True)]


def typed_json(values: Sequence[Any], source: ColumnSource) -> list[Any]:
    """Convert the values of a column of JSON lines to one kind. Missing values become None.

    A column of numbers, of bools or of texts keeps its values. :func:`typed` converts all values, as if they
    were the texts of a CSV column, in three cases: the column mixes these kinds, a text ends in ``%``, or an
    int would lose digits. An int loses digits beyond 64 bits or, in a column with floats, beyond 2**53.

    Args:
        values: values of any JSON type.
        source: the origin of the column.

    Raises:
        ZooError: only some of the numbers have ``%``.

    Warns:
        UserWarning: some numbers are in quotes, or :func:`typed` warns.
    """
    values = [None if is_missing(value) else value for value in values]
    there = [value for value in values if value is not None]
    if any(isinstance(value, dict | list) for value in there):
        return values  # the importer skips a network with such a value and gives the reason
    kinds = {"number" if type(value) in (int, float) else type(value).__name__ for value in there}
    quoted = sum(isinstance(value, str) for value in there)
    if kinds == {"str"} and not any(PERCENT.fullmatch(value.strip()) for value in there):
        if all(_is(_float, value.strip()) for value in there):
            source.warn(f" is read as text: its {len(there)} values are numbers in quotes")
        else:
            _explain_text([value or "" for value in values], [value is None for value in values], source)
        return values
    large = _too_large(there)
    if len(kinds) < 2 and kinds != {"str"} and not large:
        return values
    texts = [
        "" if value is None else value if isinstance(value, str) else json.dumps(value) for value in values
    ]
    converted = typed(texts, source)
    if large == len(there) and any(isinstance(value, str) for value in converted):
        source.warn(f" is read as text: its {large} values are ints that do not fit into 64 bits")
    if quoted < len(there) and quoted and any(type(value) in (int, float) for value in converted):
        source.warn(f": {quoted} of {len(there)} values are numbers in quotes; they are read as numbers")
    return converted


def _too_large(values: Sequence[Any]) -> int:
    """Return how many ints of a column exceed 64 bits or, if the column has floats, exceed 2**53."""
    least, most = -(1 << 63), (1 << 63) - 1
    if any(type(value) is float for value in values):
        least, most = -EXACT_IN_FLOAT, EXACT_IN_FLOAT
    return sum(type(value) is int and not least <= value <= most for value in values)


def _read_all(words: Sequence[str], missing: Sequence[bool], read: Callable[[str], Any]) -> list[Any] | None:
    """Apply ``read`` to the words, with None for missing ones. Return None if a word cannot be read."""
    try:
        return [None if gone else read(word) for word, gone in zip(words, missing, strict=True)]
    except ValueError:
        return None


def _percent(words: Sequence[str], missing: Sequence[bool], source: ColumnSource) -> list[Any] | None:
    """Return the fractions in a column of values with ``%``, or None if the column has another kind.

    Raises:
        ZooError: only some of the numbers have ``%``.
    """
    there = [index for index, gone in enumerate(missing) if not gone]
    percents = {index: match[1] for index in there if (match := PERCENT.fullmatch(words[index]))}
    if not percents:
        return None
    if len(percents) < len(there):
        number = next((index for index in there if _is(_float, words[index])), None)
        if number is None:
            return None
        first = next(iter(percents))
        raise ZooError(
            f"{source.table}, {source.where(number)}: {source.column!r} is {words[number]!r}, but "
            f"{words[first]!r} in {source.where(first)}; write all values with %, or none"
        )
    source.warn(f": {len(percents)} values with % are read as fractions")
    # Decimal, because the float 91.37 / 100 differs from the float 0.9137.
    return [
        float(Decimal(percents[index]) / 100) if index in percents else None for index in range(len(words))
    ]


def _explain_text(words: Sequence[str], missing: Sequence[bool], source: ColumnSource) -> None:
    """Warn that a column is read as text, if a user may have expected numbers or bools.

    The user may have expected them if some of the values are numbers (or bools), or if all values are numbers
    with separators.
    """
    there = [index for index, gone in enumerate(missing) if not gone]
    for read, kind in ((_number, "numbers"), (_bool, "true or false")):
        others = [index for index in there if not _is(read, words[index])]
        count = len(there) - len(others)
        if count and others:
            first = others[0]
            why = f"({count} of {len(there)} values are {kind}){_hint(words[first])}"
            source.warn(f" is read as text because of {_shown(words[first])} in {source.where(first)} {why}")
            return
    if there and all(SEPARATED.fullmatch(words[index]) for index in there):
        first = there[0]
        hint = _hint(words[first])
        source.warn(f" is read as text because of {_shown(words[first])} in {source.where(first)}{hint}")


def _hint(word: str) -> str:
    """Return why a word that looks like a number is not read as a number. For other words, return ``""``."""
    if SEPARATED.fullmatch(word):
        return "; write numbers with a decimal point and without thousands separators"
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
    if math.isinf(value) and digits[:1].isdigit():
        raise ValueError  # a number too large for a float, such as 1e400
    if "_" in digits or (digits.isdecimal() and (str(int(digits)) != digits or int(value) != int(word))):
        raise ValueError  # not a number, or a number that would lose digits
    return value


def _number(word: str) -> float:
    percent = PERCENT.fullmatch(word)
    return float(percent[1]) / 100 if percent else _float(word)


def _bool(word: str) -> bool:
    try:
        return {"true": True, "false": False}[word.lower()]
    except KeyError as error:
        raise ValueError from error
