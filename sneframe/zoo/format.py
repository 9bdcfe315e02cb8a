"""Define the zoo format, version 1: the file names, the chunk shapes and the attributes.

The page ``docs/reference/zoo-format.md`` specifies the format. This module reads no weights and does not use
zarr.
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
#: Names that a property must not have: the columns of every zoo, and the columns that selections and exports
#: add.
RESERVED = (*COLUMNS, "architecture_summary", "file")

FLOATS = ("float16", "float32", "float64", "bfloat16")
INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
#: The types that a stored parameter may have.
DTYPES = (*FLOATS, *INTS, "bool")
#: The kinds of a property, each with the type that stores its values.
KINDS = {"float": "float64", "int": "int64", "bool": "bool", "string": "string"}

MIB = 1 << 20


# -- names on disk ------------------------------------------------------------------------------------------

LONGEST_NAME = 255  #: in bytes: the longest file name that common file systems allow
VALID = ".valid"  #: suffix of the array that marks which values of a column are not missing

_PLAIN = frozenset(string.ascii_letters + string.digits + "_-.")


def encode_name(name: str) -> str:
    """Percent-encode a name, so that the result is safe as a file name and as the name of a zarr node.

    ASCII letters and digits, ``_``, ``-`` and ``.`` stay as they are. All other characters are encoded byte
    by byte in UTF-8. There are two exceptions: a first character that is neither a letter nor a digit is
    encoded (``..``, ``__x``), and so is the dot of ``zarr.json``, a name that zarr reserves.

    Raises:
        ZooError: the name is not a string, is empty, or cannot be encoded as UTF-8.
    """
    if not isinstance(name, str) or not name:
        raise ZooError(f"a name must be a non-empty string, but got {name!r}")
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
        raise ZooError(f"a name must be text that UTF-8 can encode, but got {name!r}") from error


def check_name(name: str, what: str, *, suffix: str = "") -> None:
    """Check that a name can be percent-encoded, and that the encoded name is not too long for a file name.

    Args:
        name: the name of a parameter, a property or a split.
        what: the start of the error message, such as ``zoo.zarr: property 'x'``.
        suffix: a suffix that may be appended to the encoded name. The limit is shorter by its length.

    Raises:
        ZooError: the name cannot be encoded or is too long.
    """
    try:
        size = len(encode_name(name))
    except ZooError as error:
        raise ZooError(f"{what}: {error}") from error
    if size > LONGEST_NAME - len(suffix):
        raise ZooError(
            f"{what}: a percent-encoded name may have at most {LONGEST_NAME - len(suffix)} bytes, "
            f"but got {size}"
        )


def parameter_path(architecture_id: str, name: str) -> str:
    """Return the path of a parameter's array within the zoo."""
    return f"{ARCHITECTURES}/{architecture_id}/{encode_name(name)}"


def column_path(name: str) -> str:
    """Return the path of a column's array within the zoo."""
    return f"{NETWORKS}/{encode_name(name)}"


def valid_path(name: str) -> str:
    """Return the path, within the zoo, of the array that marks which values of a column are not missing."""
    return f"{NETWORKS}/{encode_name(name)}{VALID}"


def split_path(name: str) -> str:
    """Return the path of a split's array within the zoo."""
    return f"{SPLITS}/{encode_name(name)}"


# -- chunks -------------------------------------------------------------------------------------------------


def chunk_length(network_bytes: int) -> int:
    """Return the number of networks in a chunk, given the bytes of one network.

    The number is the largest power of two for which a chunk takes at most 4 MiB, and at least 1.
    """
    return 1 << max(0, (4 * MIB // max(1, network_bytes)).bit_length() - 1)


def fitting(length: int, networks: int) -> int:
    """Return the chunk length, reduced for a small zoo.

    The result is at most the smallest power of two that is not below the number of networks.
    """
    return min(length, 1 << max(0, networks - 1).bit_length())


def chunk_shape(length: int, shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the chunk shape of an array ``(N_a, *shape)``.

    A chunk spans ``length`` networks and the whole parameter. If such a chunk would take more than 8 MiB, the
    parameter is divided between chunks.
    """
    budget = max(1, 8 * MIB // (length * itemsize))
    inner, steps = 1, []
    for size in reversed(shape):
        steps.append(max(1, min(size, budget // inner)))
        inner *= max(1, size)
    return (length, *reversed(steps))


def chunk_grid(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Return the number of chunks along each axis, for the shapes of an array and of a chunk."""
    return tuple(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))


def chunk_file(index: Sequence[int]) -> str:
    """Return the path of a chunk within the folder of its array.

    Args:
        index: the position of the chunk in the chunk grid, one number for each axis.
    """
    return "/".join(("c", *map(str, index)))


def json_value(value: Any, what: str) -> Any:
    """Convert a value to plain JSON values. The value may contain numpy scalars.

    Args:
        value: the value.
        what: the subject of the error message.

    Raises:
        ZooError: JSON cannot represent the value, for example because it contains NaN or an infinity.
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
    """Return the content of the file ``zarr.json`` of a zarr group with these attributes."""
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, allow_nan=False)


def read_attributes(folder: Path) -> dict[str, Any]:
    """Read the attributes of the zarr group in a folder.

    Raises:
        FileNotFoundError: the folder has no file ``zarr.json``.
        ZooError: the content of ``zarr.json`` is damaged.
    """
    file = folder / METADATA
    try:
        attributes = json.loads(file.read_bytes())["attributes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{file}: damaged metadata: {error}") from error
    if not isinstance(attributes, dict):
        raise ZooError(f"{file}: damaged metadata: 'attributes' must be a mapping")
    return attributes
