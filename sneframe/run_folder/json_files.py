"""Write attrs values to JSON files, and read attrs values from JSON files with a check of every type.

An error is one line that names the file, the key or line in the file, and the problem. The classes are in the
other modules of this package, one module for each file of a run folder. A key that a class does not know is
ignored, so that an older sneframe can read the files of a newer one. A missing key is an error, unless the
class has a default for it.
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
    """Read a JSON file, and return the content as a value of the attrs class ``kind``.

    Raises:
        RunError: the file is missing, is not JSON, or does not fit the class.
    """
    return structured(path, parse_json(path, read_text(path)), kind)


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a value of an attrs class to a JSON file.

    The file is replaced as a whole, so nobody reads half a file. With ``indent=None`` the file is a single
    line, which suits lists of many numbers.

    Raises:
        MachineError: the file cannot be written.
    """
    atomic.write_text(path, json.dumps(CONVERTER.unstructure(value), indent=indent))


def parse_json(path: Path, text: str, line: int | None = None) -> dict[str, Any]:
    """Parse a JSON object from the text of a file, or from the text of one line of a file.

    Raises:
        RunError: the text is not a JSON object.
    """

    def refuse(constant: str) -> NoReturn:
        fault(path, f"{constant} is not a JSON number", line=line)

    try:
        data = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        fault(path, f"not JSON: {error}", error, line=line)
    if not isinstance(data, dict):
        fault(path, f"must be a JSON object, but got {SHOWN.repr(data)}", line=line)
    return data


def structured(path: Path, data: Any, kind: type[T], line: int | None = None) -> T:
    """Convert plain data, read from a file or from one line of a file, to a value of an attrs class.

    Raises:
        RunError: the data do not fit the class.
    """
    try:
        return CONVERTER.structure(data, kind)
    except BaseValidationError as error:
        fault(path, first_line(error, "the file"), error, line=line)


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        RunError: the file is missing, cannot be read or is not UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        fault(path, f"not UTF-8: {error}", error)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        RunError: the file is missing or cannot be read.
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
    """Raise a RunError whose message is one line: the file, the line number if given, and the problem."""
    where = "" if line is None else f"line {line}: "
    raise RunError(f"{path}: {where}{' '.join(problem.split())}") from cause


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
