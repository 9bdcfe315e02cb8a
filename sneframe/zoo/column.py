"""Define ``Column``, which holds one value for each network. Values may be missing."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.errors import ZooError
from sneframe.zoo.format import KINDS

_EMPTY = {"float": np.nan, "int": 0, "bool": False, "string": ""}
_KIND_OF_DTYPE = {
    "f": "float",
    "i": "int",
    "u": "int",
    "b": "bool",
    "U": "string",
    "T": "string",
    "O": "string",
}
EXACT_IN_FLOAT = 1 << 53  #: every int up to this size has an exact float64
MOST_NUMBERS = 0.1  #: a text column with at least this fraction of numbers was probably meant to hold numbers
#: Matches a number, with or without a percent sign, a decimal comma or thousands separators. ``007`` does not
#: match, because leading zeros are typical of codes.
NUMBER = re.compile(r"[+-]?(?!0\d)(?:\d[\d,' _]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*%?")
BEYOND = "ints beyond 2**53 cannot share a column with floats"


@frozen(eq=False)
class Column:
    """The values of one column, all of one kind.

    Args:
        kind: ``float``, ``int``, ``bool`` or ``string``.
        values: array ``(N,)`` of float64, int64, bool or str objects. Where a value is missing, the entry is
            arbitrary.
        valid: array ``(N,)`` of bool. False marks a missing value.
    """

    kind: str
    values: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, name: str, values: Any) -> Column:
        """Return a column with the values of an array, a tensor, a list or another column.

        ``None``, NaN and the masked entries of a masked array become missing values.

        Args:
            name: the name of the column, for errors.
            values: one value for each network.

        Raises:
            ZooError: ``values`` does not have exactly one axis, the values have several kinds or an unknown
                kind, an int does not fit into 64 bits, or a string cannot be encoded as UTF-8.
        """
        if isinstance(values, Column):
            return values
        if isinstance(values, np.ma.MaskedArray):
            masks = np.ma.getmaskarray(values)
            values = [None if mask else value for value, mask in zip(values.data, masks, strict=True)]
        array = np.asarray(values, dtype=object if isinstance(values, list | tuple) else None)
        if array.ndim != 1:
            raise ZooError(f"{name}: must have one value per network, but got shape {array.shape}")
        if array.dtype != object:
            return cls._checked(name, array, np.ones(len(array), bool))
        valid = np.array([not _is_missing(value) for value in array], dtype=bool)
        kinds = {_kind_of(value) for value in array[valid]}
        if kinds == {"int", "float"}:
            kinds = {"float"}
            if any(_kind_of(value) == "int" and abs(value) > EXACT_IN_FLOAT for value in array[valid]):
                raise ZooError(f"{name}: {BEYOND}")
        if len(kinds) > 1:
            raise ZooError(f"{name}: all values must have the same kind, but got {', '.join(sorted(kinds))}")
        # Missing values have no kind. A column in which every value is missing therefore becomes float.
        kind = kinds.pop() if kinds else "float"
        if kind not in KINDS:
            raise ZooError(f"{name}: a value must be a float, int, bool or string, but got {kind}")
        filled = [value if there else _EMPTY[kind] for value, there in zip(array, valid, strict=True)]
        try:
            return cls._checked(name, np.array(filled, dtype=_dtype(kind)), valid)
        except OverflowError as error:
            raise ZooError(f"{name}: a value does not fit into 64 bits") from error

    @classmethod
    def _checked(cls, name: str, array: np.ndarray, valid: np.ndarray) -> Column:
        kind = _KIND_OF_DTYPE.get(array.dtype.kind)
        if kind is None:
            raise ZooError(f"{name}: a value must be a float, int, bool or string, but got {array.dtype}")
        if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
            raise ZooError(f"{name}: a value does not fit into 64 bits")
        if kind == "string":
            _check_text(name, array)
            return cls(kind, np.array([str(value) for value in array], dtype=object), valid)
        converted = array.astype(KINDS[kind])
        return cls(kind, converted, valid & ~np.isnan(converted) if kind == "float" else valid)

    @classmethod
    def missing(cls, kind: str, length: int) -> Column:
        """Return a column in which every value is missing."""
        return cls(kind, np.full(length, _EMPTY[kind], dtype=_dtype(kind)), np.zeros(length, bool))

    @classmethod
    def joined(cls, name: str, columns: Sequence[Column]) -> Column:
        """Concatenate columns.

        Ints become floats if any column has floats. A column in which every value is missing takes the kind
        of the other columns.

        Args:
            name: the name of the column, for errors.
            columns: the columns in order.

        Raises:
            ZooError: the kinds differ, or an int of a float column is too large for an exact float.
        """
        kinds = set().union(*(column.kinds for column in columns)) or {columns[0].kind}
        if kinds == {"int", "float"}:
            kinds = {"float"}
        if len(kinds) > 1:
            raise ZooError(f"{name}: all values must have the same kind, but got {', '.join(sorted(kinds))}")
        kind = kinds.pop()
        parts = [column if column.kinds else cls.missing(kind, len(column)) for column in columns]
        for part in parts:
            if kind == "float" and part.kind == "int" and np.abs(part.values).max() > EXACT_IN_FLOAT:
                raise ZooError(f"{name}: {BEYOND}")
        values = np.concatenate([part._filled(_dtype(kind), _EMPTY[kind]) for part in parts])
        return cls(kind, values, np.concatenate([part.valid for part in parts]))

    @property
    def kinds(self) -> set[str]:
        """The kind of the column as a set.

        The set is empty if every value is missing, because such a column can take any kind.
        """
        return {self.kind} if self.valid.any() else set()

    def as_text(self) -> Column:
        """Return a column of strings with the values as JSON writes them: ``1``, ``0.5``, ``true``."""
        if self.kind == "string":
            return self
        words = [
            "" if value is None else str(value).lower() if self.kind == "bool" else str(value)
            for value in self.objects()
        ]
        return Column("string", np.array(words, dtype=object), self.valid)

    @staticmethod
    def exact(columns: Sequence[Column]) -> bool:
        """Return whether every int of some columns has an exact float."""
        return all(
            column.kind != "int" or not (np.abs(column.values[column.valid]) > EXACT_IN_FLOAT).any()
            for column in columns
        )

    @staticmethod
    def mixture(columns: Sequence[Column]) -> str:
        """Return the kinds of some columns in words: the number of values of each kind, and an example."""
        counts: dict[str, int] = {}
        examples: dict[str, Any] = {}
        for column in columns:
            if column.kinds:
                counts[column.kind] = counts.get(column.kind, 0) + int(column.valid.sum())
                examples.setdefault(column.kind, column.take(np.flatnonzero(column.valid)[:1]).objects()[0])
        return ", ".join(f"{counts[kind]} {kind} such as {examples[kind]!r}" for kind in sorted(counts))

    def take(self, rows: np.ndarray) -> Column:
        """Return a column with the values at the row numbers ``rows``, in the order of ``rows``."""
        return Column(self.kind, self.values[rows], self.valid[rows])

    def plain(self) -> np.ndarray:
        """Return the values as an array in which missing values are NaN or, for strings, None.

        If an int or a bool is missing, the whole array is converted to float.
        """
        if self.kind == "float" or self.valid.all():
            return self.values.copy()
        if self.kind == "string":
            return self._filled(np.dtype(object), None)
        return self._filled(np.dtype(np.float64), np.nan)

    def objects(self) -> list[Any]:
        """Return the values as a list of Python values. Missing values are None."""
        return [
            value if there else None for value, there in zip(self.values.tolist(), self.valid, strict=True)
        ]

    def _filled(self, dtype: np.dtype[Any], filler: Any) -> np.ndarray:
        values = self.values.astype(dtype)
        values[~self.valid] = filler
        return values


def no_category(column: Column) -> str | None:
    """Return why a text column does not look like a category, or None if the column looks like a category.

    There are two possible reasons. Either some values are numbers, so that the column is probably a numeric
    column that a few other values turned into text. Or most values are distinct, as names are. The reason
    continues the sentence of an error, such as "but 5 of 9 values are numbers".
    """
    texts = [text for text, there in zip(column.values.tolist(), column.valid, strict=True) if there]
    if column.kind != "string" or not texts:
        return None
    numbers = [text for text in texts if NUMBER.fullmatch(text.strip())]
    words = [text for text in texts if not NUMBER.fullmatch(text.strip())]
    if len(numbers) >= MOST_NUMBERS * len(texts):
        others = f"and others are not, such as {words[0]!r}" if words else "stored as text"
        return f"but {len(numbers)} of {len(texts)} values are numbers, such as {numbers[0]!r}, {others}"
    distinct = len(set(texts))
    if distinct > max(2, len(texts) / 2):
        return f"and {distinct} of {len(texts)} values are distinct, more than half"
    return None


def finite_or_none(value: Any) -> Any:
    """Return a value unchanged, or None for a float that is not finite, which JSON cannot represent."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_missing(value: Any) -> bool:
    """Return whether a value is ``None`` or NaN."""
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _dtype(kind: str) -> np.dtype[Any]:
    return np.dtype(object if kind == "string" else KINDS[kind])


def _kind_of(value: Any) -> str:
    for kind, types in (
        ("bool", (bool, np.bool_)),
        ("int", (int, np.integer)),
        ("float", (float, np.floating)),
        ("string", (str,)),
    ):
        if isinstance(value, types):
            return kind
    return type(value).__name__


def _check_text(name: str, values: np.ndarray) -> None:
    for value in values:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ZooError(f"{name}: {value!r} cannot be encoded as UTF-8") from error
