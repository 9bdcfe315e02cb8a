"""JSON files to and from attrs classes, strictly; each fault is one line: file, place in it, problem.

The classes stand beside this module, one module for each file of a run folder. A key that a class does not
know is passed over, so that an older sneframe reads what a newer one wrote. A key that is missing is a fault,
unless the class has a default for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from cattrs.errors import BaseValidationError

from sneframe import atomic
from sneframe.config.strict import SHOWN, first_line, refused, strict_converter
from sneframe.errors import RunError

T = TypeVar("T")

CONVERTER = strict_converter(table="an object", none=None, extra=True)


def read_json(path: Path, kind: type[T]) -> T:
    """Return what a file holds.

    Raises:
        RunError: the file is missing, is not JSON, or does not hold what the class needs.
    """
    return structured(path, parse_json(path, read_text(path)), kind)


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a value of an attrs class; the file appears whole.

    ``indent=None`` writes it in one line, for lists of many numbers.

    Raises:
        MachineError: the folder does not take it.
    """
    atomic.write_text(path, json.dumps(CONVERTER.unstructure(value), indent=indent))


def parse_json(path: Path, text: str, line: int | None = None) -> dict[str, Any]:
    """Return the JSON object that a file, or one line of it, holds.

    Raises:
        RunError: it holds none.
    """

    def refuse(constant: str) -> NoReturn:
        fault(path, f"{constant} is no JSON number", line=line)

    try:
        data = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        fault(path, f"not JSON: {error}", error, line=line)
    if not isinstance(data, dict):
        fault(path, f"must be a JSON object, got {SHOWN.repr(data)}", line=line)
    return data


def structured(path: Path, data: Any, kind: type[T], line: int | None = None) -> T:
    """Return plain data of a file, or of one line of it, as a value of an attrs class.

    Raises:
        RunError: the data do not fit the class.
    """
    try:
        return CONVERTER.structure(data, kind)
    except BaseValidationError as error:
        fault(path, first_line(error, "the file"), error, line=line)


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


def fault(
    path: Path, problem: str, cause: BaseException | None = None, *, line: int | None = None
) -> NoReturn:
    """Raise the RunError that names a file, the line where there is one, and what is wrong."""
    place = "" if line is None else f"line {line}: "
    raise RunError(f"{path}: {place}{' '.join(problem.split())}") from cause


def _count(value: Any, _: Any) -> int:
    if type(value) is not int or value < 0:
        raise refused("a count", value)
    return value


def _finite(value: Any, _: Any) -> float:
    if type(value) not in (int, float) or abs(value) > sys.float_info.max:
        raise refused("a finite number", value)
    return float(value)


CONVERTER.register_structure_hook(int, _count)
CONVERTER.register_structure_hook(float, _finite)
