"""The zoo format, version 1: names on disk, chunk shapes, attributes. No weights, no zarr.

The format is specified in ``docs/reference/zoo-format.md``; what is written here follows that page.
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

#: The columns that every zoo has.
COLUMNS = ("architecture", "row", "group", "healthy")
#: What no property may be called: the columns, and what selections and exports derive from them.
RESERVED = (*COLUMNS, "architecture_summary", "file")

FLOATS = ("float16", "float32", "float64", "bfloat16")
INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
#: What a parameter may be stored as.
DTYPES = (*FLOATS, *INTS, "bool")
#: What a property may be, and the type of its column.
KINDS = {"float": "float64", "int": "int64", "bool": "bool", "string": "string"}

MIB = 1 << 20


# -- names on disk ------------------------------------------------------------------------------------------

LONGEST_NAME = 255  #: in bytes; what file systems commonly allow
VALID = ".valid"  #: the end of the name of the array that says which values of a column are there

_PLAIN = frozenset(string.ascii_letters + string.digits + "_-.")


def encode_name(name: str) -> str:
    """Return a name that is safe as a file name and as a zarr node name: UTF-8, percent-encoded.

    Letters and digits of ASCII, ``_``, ``-`` and ``.`` stay, except a first character that is no letter or
    digit (``..``, ``__x``) and the whole of ``zarr.json``'s dot, which zarr keeps for itself.

    Raises:
        ZooError: not a string, empty, or not representable in UTF-8.
    """
    if not isinstance(name, str) or not name:
        raise ZooError(f"a name must be a string that is not empty, got {name!r}")
    if name == METADATA:
        return "zarr%2Ejson"
    keep_first = name[0] in _PLAIN and name[0].isalnum()
    try:
        return "".join(
            letter
            if letter in _PLAIN and (place or keep_first)
            else "".join(f"%{byte:02X}" for byte in letter.encode())
            for place, letter in enumerate(name)
        )
    except UnicodeEncodeError as error:
        raise ZooError(f"a name must be representable in UTF-8, got {name!r}") from error


def check_name(name: str, what: str, *, suffix: str = "") -> None:
    """Check that a name can be encoded, and that a file can bear it.

    Args:
        name: of a parameter, a property or a split.
        what: it is the name of, for the error.
        suffix: what may be appended to it.

    Raises:
        ZooError: it cannot.
    """
    try:
        size = len(encode_name(name))
    except ZooError as error:
        raise ZooError(f"{what}: {error}") from error
    if size > LONGEST_NAME - len(suffix):
        raise ZooError(
            f"{what}: a name of at most {LONGEST_NAME - len(suffix)} bytes is needed, percent-encoded, got {size}"
        )


def parameter_path(architecture_id: str, name: str) -> str:
    """Return where a parameter's array lies in the zoo."""
    return f"{ARCHITECTURES}/{architecture_id}/{encode_name(name)}"


def column_path(name: str) -> str:
    """Return where a column's array lies in the zoo."""
    return f"{NETWORKS}/{encode_name(name)}"


def valid_path(name: str) -> str:
    """Return where it is told which values of a column are there."""
    return f"{NETWORKS}/{encode_name(name)}{VALID}"


def split_path(name: str) -> str:
    """Return where a split's array lies in the zoo."""
    return f"{SPLITS}/{encode_name(name)}"


# -- chunks -------------------------------------------------------------------------------------------------


def chunk_length(network_bytes: int) -> int:
    """Return how many networks share a chunk: the largest power of two with at most 4 MiB, at least 1."""
    return 1 << max(0, (4 * MIB // max(1, network_bytes)).bit_length() - 1)


def fitting(length: int, networks: int) -> int:
    """Return the chunk length shortened to the smallest power of two that holds all networks."""
    return min(length, 1 << max(0, networks - 1).bit_length())


def chunk_shape(length: int, shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the chunk of an array ``(N_a, *shape)``: whole parameters, cut up where above 8 MiB."""
    budget = max(1, 8 * MIB // (length * itemsize))
    inner, steps = 1, []
    for size in reversed(shape):
        steps.append(max(1, min(size, budget // inner)))
        inner *= max(1, size)
    return (length, *reversed(steps))


def chunk_grid(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Return how many chunks lie along each axis."""
    return tuple(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))


def chunk_file(place: Sequence[int]) -> str:
    """Return where in its array's folder a chunk lies."""
    return "/".join(("c", *map(str, place)))


def json_value(value: Any, what: str) -> Any:
    """Return a value as plain JSON, numpy scalars included, or say what is none.

    Raises:
        ZooError: a value that JSON has no form for, NaN and infinities among them.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=_plain))
    except (TypeError, ValueError) as error:
        raise ZooError(f"{what} must be made of JSON values: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not one")


def group_json(attributes: Mapping[str, Any]) -> str:
    """Return the ``zarr.json`` of a group with these attributes."""
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, allow_nan=False)


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group.

    Raises:
        FileNotFoundError: the group has no metadata.
        ZooError: its metadata is damaged.
    """
    file = folder / METADATA
    try:
        attributes = json.loads(file.read_bytes())["attributes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{file}: damaged metadata: {error}") from error
    if not isinstance(attributes, dict):
        raise ZooError(f"{file}: damaged metadata: its attributes are no mapping")
    return attributes
