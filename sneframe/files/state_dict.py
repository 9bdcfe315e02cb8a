"""Read the state dict from a network's file.

A checkpoint may hold several state dicts. A key then selects one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from sneframe.errors import FileError, choices, one_line, with_article
from sneframe.files.names import AVERAGES, KEYS, unwrapped
from sneframe.files.reader import Content, FileReader
from sneframe.files.recognise import CORE, reader_of, with_folders
from sneframe.files.torch_reader import TorchReader

LEVELS = 3  #: number of levels of nested mappings that are searched for state dicts


@frozen(kw_only=True, eq=False)
class StateDict:
    """The content of a network's file.

    Args:
        tensors: the tensors by name, in the file's order. The tensors are memory-mapped where the format
            allows this, so that a tensor takes no memory before its values are used.
        others: the plain values in the file by name, such as a label.
        notes: what was left out, chosen or assumed, one line for each.
        content: what the reader found in the file; None for a state dict that was not in a file.
        reader: the name of the reader, or an empty string.
        renamed: whether a renaming of the user changed the name of a tensor.
    """

    tensors: Mapping[str, Tensor]
    others: Mapping[str, Any] = field(factory=dict)
    notes: tuple[str, ...] = ()
    content: Content | None = None
    reader: str = ""
    renamed: bool = False


def read_state_dict(
    path: str | Path, key: str | None = None, readers: Sequence[FileReader] = with_folders(CORE)
) -> StateDict:
    """Read the file or folder of one network. The content and the name of the file select the reader.

    Args:
        path: the file, or the folder of one network. For a sharded network, the index file, or any shard if
            all shards are in one folder.
        key: which state dict to read from a checkpoint that holds several. Dots separate the keys of nested
            mappings. By default, the first key of ``KEYS`` that is in the checkpoint selects the state dict.
            If the checkpoint has none of them, it must hold only one state dict.
        readers: the known readers. By default, those of the core. :func:`sneframe.plugins.readers` returns
            also those of plugins.

    Raises:
        FileError: the file is missing, damaged, of no known kind, or holds no state dict.
    """
    path = Path(path)
    return _read(path, reader_of(path, readers), key)


def read_torch(path: Path, key: str | None = None) -> StateDict:
    """Read a file of ``torch.save`` as :func:`read_state_dict` does, and refuse any other file."""
    return _read(path, reader_of(path, [TorchReader()]), key)


def _read(path: Path, reader: FileReader, key: str | None) -> StateDict:
    try:
        content = reader.read(path)
        if not isinstance(content, Content):
            raise TypeError(f"read returned {with_article(type(content).__name__)}, not a Content")
    except (FileError, MemoryError):
        raise
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    except (Exception, SystemExit) as error:  # a reader of a plugin may raise anything
        raise FileError(
            f"{path}: the file reader {reader.name!r} of {reader.origin} fails: {one_line(error)}"
        ) from error
    try:
        found = find_state_dict(content.values, key, path)
    except FileError as error:
        beside = f" ({'; '.join(content.notes)})" if content.notes else ""
        raise FileError(f"{error}{beside}") from error
    return evolve(found, content=content, reader=reader.name, notes=(*content.notes, *found.notes))


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
    notes: tuple[str, ...] = ()
    if not isinstance(value, Mapping):
        raise FileError(f"{path}: must hold a state dict, but holds {with_article(type(value).__name__)}")
    if _is_optimizer(value):
        raise FileError(f"{path}: the file holds the state of an optimiser, not of a network")
    # A checkpoint may hold single tensors, such as a loss, beside a state dict. If the name of a tensor has a
    # dot, the tensor is a parameter of a module, and the checkpoint itself is the state dict.
    own = any("." in str(name) for name, each in value.items() if isinstance(each, Tensor))
    within = {} if own or key is not None else _within(value)
    if within:
        name, notes = _chosen(within, path)
        beside, value = value, within[name]
    elif not _is_state_dict(value):
        raise FileError(f"{path}: holds no named tensors")
    tensors = {str(name): each for name, each in value.items() if isinstance(each, Tensor)}
    tensors = unwrapped(tensors)
    others = {n: _number(each) for n, each in beside.items() if each is not value}
    others |= {n: each for n, each in value.items() if not isinstance(each, Tensor)}
    others = {n: each for n, each in others.items() if not isinstance(each, Tensor)}
    return StateDict(tensors=tensors, others=others, notes=notes)


def _number(value: Any) -> Any:
    """Return the number in a tensor with one element, such as a score. Other values stay as they are."""
    single = isinstance(value, Tensor) and value.numel() == 1 and not value.is_meta and not value.is_complex()
    return value.item() if single and value.layout == torch.strided else value


def _chosen(within: Mapping[str, Mapping[str, Any]], path: str | Path) -> tuple[str, tuple[str, ...]]:
    """Return the key of the state dict to read, and a note about the state dicts that are left out.

    The keys in ``KEYS`` take precedence. If they select none, mappings of single numbers and averages of
    the weights are passed over. One state dict must then be left.

    Raises:
        FileError: several state dicts are left.
    """
    real = {name: each for name, each in within.items() if _has_weights(each)} or within
    for key in KEYS:
        if len(usual := [name for name in real if name.rpartition(".")[2] == key]) == 1:
            return usual[0], _note(usual[0], real)
        if usual:
            break
    own = [name for name in real if name.rpartition(".")[2] not in AVERAGES] or list(real)
    if len(own) > 1:
        raise FileError(f"{path}: holds several state dicts, {', '.join(sorted(own))}; choose one with --key")
    return own[0], _note(own[0], real)


def _note(name: str, within: Mapping[str, Any]) -> tuple[str, ...]:
    rest = sorted(within.keys() - {name})
    left = f"{name!r} was read, and {', '.join(map(repr, rest))} left out; --key selects another"
    return (left,) if rest else ()


def _has_weights(value: Mapping[str, Any]) -> bool:
    tensors = [each for each in value.values() if isinstance(each, Tensor)]
    return any(each.is_floating_point() and each.numel() > 1 for each in tensors)


def _within(value: Mapping[Any, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the outermost state dicts in a checkpoint by dotted key.

    The search goes at most ``LEVELS`` levels down. It stops at the first level that has a state dict. A
    mapping that occurs under several keys is searched once.
    """
    level = _mappings("", value)
    for _ in range(LEVELS):
        if found := {name: each for name, each in level.items() if _is_state_dict(each)}:
            return found
        inner = {id(each): name for name, each in reversed(level.items())}
        level = {
            word: each for name in inner.values() for word, each in _mappings(f"{name}.", level[name]).items()
        }
    return {}


def _mappings(prefix: str, value: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    """Return the mappings in a mapping, without the states of optimisers."""
    return {
        f"{prefix}{name}": each
        for name, each in value.items()
        if isinstance(each, Mapping) and not _is_optimizer(each)
    }


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
