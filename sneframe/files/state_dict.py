"""Read the state dict from a network's file. The ending of the file's name selects the reader.

A checkpoint may hold several state dicts. A key then selects one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen
from torch import Tensor

from sneframe.errors import FileError, choices, with_article
from sneframe.files.archive import GROWTH
from sneframe.files.formats import check_sizes, read_policy, read_safetensors, read_zip_or_pickle
from sneframe.files.names import unwrapped
from sneframe.files.shards import INDEXES, SHARD, read_index, read_shards, size_of_all

#: Keys under which checkpoints store the weights, in the order in which they are tried.
KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "params", "policy")
LEVELS = 3  #: number of levels of nested mappings that are searched for state dicts


@frozen(kw_only=True, eq=False)
class StateDict:
    """The content of a network's file.

    Args:
        tensors: the tensors by name, in the file's order. The tensors are memory-mapped where the format
            allows this, so that a tensor takes no memory before its values are used.
        others: the plain values in the file by name, such as a label.
    """

    tensors: Mapping[str, Tensor]
    others: Mapping[str, Any] = field(factory=dict)


def read_state_dict(path: str | Path, key: str | None = None) -> StateDict:
    """Read the file of one network. The ending of the file's name selects the reader.

    Args:
        path: a file with an ending of ``SUFFIXES``, such as ``.safetensors``, ``.pt``, or the ``.zip`` of
            Stable-Baselines3. A sharded network is read from its index file, or from any shard if all shards
            are in one folder.
        key: which state dict to read from a checkpoint that holds several. Dots separate the keys of nested
            mappings. By default, the first key of ``KEYS`` that is in the checkpoint selects the state dict.
            If the checkpoint has none of them, it must hold only one state dict.

    Raises:
        FileError: the file is missing, damaged, of no known kind, or holds no state dict.
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(f"{path}: this is a folder; give the file of one network")
    reader = next((read for suffix, read in READERS.items() if path.name.lower().endswith(suffix)), None)
    if SHARD.match(path.name):
        reader = read_shards
    if reader is None:
        raise FileError(f"{path}: the name of a network's file must end in one of {', '.join(SUFFIXES)}")
    return _read(path, reader, key)


def read_torch(path: Path, key: str | None = None) -> StateDict:
    """Read a file of ``torch.save`` as :func:`read_state_dict` does. The file's name may have any ending."""
    return _read(path, read_zip_or_pickle, key)


def _read(path: Path, reader: Callable[[Path], Any], key: str | None) -> StateDict:
    try:
        if not path.is_file():
            raise FileError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        path.open("rb").close()  # a file without permission to read is not damaged
        if path.stat().st_size == 0:
            raise FileError(f"{path}: the file is empty")
        found = find_state_dict(reader(path), key, path)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    size = size_of_all(path) or path.stat().st_size * (GROWTH if path.suffix.lower() == ".zip" else 1)
    check_sizes(found.tensors.values(), path, size)
    return found


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".safetensors": read_safetensors,
    **dict.fromkeys(INDEXES, read_index),
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), read_zip_or_pickle),
    ".zip": read_policy,
}
SUFFIXES = tuple(READERS)  #: the endings of file names that have a reader


# -- the state dict in a checkpoint -----------------------------------------------------------------------


def find_state_dict(value: Any, key: str | None, path: str | Path) -> StateDict:
    """Find the state dict in the content of a checkpoint.

    Args:
        value: a mapping of tensors by name, or a checkpoint that holds such a mapping.
        key: which of several state dicts to return; see :func:`read_state_dict`.
        path: the path or name of the checkpoint, for errors.

    Raises:
        FileError: the checkpoint holds no state dict, or several.
    """
    if key is not None:
        for word in key.split("."):
            if not isinstance(value, Mapping) or word not in value:
                known = [str(name) for name in value] if isinstance(value, Mapping) else []
                raise FileError(f"{path}: the checkpoint has no key {key!r}, {choices(word, known)}")
            value = value[word]
        if not _is_state_dict(value):
            inner = [f"{key}.{name}" for name in _within(value)] if isinstance(value, Mapping) else []
            hint = f"; the state dicts below this key are {', '.join(inner)}" if inner else ""
            raise FileError(f"{path}: {key!r} is not a state dict{hint}")
    beside: Mapping[str, Any] = {}
    if not isinstance(value, Mapping):
        raise FileError(f"{path}: must hold a state dict, but holds {with_article(type(value).__name__)}")
    if _is_optimizer(value):
        raise FileError(f"{path}: the file holds the state of an optimiser, not of a network")
    # A checkpoint may hold single tensors, such as a loss, beside a state dict. If the name of a tensor has a
    # dot, the tensor is a parameter of a module, and the checkpoint itself is the state dict.
    own = any("." in str(name) for name, each in value.items() if isinstance(each, Tensor))
    within = {} if own or key is not None else _within(value)
    if within:
        name = next((name for name in KEYS if name in within), None)
        if name is None and len(within) > 1:
            raise FileError(
                f"{path}: holds several state dicts, {', '.join(sorted(within))}; choose one with --key"
            )
        beside, value = value, within[name or next(iter(within))]
    elif not _is_state_dict(value):
        raise FileError(f"{path}: holds no named tensors")
    tensors = {str(name): each for name, each in value.items() if isinstance(each, Tensor)}
    tensors = unwrapped(tensors)
    others = {
        n: each
        for n, each in (*beside.items(), *value.items())
        if not isinstance(each, Tensor) and each is not value
    }
    return StateDict(tensors=tensors, others=others)


def _within(value: Mapping[Any, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the outermost state dicts in a checkpoint by dotted key.

    The search goes at most ``LEVELS`` levels down. It stops at the first level that has a state dict.
    """
    level = {
        str(name): each
        for name, each in value.items()
        if isinstance(each, Mapping) and not _is_optimizer(each)
    }
    for _ in range(LEVELS):
        if found := {name: each for name, each in level.items() if _is_state_dict(each)}:
            return found
        level = {
            f"{name}.{word}": each
            for name, within in level.items()
            for word, each in within.items()
            if isinstance(each, Mapping)
        }
    return {}


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and not _is_optimizer(value)
        and any(isinstance(each, Tensor) for each in value.values())
        and all(isinstance(name, str) for name in value)
    )


def _is_optimizer(value: Any) -> bool:
    """Return whether a value is the state dict of an optimiser, whose tensors are not weights."""
    return isinstance(value, Mapping) and {"state", "param_groups"} <= value.keys()
