"""Read and check the manifest of a zoo.

The manifest consists of the attributes of the zoo's root group. It lists all arrays, contains a digest of
their content, and is written last.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, in_, instance_of, optional

from sneframe.errors import ZooError
from sneframe.zoo.format import (
    ARCHITECTURES,
    COLUMNS,
    DTYPES,
    FORMAT,
    KINDS,
    NETWORKS,
    VERSION,
    chunk_file,
    chunk_grid,
    column_path,
    read_attributes,
    split_path,
)


def _ints(value: Any) -> tuple[int, ...]:
    return tuple(value)


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(value)


_COUNT = and_(instance_of(int), ge(0))
_COUNTS = deep_iterable(_COUNT)


@frozen(kw_only=True)
class ArrayRecord:
    """The manifest's record of one array.

    Args:
        dtype: a name of :data:`DTYPES`, or ``string``.
        shape: the shape of the array.
        chunks: the shape of a chunk.
        sizes: the size of every chunk file in bytes, in C order of the chunk grid.
        sha256: the SHA-256 hash of the values. Numbers are hashed as little-endian in C order. A string is
            hashed as its length in 8 bytes and its UTF-8 bytes.
    """

    dtype: str = field(validator=in_((*DTYPES, "string")))
    shape: tuple[int, ...] = field(converter=_ints, validator=_COUNTS)
    chunks: tuple[int, ...] = field(converter=_ints, validator=deep_iterable(and_(instance_of(int), ge(1))))
    sizes: tuple[int, ...] = field(converter=_ints, validator=_COUNTS)
    sha256: str = field(validator=instance_of(str))

    def __attrs_post_init__(self) -> None:
        if not self.shape or len(self.chunks) != len(self.shape) or len(self.sizes) != math.prod(self.grid):
            raise ValueError(f"the chunks of an array of shape {list(self.shape)} do not match its shape")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ArrayRecord:
        """Return the record of an array from its entry in the manifest. Unknown keys are ignored.

        Raises:
            KeyError, TypeError, ValueError: a key is missing, or its value has a wrong type or contradicts
                another value.
        """
        return cls(**{key: data[key] for key in ("dtype", "shape", "chunks", "sizes", "sha256")})

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of chunks along each axis."""
        return chunk_grid(self.shape, self.chunks)

    def chunk_files(self, start: int, stop: int) -> Iterator[tuple[tuple[int, ...], str, int]]:
        """Yield the chunks that contain the rows from ``start`` to ``stop``.

        Yields:
            The index of the chunk in the chunk grid, the path of its file within the array's folder, and the
            size of the file in bytes.
        """
        first, last = start // self.chunks[0], -(-stop // self.chunks[0])
        along = math.prod(self.grid[1:])
        indices = product(range(first, last), *(range(count) for count in self.grid[1:]))
        for index, size in zip(indices, self.sizes[first * along : last * along], strict=True):
            yield index, chunk_file(index), size


@frozen(kw_only=True)
class Manifest:
    """The attributes of a zoo's root group. They describe the zoo and list all its arrays.

    Args:
        name: name of the zoo.
        description: one paragraph about the zoo.
        licence: licence of the weights.
        source: where the weights came from.
        builder: how the networks were made: name, version, seed, config.
        networks: number of networks, N.
        healthy: number of healthy networks.
        architectures: number of networks N_a for each architecture id. The column ``architecture`` stores
            positions in this mapping.
        properties: the kind of each property by name, in order.
        splits: names of the splits.
        arrays: the record of each array by the array's path within the zoo.
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
        """The SHA-256 hash of the zoo's content.

        The digest does not depend on the shapes of the chunks, the compression, or the name of the zoo.
        """
        content = {
            "architectures": list(self.architectures),
            "arrays": {
                path: {"dtype": record.dtype, "shape": list(record.shape), "sha256": record.sha256}
                for path, record in self.arrays.items()
            },
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as the JSON attributes of the zoo's root group."""
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
        """Return the manifest from the JSON attributes that :meth:`to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: a key is missing, or its value has a wrong type or contradicts
                another value.
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
            raise ValueError("the digest does not match the listed arrays")
        return manifest

    def _check(self) -> None:
        """Check that the entries of the manifest agree with each other.

        Raises:
            KeyError, ValueError: an array is missing, or two entries contradict each other.
        """
        lengths = {column_path(name): self.networks for name in (*COLUMNS, *self.properties)}
        lengths |= {split_path(name): self.networks for name in self.splits}
        for path, length in lengths.items():
            if self.arrays[path].shape != (length,):
                shape = list(self.arrays[path].shape)
                raise ValueError(f"{path} must have shape [{length}], but got {shape}")
        for name, kind in self.properties.items():
            if self.arrays[column_path(name)].dtype != KINDS[kind]:
                raise ValueError(f"property {name!r} is not stored as {KINDS[kind]}")
        if sum(self.architectures.values()) != self.networks or not 0 < self.networks >= self.healthy:
            raise ValueError("the numbers of networks do not add up")


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a zoo, but no array.

    Raises:
        ZooError: there is no zoo at the path, or the zoo is half-built, damaged or of a newer format version.
    """
    if not path.is_dir():
        raise ZooError(f"{path}: {'not a zoo, but a file' if path.exists() else _absent(path)}")
    try:
        attributes = read_attributes(path)
    except FileNotFoundError as error:
        raise ZooError(f"{path}: {_no_manifest(path)}") from error
    if attributes.get("format") != FORMAT:
        raise ZooError(f"{path}: not a zoo: its attribute 'format' is not {FORMAT!r}")
    version = attributes.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ZooError(
            f"{path}: written by a newer sneframe (the zoo has format version {version}, but this sneframe "
            f"reads version {VERSION})"
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
    """Return whether there is a zoo of any format version, or a half-built zoo, at the path."""
    try:
        return read_attributes(path).get("format") == FORMAT
    except FileNotFoundError:
        return _half_built(path)
    except (ZooError, NotADirectoryError):
        return False


def enclosing_zoo(path: Path) -> Path | None:
    """Return the path of the zoo whose folder contains ``path``, or None if ``path`` is in no zoo."""
    for folder in (path.parent.resolve(), *path.parent.resolve().parents):
        try:
            if read_attributes(folder).get("format") == FORMAT:
                return folder
        except (ZooError, OSError):
            continue
    return None


def _half_built(path: Path) -> bool:
    return (path / ARCHITECTURES).is_dir() or (path / NETWORKS).is_dir()


def _absent(path: Path) -> str:
    zoos = sorted(file.name for file in path.parent.glob("*.zarr")) if path.parent.is_dir() else []
    return f"there is no such zoo (zoos in that folder: {', '.join(zoos) or 'none'})"


def _no_manifest(path: Path) -> str:
    if _half_built(path):
        return "half-built: the zoo has no manifest; run its builder again"
    zoos = sorted(file.name for file in path.glob("*.zarr"))
    hint = (
        f"did you mean a zoo in this folder: {', '.join(zoos)}?"
        if zoos
        else "a zoo is a folder with a zarr.json"
    )
    return f"not a zoo ({hint})"
