"""Files of a run folder → text, bytes, and JSON objects read key by key; each fault says where."""

from __future__ import annotations

import json
import reprlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import attrs
from attrs import frozen

from sneframe.errors import RunError
from sneframe.metrics import Scores

V = TypeVar("V")


@frozen
class Record:
    """A JSON object. Each method raises a RunError where the key is missing or holds something else.

    Args:
        path: of its file.
        where: it stands in the file, before each key in an error.
        data: what it holds.
    """

    path: Path
    where: str
    data: Mapping[str, Any]

    def number(self, key: str) -> float:
        """Return a number that a float can hold."""
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
            self._refuse(key, "a finite number", value)
        return float(value)

    def count(self, key: str) -> int:
        """Return a whole number that is not negative."""
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self._refuse(key, "a count", value)
        return value

    def string(self, key: str) -> str:
        """Return a string."""
        value = self._get(key)
        if not isinstance(value, str):
            self._refuse(key, "a string", value)
        return value

    def record(self, key: str) -> Record:
        """Return the object under a key."""
        value = self._get(key)
        if not isinstance(value, dict):
            self._refuse(key, "an object", value)
        return Record(self.path, f"{self.where}{key}.", value)

    def records(self, key: str) -> tuple[Record, ...]:
        """Return the objects of the list under a key."""
        value = self._get(key)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self._refuse(key, "a list of objects", value)
        return tuple(
            Record(self.path, f"{self.where}{key}.{number}.", each) for number, each in enumerate(value)
        )

    def maybe(self, key: str, read: Callable[[Record, str], V]) -> V | None:
        """Return None for null, and else what another method returns: ``maybe("tau", Record.number)``."""
        return None if self._get(key) is None else read(self, key)

    def each(self, read: Callable[[Record, str], V]) -> dict[str, V]:
        """Return what another method returns, for every key."""
        return {key: read(self, key) for key in self.data}

    def _get(self, key: str) -> Any:
        if key not in self.data:
            fault(self.path, f"{self.where}{key} is missing")
        return self.data[key]

    def _refuse(self, key: str, wanted: str, value: object) -> NoReturn:
        fault(self.path, f"{self.where}{key} must be {wanted}, got {reprlib.repr(value)}")


def parse_record(path: Path, text: str, line: int | None = None) -> Record:
    """Return the JSON object that a file, or one line of it, holds.

    Raises:
        RunError: it holds none.
    """
    where = "" if line is None else f"line {line}: "

    def refuse(constant: str) -> NoReturn:
        fault(path, f"{where}{constant} is no JSON number")

    try:
        data = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        fault(path, f"{where}not JSON: {error}", error)
    if not isinstance(data, dict):
        fault(path, f"{where}must be a JSON object, got {reprlib.repr(data)}")
    return Record(path, where, data)


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        RunError: it is missing, cannot be read or is not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        fault(path, f"not UTF-8: {error}", error)


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        RunError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        fault(path, "no such file; is the run finished?", error)
    except OSError as error:
        fault(path, f"cannot be read: {error.strerror or error}", error)


def scores(record: Record, n: int | None = None) -> Scores:
    """Return the scores that an object holds; a metric that was added since it was written is None.

    Args:
        record: of the object.
        n: how many networks were scored, where the object need not say.
    """
    others = [each.name for each in attrs.fields(Scores) if each.name not in ("n", "mse")]
    return Scores(
        n=record.count("n") if n is None else n,
        mse=record.number("mse"),
        **{name: record.maybe(name, Record.number) for name in others if name in record.data},
    )


def fault(path: Path, problem: str, cause: BaseException | None = None) -> NoReturn:
    """Raise the RunError that names a file and what is wrong with it."""
    raise RunError(f"{path}: {' '.join(problem.split())}") from cause
