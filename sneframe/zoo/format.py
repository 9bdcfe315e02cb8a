"""The zoo format, version 1: names on disk, chunk shapes, the manifest. No weights, no zarr.

The format is specified in ``docs/reference/zoo-format.md``; what is written here follows that page.
"""

from __future__ import annotations

import hashlib
import json
import math
import string
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, in_, instance_of, optional

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


def check_name(name: str, what: str) -> None:
    """Check that a name can be encoded.

    Raises:
        ZooError: it cannot, and what it is the name of.
    """
    try:
        encode_name(name)
    except ZooError as error:
        raise ZooError(f"{what}: {error}") from error


def parameter_path(architecture_id: str, name: str) -> str:
    """Return where a parameter's array lies in the zoo."""
    return f"{ARCHITECTURES}/{architecture_id}/{encode_name(name)}"


def column_path(name: str) -> str:
    """Return where a column's array lies in the zoo."""
    return f"{NETWORKS}/{encode_name(name)}"


def valid_path(name: str) -> str:
    """Return where it is told which values of a column are there."""
    return f"{NETWORKS}/{encode_name(name)}.valid"


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


# -- the manifest -------------------------------------------------------------------------------------------


def _ints(value: Any) -> tuple[int, ...]:
    return tuple(value)


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(value)


_COUNT = and_(instance_of(int), ge(0))
_COUNTS = deep_iterable(_COUNT)


@frozen(kw_only=True)
class ArrayRecord:
    """What the manifest says of one array.

    Args:
        dtype: a name of :data:`DTYPES`, or ``string``.
        shape: of the array.
        chunks: the shape of a chunk.
        sizes: of every chunk file in bytes, in C order of the chunk grid.
        sha256: of the values: little-endian, C order; strings as length (8 bytes) and UTF-8.
    """

    dtype: str = field(validator=in_((*DTYPES, "string")))
    shape: tuple[int, ...] = field(converter=_ints, validator=_COUNTS)
    chunks: tuple[int, ...] = field(converter=_ints, validator=deep_iterable(and_(instance_of(int), ge(1))))
    sizes: tuple[int, ...] = field(converter=_ints, validator=_COUNTS)
    sha256: str = field(validator=instance_of(str))

    def __attrs_post_init__(self) -> None:
        if not self.shape or len(self.chunks) != len(self.shape) or len(self.sizes) != math.prod(self.grid):
            raise ValueError(f"an array of shape {list(self.shape)} does not have these chunks")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ArrayRecord:
        """Read a record of the manifest; keys that are not known are left aside.

        Raises:
            KeyError, TypeError, ValueError: something is missing, of a wrong type, or contradicts the rest.
        """
        return cls(**{key: data[key] for key in ("dtype", "shape", "chunks", "sizes", "sha256")})

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks lie along each axis."""
        return chunk_grid(self.shape, self.chunks)

    def chunk_files(self, start: int, stop: int) -> Iterator[tuple[tuple[int, ...], str, int]]:
        """Yield place, file name and size of the chunks that hold the rows from start to stop."""
        first, last = start // self.chunks[0], -(-stop // self.chunks[0])
        along = math.prod(self.grid[1:])
        places = product(range(first, last), *(range(count) for count in self.grid[1:]))
        for place, size in zip(places, self.sizes[first * along : last * along], strict=True):
            yield place, chunk_file(place), size


@frozen(kw_only=True)
class Manifest:
    """The attributes of a zoo's root, written last: what it is, what it holds, what must be there.

    Args:
        name: of the zoo.
        description: one paragraph.
        licence: of the weights.
        source: where they came from.
        builder: how they were made: name, version, seed, config.
        networks: N.
        healthy: how many networks are healthy.
        architectures: id and N_a of each, in the order of the column ``architecture``.
        properties: name and kind of each, in order.
        splits: their names.
        arrays: every array by its path.
    """

    name: str = field(validator=instance_of(str))
    description: str = field(validator=instance_of(str))
    licence: str = field(validator=instance_of(str))
    source: str = field(validator=instance_of(str))
    builder: Mapping[str, Any] | None = field(validator=optional(instance_of(dict)))
    networks: int = field(validator=_COUNT)
    healthy: int = field(validator=_COUNT)
    architectures: Mapping[str, int] = field(validator=instance_of(dict))
    properties: Mapping[str, str] = field(validator=instance_of(dict))
    splits: tuple[str, ...] = field(converter=_strings, validator=deep_iterable(instance_of(str)))
    arrays: Mapping[str, ArrayRecord] = field(validator=instance_of(dict))

    @property
    def digest(self) -> str:
        """SHA-256 of the content, whatever its chunks, its compression and its name."""
        content = {
            "architectures": list(self.architectures),
            "arrays": {
                path: {"dtype": record.dtype, "shape": list(record.shape), "sha256": record.sha256}
                for path, record in self.arrays.items()
            },
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the attributes of the zoo's root."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "description": self.description,
            "licence": self.licence,
            "source": self.source,
            "builder": self.builder,
            "networks": self.networks,
            "healthy": self.healthy,
            "architectures": [{"id": key, "networks": count} for key, count in self.architectures.items()],
            "properties": [{"name": name, "kind": kind} for name, kind in self.properties.items()],
            "splits": list(self.splits),
            "digest": self.digest,
            "arrays": {
                path: {
                    "dtype": record.dtype,
                    "shape": list(record.shape),
                    "chunks": list(record.chunks),
                    "sizes": list(record.sizes),
                    "sha256": record.sha256,
                }
                for path, record in self.arrays.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: something is missing, of a wrong type, or contradicts the rest.
        """
        manifest = cls(
            **{
                key: data[key]
                for key in ("name", "description", "licence", "source", "builder", "networks", "healthy")
            },
            architectures={entry["id"]: int(entry["networks"]) for entry in data["architectures"]},
            properties={entry["name"]: entry["kind"] for entry in data["properties"]},
            splits=data["splits"],
            arrays={path: ArrayRecord.from_json(record) for path, record in data["arrays"].items()},
        )
        manifest._check()
        if data["digest"] != manifest.digest:
            raise ValueError("its digest does not match the arrays it lists")
        return manifest

    def _check(self) -> None:
        """Check that what is listed adds up, so that readers need not."""
        lengths = {column_path(name): self.networks for name in (*COLUMNS, *self.properties)}
        lengths |= {split_path(name): self.networks for name in self.splits}
        for path, length in lengths.items():
            if self.arrays[path].shape != (length,):
                raise ValueError(
                    f"{path} should have {length} values, it has {list(self.arrays[path].shape)}"
                )
        for name, kind in self.properties.items():
            if self.arrays[column_path(name)].dtype != KINDS[kind]:
                raise ValueError(f"property {name!r} is not stored as {KINDS[kind]}")
        if sum(self.architectures.values()) != self.networks or not 0 < self.networks >= self.healthy:
            raise ValueError("its numbers of networks do not add up")


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


def read_manifest(path: Path) -> Manifest:
    """Return what a zoo says of itself; no array is touched.

    Raises:
        ZooError: nothing is there, or no zoo, or one that is half-built, newer or damaged.
    """
    if not path.is_dir():
        raise ZooError(f"{path}: {'not a zoo: a file' if path.exists() else _absent(path)}")
    try:
        attributes = read_attributes(path)
    except FileNotFoundError as error:
        raise ZooError(f"{path}: {_no_manifest(path)}") from error
    if attributes.get("format") != FORMAT:
        raise ZooError(f"{path}: not a zoo: its attribute 'format' is not {FORMAT!r}")
    version = attributes.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ZooError(
            f"{path}: written by a newer sneframe (format version {version}, this one reads {VERSION})"
        )
    if version != VERSION:
        raise ZooError(f"{path}: damaged manifest: version {version!r}")
    try:
        return Manifest.from_json(attributes)
    except KeyError as error:
        raise ZooError(f"{path}: damaged manifest: {error} is missing") from error
    except (TypeError, ValueError, AttributeError, ZooError) as error:
        raise ZooError(f"{path}: damaged manifest: {error.args[0]}") from error


def is_zoo(path: Path) -> bool:
    """Return whether a zoo lies there, be it half-built, damaged or newer."""
    try:
        return read_attributes(path).get("format") == FORMAT
    except FileNotFoundError:
        return _half_built(path)
    except (ZooError, NotADirectoryError):
        return False


def _half_built(path: Path) -> bool:
    return (path / ARCHITECTURES).is_dir() or (path / NETWORKS).is_dir()


def _absent(path: Path) -> str:
    found = sorted(file.name for file in path.parent.glob("*.zarr")) if path.parent.is_dir() else []
    return f"there is no such zoo (zoos in that folder: {', '.join(found) or 'none'})"


def _no_manifest(path: Path) -> str:
    if _half_built(path):
        return "half-built: it has no manifest, run its builder again"
    found = sorted(file.name for file in path.glob("*.zarr"))
    hint = (
        f"did you mean one of those in it: {', '.join(found)}?"
        if found
        else "a zoo is a folder with a zarr.json"
    )
    return f"not a zoo ({hint})"
