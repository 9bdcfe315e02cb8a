"""The zoo format, version 1: file names, chunk shapes and attributes, without weights and without zarr.

The format is specified in ``docs/reference/zoo-format.md``; this module follows that page.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sneframe.errors import ZooError

FORMAT = "sneframe.zoo"
VERSION = 1

ARCHITECTURES, NETWORKS, SPLITS = "architectures", "networks", "splits"
METADATA = "zarr.json"

#: Columns of every zoo.
COLUMNS = ("architecture", "row", "group", "healthy")
#: Names that no property may have: the columns of every zoo, and columns that selections and exports derive.
RESERVED = (*COLUMNS, "architecture_summary", "file")

FLOATS = ("float16", "float32", "float64", "bfloat16")
INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
#: Types of a stored parameter.
DTYPES = (*FLOATS, *INTS, "bool")
#: Kinds of a property, and the type that stores each.
KINDS = {"float": "float64", "int": "int64", "bool": "bool", "string": "string"}

MIB = 1 << 20


# -- names on disk ------------------------------------------------------------------------------------------

LONGEST_NAME = 255  #: in bytes: the longest file name that common file systems allow
VALID = ".valid"  #: suffix of the array that marks which values of a column are not missing

_PLAIN = frozenset(string.ascii_letters + string.digits + "_-.")


def encode_name(name: str) -> str:
    """Return a name, percent-encoded in UTF-8, that is safe as a file name and as the name of a zarr node.

    ASCII letters and digits, ``_``, ``-`` and ``.`` stay as they are. Two exceptions are encoded: a first
    character that is neither letter nor digit (``..``, ``__x``), and the dot of ``zarr.json``, a name that
    zarr reserves.

    Raises:
        ZooError: the name is no string, is empty, or cannot be encoded as UTF-8.
    """
    if not isinstance(name, str) or not name:
        raise ZooError(f"a name must be a non-empty string, got {name!r}")
    if name == METADATA:
        return "zarr%2Ejson"
    keep_first = name[0] in _PLAIN and name[0].isalnum()
    try:
        return "".join(
            letter
            if letter in _PLAIN and (index or keep_first)
            else "".join(f"%{byte:02X}" for byte in letter.encode())
            for index, letter in enumerate(name)
        )
    except UnicodeEncodeError as error:
        raise ZooError(f"a name must be text that UTF-8 can encode, got {name!r}") from error


def check_name(name: str, what: str, *, suffix: str = "") -> None:
    """Check that a name can be encoded, and that the result is not too long for a file name.

    Args:
        name: the name of a parameter, a property or a split.
        what: what the error calls the named thing.
        suffix: a suffix that may be appended to the name.

    Raises:
        ZooError: the name cannot be encoded or is too long.
    """
    try:
        size = len(encode_name(name))
    except ZooError as error:
        raise ZooError(f"{what}: {error}") from error
    if size > LONGEST_NAME - len(suffix):
        raise ZooError(
            f"{what}: a percent-encoded name may have at most {LONGEST_NAME - len(suffix)} bytes, got {size}"
        )


def parameter_path(architecture_id: str, name: str) -> str:
    """Return the path of a parameter's array in the zoo."""
    return f"{ARCHITECTURES}/{architecture_id}/{encode_name(name)}"


def column_path(name: str) -> str:
    """Return the path of a column's array in the zoo."""
    return f"{NETWORKS}/{encode_name(name)}"


def valid_path(name: str) -> str:
    """Return the path of the array that marks which values of a column are not missing."""
    return f"{NETWORKS}/{encode_name(name)}{VALID}"


def split_path(name: str) -> str:
    """Return the path of a split's array in the zoo."""
    return f"{SPLITS}/{encode_name(name)}"


# -- chunks -------------------------------------------------------------------------------------------------


def chunk_length(network_bytes: int) -> int:
    """Return how many networks share a chunk: the largest power of two within 4 MiB, at least 1."""
    return 1 << max(0, (4 * MIB // max(1, network_bytes)).bit_length() - 1)


def fitting(length: int, networks: int) -> int:
    """Return the chunk length, at most the smallest power of two that holds all networks."""
    return min(length, 1 << max(0, networks - 1).bit_length())


def chunk_shape(length: int, shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the chunk shape of an array ``(N_a, *shape)``: whole parameters, divided only above 8 MiB."""
    budget = max(1, 8 * MIB // (length * itemsize))
    inner, steps = 1, []
    for size in reversed(shape):
        steps.append(max(1, min(size, budget // inner)))
        inner *= max(1, size)
    return (length, *reversed(steps))


def chunk_grid(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Return the number of chunks along each axis."""
    return tuple(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))


def chunk_file(index: Sequence[int]) -> str:
    """Return the path of a chunk in its array's folder; the index counts chunks along each axis."""
    return "/".join(("c", *map(str, index)))


def json_value(value: Any, what: str) -> Any:
    """Convert a value, which may contain numpy scalars, to plain JSON values.

    Args:
        value: the value.
        what: what the error calls it.

    Raises:
        ZooError: JSON cannot represent the value; NaN and infinities are such values.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=_plain))
    except (TypeError, ValueError) as error:
        raise ZooError(f"{what} must consist of JSON values: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"got {type(value).__name__}")


def group_json(attributes: Mapping[str, Any]) -> str:
    """Return the content of the ``zarr.json`` of a zarr group."""
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, allow_nan=False)


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group.

    Raises:
        FileNotFoundError: the group has no metadata file.
        ZooError: the metadata is damaged.
    """
    file = folder / METADATA
    try:
        attributes = json.loads(file.read_bytes())["attributes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{file}: damaged metadata: {error}") from error
    if not isinstance(attributes, dict):
        raise ZooError(f"{file}: damaged metadata: 'attributes' must be a mapping")
    return attributes
