"""State dicts from files, by the ending of their names; what holds several keeps one of them by its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen
from torch import Tensor

from sneframe.errors import FileError, choices
from sneframe.files.archive import GROWTH
from sneframe.files.formats import check_sizes, read_policy, read_safetensors, read_zip_or_pickle
from sneframe.files.names import unwrapped
from sneframe.files.shards import INDEXES, SHARD, read_index, read_shards, size_of_all

#: Where checkpoints keep the weights, in the order in which they are looked for.
KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "params", "policy")
LEVELS = 3  #: of mappings in mappings in which state dicts are looked for


@frozen(kw_only=True, eq=False)
class StateDict:
    """What a file holds of a network.

    Args:
        tensors: by name, in the file's order; mapped from the file where its format allows it, so that a tensor takes no
            memory before it is used.
        others: what stands beside the tensors by name, such as a label: plain values, never objects.
    """

    tensors: Mapping[str, Tensor]
    others: Mapping[str, Any] = field(factory=dict)


def read_state_dict(path: str | Path, key: str | None = None) -> StateDict:
    """Read a network's file by the ending of its name.

    Args:
        path: ``.safetensors``, ``.pt`` or ``.pth`` (or another ending of ``SUFFIXES``), the ``.zip`` that
            Stable-Baselines3 saves; of a sharded network its index, or one of its shards, beside which all others lie.
        key: of a checkpoint that holds several state dicts, which; dots lead into it. By default the first of ``KEYS`` that
            is there, or the only one.

    Raises:
        FileError: the file is missing, damaged, of no known kind, holds no state dict, or other objects than tensors.
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(f"{path}: is a folder, the file of one network is needed")
    reader = next((read for suffix, read in READERS.items() if path.name.lower().endswith(suffix)), None)
    if SHARD.match(path.name):
        reader = read_shards
    if reader is None:
        raise FileError(f"{path}: a network's file ends in {', '.join(SUFFIXES)}")
    return _read(path, reader, key)


def read_torch(path: Path, key: str | None = None) -> StateDict:
    """Read a file of ``torch.save``, whatever its name; see :func:`read_state_dict`."""
    return _read(path, read_zip_or_pickle, key)


def _read(path: Path, reader: Callable[[Path], Any], key: str | None) -> StateDict:
    try:
        if not path.is_file():
            raise FileError(f"{path}: {'no file' if path.exists() else 'not there'}")
        path.open("rb").close()  # what may not be read is not damaged
        if path.stat().st_size == 0:
            raise FileError(f"{path}: empty")
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
SUFFIXES = tuple(READERS)  #: the endings of the names of networks' files


# -- what is in it ------------------------------------------------------------------------------------------------


def find_state_dict(value: Any, key: str | None, path: str | Path) -> StateDict:
    """Find the state dict in what a file holds, or in what was loaded of one.

    Args:
        value: a mapping of tensors by name, or of what else a checkpoint keeps.
        key: which of several; see :func:`read_state_dict`.
        path: what errors call it.

    Raises:
        FileError: there is none, or there are several.
    """
    if key is not None:
        for word in key.split("."):
            if not isinstance(value, Mapping) or word not in value:
                known = [str(name) for name in value] if isinstance(value, Mapping) else []
                raise FileError(f"{path}: there is no {key!r}, {choices(word, known)}")
            value = value[word]
        if not _is_state_dict(value):
            inner = [f"{key}.{name}" for name in _within(value)] if isinstance(value, Mapping) else []
            hint = f"; within it are {', '.join(inner)}" if inner else ""
            raise FileError(f"{path}: {key!r} is no state dict{hint}")
    beside: Mapping[str, Any] = {}
    if not isinstance(value, Mapping):
        raise FileError(f"{path}: holds no state dict, but a {type(value).__name__}")
    if _is_optimizer(value):
        raise FileError(f"{path}: the state of an optimiser, which is no network")
    # Beside a state dict may stand single tensors, such as a loss; a name with a dot is that of a module's parameter.
    own = any("." in str(name) for name, each in value.items() if isinstance(each, Tensor))
    within = {} if own or key is not None else _within(value)
    if within:
        name = next((name for name in KEYS if name in within), None)
        if name is None and len(within) > 1:
            raise FileError(
                f"{path}: holds several state dicts, {', '.join(sorted(within))}; say which by its key (--key)"
            )
        beside, value = value, within[name or next(iter(within))]
    elif not _is_state_dict(value):
        raise FileError(f"{path}: holds no tensors with names")
    tensors = {str(name): each for name, each in value.items() if isinstance(each, Tensor)}
    tensors = unwrapped(tensors)
    others = {
        n: each
        for n, each in (*beside.items(), *value.items())
        if not isinstance(each, Tensor) and each is not value
    }
    return StateDict(tensors=tensors, others=others)


def _within(value: Mapping[Any, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the state dicts in a checkpoint by the words that lead to them: the outermost, a few levels down at most."""
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
    """Whether a mapping is what ``optimizer.state_dict()`` gives: its tensors are no weights."""
    return isinstance(value, Mapping) and {"state", "param_groups"} <= value.keys()
