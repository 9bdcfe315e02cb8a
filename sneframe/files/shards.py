"""Read networks that are saved in several files, called shards.

An index file lists the shards of a network. Without an index file, the numbers in the file names tell which
shards belong together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.formats import layered, read_safetensors, read_zip_or_pickle
from sneframe.files.safe_path import inside

#: Maps the ending of a Hugging Face index file to the ending of the shards that the index file lists.
INDEXES = {".safetensors.index.json": ".safetensors", ".bin.index.json": ".bin"}
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.safetensors|\.bin|\.pt|\.pth)$")
LARGEST_INDEX = 1 << 26


def is_sharded(path: Path) -> bool:
    """Return whether a file is a shard that is read when another file is read.

    That other file is the index file of the network. Without an index file, it is the shard of the network
    with the lowest number in the folder.
    """
    if (parts := SHARD.match(path.name)) is None:
        return False
    if _index_of(path) is not None:
        return True
    alike = (SHARD.match(other.name) for other in path.parent.iterdir())
    numbers = [other[2] for other in alike if other and other.group(1, 3, 4) == parts.group(1, 3, 4)]
    return parts[2] != min(numbers, default=parts[2])


def _index_of(path: Path) -> Path | None:
    """Return the index file of the network that a shard belongs to, or None if the folder has none."""
    parts = SHARD.match(path.name)
    assert parts is not None
    ending = next((index for index, suffix in INDEXES.items() if suffix == parts[4]), None)
    index = path.parent / f"{parts[1]}{ending}"
    return index if ending is not None and index.exists() else None


def size_of_all(path: Path) -> int | None:
    """Return the size in bytes of all shards of a network, or None if the network is not sharded.

    Args:
        path: the index file of a network, one of its shards, or the only file of a network. Every file in
            the folder with the ending of the shards counts as a shard.
    """
    ending = next((suffix for index, suffix in INDEXES.items() if path.name.endswith(index)), None)
    if ending is None and (parts := SHARD.match(path.name)):
        ending = parts[4]
    return None if ending is None else sum(each.stat().st_size for each in path.parent.glob(f"*{ending}"))


def read_index(path: Path) -> dict[str, Any]:
    """Read all shards that a Hugging Face index file names.

    Raises:
        FileError: the index or a shard is missing, damaged or too large, or a shard lacks a tensor that the
            index assigns to the shard.
    """
    if path.stat().st_size > LARGEST_INDEX:
        raise FileError(f"{path}: an index of shards must not exceed {LARGEST_INDEX >> 20} MiB")
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        names = [(str(name), str(file)) for name, file in files.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(f"{path}: damaged, or not an index of shards") from error
    shards = {}
    for file in dict.fromkeys(file for _, file in names):
        try:
            shards[file] = _shard(inside(path.parent, file))
        except FileError as error:
            raise FileError(f"{path}: shard {error}") from error
    for name, file in names:
        if name not in shards[file]:
            raise FileError(f"{path}: the index says that {file} holds {name!r}, but it does not")
    return {name: shards[file][name] for name, file in sorted(names, key=lambda each: layered(each[0]))}


def read_shards(path: Path) -> dict[str, Any]:
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
    return {name: found[name] for name in sorted(found, key=layered)}


def _shard(path: Path) -> dict[str, Any]:
    """Read one shard, which holds named tensors and nothing else."""
    found = read_safetensors(path) if path.name.endswith(".safetensors") else read_zip_or_pickle(path)
    if not isinstance(found, Mapping) or not all(isinstance(each, Tensor) for each in found.values()):
        raise FileError(f"{path}: not a shard: a shard holds named tensors and nothing else")
    return {str(name): tensor for name, tensor in found.items()}
