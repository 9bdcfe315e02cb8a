"""Read networks that are saved in several files, called shards.

An index file lists the shards of a network. Without an index file, the numbers in the file names tell which
shards belong together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from torch import Tensor

from sneframe.errors import FileError, counted
from sneframe.files.names import layered
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe.files.safe_path import inside
from sneframe.files.safetensors_reader import read_safetensors
from sneframe.files.sizes import check_sizes
from sneframe.files.torch_reader import read_zip_or_pickle

#: Maps the ending of a Hugging Face index file to the ending of the shards that the index file lists.
INDEXES = {".safetensors.index.json": ".safetensors", ".bin.index.json": ".bin"}
#: Matches the name of a shard: a stem, the number of the shard, the number of shards, and the ending.
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.safetensors|\.bin|\.pt|\.pth)$", re.IGNORECASE)
LARGEST_INDEX = 1 << 26  #: largest size of an index file in bytes


@final
class ShardsReader(FileReader):
    """Reads a network in shards, given the index file of the network or one of its shards."""

    name = "sneframe/shards"
    help = "networks in shards, such as model-00001-of-00002.safetensors, with or without an index file"
    endings = tuple(INDEXES)

    def claims(self, name: str) -> bool:
        """Return whether a name is that of an index file or of a shard."""
        return super().claims(name) or SHARD.match(name) is not None

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise an index file or a shard by its name."""
        return not candidate.is_folder and self.claims(candidate.name)

    def read(self, path: Path) -> Content:
        """Read all shards of the network."""
        return read_shards(path) if SHARD.match(path.name) else read_index(path)

    def others(self, path: Path) -> Mapping[Path, str]:
        """Return the shards that an index file lists, or the other shards of a given shard's network."""
        own = SHARD.match(path.name)
        if own is None:
            return dict.fromkeys(_shards_of(path), "")
        alike = ((other, SHARD.match(other.name)) for other in path.parent.iterdir() if other != path)
        return {other: "" for other, parts in alike if parts and parts.group(1, 3, 4) == own.group(1, 3, 4)}


def _index_of(path: Path) -> Path | None:
    """Return the index file of the network that a shard belongs to, or None if the folder has none."""
    parts = SHARD.match(path.name)
    assert parts is not None
    ending = next((index for index, suffix in INDEXES.items() if suffix == parts[4]), None)
    index = path.parent / f"{parts[1]}{ending}"
    return index if ending is not None and index.exists() else None


def _shards_of(path: Path) -> set[Path]:
    """Return the shards that an index file lists, and the files beside it named like its shards."""
    ending = next(index for index in INDEXES if path.name.lower().endswith(index))
    named = re.compile(re.escape(path.name[: -len(ending)]) + r"-\d{5}-of-\d{5}" + re.escape(INDEXES[ending]))
    found = {each for each in path.parent.iterdir() if named.fullmatch(each.name)}
    try:
        listed = {inside(path.parent, file) for file in {file for _, file in _entries(path)}}
    except FileError:  # ShardsReader.read raises this error again
        return found
    return found | listed


def _entries(path: Path) -> list[tuple[str, str]]:
    """Return the names of the tensors that an index file lists, each with the name of its shard.

    Raises:
        FileError: the index is damaged or too large.
    """
    if path.stat().st_size > LARGEST_INDEX:
        raise FileError(f"{path}: an index of shards must not exceed {LARGEST_INDEX >> 20} MiB")
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        return [(str(name), str(file)) for name, file in files.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(f"{path}: damaged, or not an index of shards") from error


def read_index(path: Path) -> Content:
    """Read all shards that a Hugging Face index file names. A note counts the tensors that it does not list.

    Raises:
        FileError: the index or a shard is missing, damaged or too large, or a shard lacks a tensor that the
            index assigns to the shard.
    """
    names = _entries(path)
    shards = {}
    for file in dict.fromkeys(file for _, file in names):
        try:
            shards[file] = _shard(inside(path.parent, file))
        except FileError as error:
            raise FileError(f"{path}: shard {error}") from error
    for name, file in names:
        if name not in shards[file]:
            raise FileError(f"{path}: the index says that {file} holds {name!r}, but it does not")
    notes: tuple[str, ...] = ()
    if unlisted := {name for shard in shards.values() for name in shard} - {name for name, _ in names}:
        notes = (
            f"left out {counted(len(unlisted), 'tensor')} that the index does not list: {min(unlisted)}",
        )
    values = {name: shards[file][name] for name, file in sorted(names, key=lambda each: layered(each[0]))}
    return Content(values=values, notes=notes)


def read_shards(path: Path) -> Content:
    """Read all shards of a network, given one shard.

    If the folder has an index file, the index file lists the shards. Otherwise the names of all shards follow
    from the name of the given shard, which ends in its number and the number of shards.

    Raises:
        FileError: a shard is missing or damaged, or two shards hold a tensor of the same name.
    """
    if (index := _index_of(path)) is not None:
        return read_index(index)
    parts = SHARD.match(path.name)
    assert parts is not None
    found: dict[str, Any] = {}
    for number in range(1, int(parts[3]) + 1):
        name = f"{parts[1]}-{number:05}-of-{parts[3]}{parts[4]}"
        try:
            shard = _shard(inside(path.parent, name))
        except FileError as error:
            raise FileError(f"{path}: not all shards of this network can be read: {error}") from error
        if twice := found.keys() & shard.keys():
            raise FileError(f"{path}: {min(twice)!r} is in two shards")
        found |= shard
    return Content(values={name: found[name] for name in sorted(found, key=layered)})


def _shard(path: Path) -> dict[str, Any]:
    """Read one shard, which holds named tensors and nothing else."""
    found = read_safetensors(path) if path.name.endswith(".safetensors") else read_zip_or_pickle(path)
    if not isinstance(found, Mapping) or not all(isinstance(each, Tensor) for each in found.values()):
        raise FileError(f"{path}: not a shard: a shard holds named tensors and nothing else")
    check_sizes(found.values(), path, path.stat().st_size)
    return {str(name): tensor for name, tensor in found.items()}
