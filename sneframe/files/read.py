"""State dicts from files: safetensors, torch, the policies of Stable-Baselines3; nothing is executed, nothing copied early.

What a file says of itself is checked before memory is taken by it: a header that claims more weights than the file has
bytes, an archive that grows when it is unpacked, a Python object among the tensors are refused, each with one line.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from attrs import field, frozen
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sneframe.errors import FileError, choices
from sneframe.files.folder import inside
from sneframe.files.names import unwrapped

#: Where checkpoints keep the weights, in the order in which they are looked for.
KEYS = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "params", "policy")
LEVELS = 3  #: of mappings in mappings in which state dicts are looked for
#: How the names of the indexes of sharded networks end, and of their shards, as Hugging Face writes them.
INDEXES = {".safetensors.index.json": ".safetensors", ".bin.index.json": ".bin"}
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.safetensors|\.bin|\.pt|\.pth)$")
POLICY = "policy.pth"  #: the one member of a Stable-Baselines3 archive that is read
SHARED = 16  #: how often the weights of a file may stand in it under several names, all in all
GROWTH = 20  #: how many times its size a compressed member may have, if it is larger than SMALL
SMALL = 1 << 26
LARGEST_INDEX = 1 << 26


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
        reader = _shards
    if reader is None:
        raise FileError(f"{path}: a network's file ends in {', '.join(SUFFIXES)}")
    return _read(path, reader, key)


def read_torch(path: Path, key: str | None = None) -> StateDict:
    """Read a file of ``torch.save``, whatever its name; see :func:`read_state_dict`."""
    return _read(path, _torch, key)


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
    _check_sizes(found.tensors.values(), path, _bytes(path))
    return found


def is_sharded(path: Path) -> bool:
    """Whether a file is a shard of a network that is read by its index, or else by its first shard that is there."""
    if (parts := SHARD.match(path.name)) is None:
        return False
    if _index_of(path) is not None:
        return True
    alike = (SHARD.match(other.name) for other in path.parent.iterdir())
    numbers = [other[2] for other in alike if other and other.group(1, 3, 4) == parts.group(1, 3, 4)]
    return parts[2] != min(numbers, default=parts[2])


def _index_of(path: Path) -> Path | None:
    """Return the index beside a shard, if there is one."""
    parts = SHARD.match(path.name)
    assert parts is not None
    ending = next((index for index, suffix in INDEXES.items() if suffix == parts[4]), None)
    index = path.parent / f"{parts[1]}{ending}"
    return index if ending is not None and index.exists() else None


# -- one format each -------------------------------------------------------------------------------------------


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys(), key=_layered)  # the file keeps no order of its own
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise FileError(f"{path}: damaged, or no safetensors file ({_line(error)})") from error


def _layered(name: str) -> tuple[list[tuple[int, str]], bool, str]:
    """Return what sorts names as layers stand: ``2.weight`` before ``10.weight``, a weight before its bias."""
    stem, _, last = name.rpartition(".")
    words = [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", stem) if word]
    return words, last != "weight", last


def _index(path: Path) -> dict[str, Any]:
    """Read the shards that an index names, as Hugging Face writes it."""
    if path.stat().st_size > LARGEST_INDEX:
        raise FileError(f"{path}: an index of more than {LARGEST_INDEX >> 20} MiB")
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        names = [(str(name), str(file)) for name, file in places.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(f"{path}: damaged, or no index of shards") from error
    shards = {}
    for file in dict.fromkeys(file for _, file in names):
        try:
            shards[file] = _shard(inside(path.parent, file))
        except FileError as error:
            raise FileError(f"{path}: shard {error}") from error
    for name, file in names:
        if name not in shards[file]:
            raise FileError(f"{path}: {file} lacks {name!r}")
    return {name: shards[file][name] for name, file in sorted(names, key=lambda each: _layered(each[0]))}


def _shards(path: Path) -> dict[str, Any]:
    """Read all shards of a network by the index beside them, or by their names."""
    if (index := _index_of(path)) is not None:
        return _index(index)
    parts = SHARD.match(path.name)
    assert parts is not None
    found: dict[str, Any] = {}
    for number in range(1, int(parts[3]) + 1):
        name = f"{parts[1]}-{number:05}-of-{parts[3]}{parts[4]}"
        try:
            shard = _shard(inside(path.parent, name))
        except FileError as error:
            raise FileError(f"{path}: a shard of a network, of which not all can be read: {error}") from error
        if twice := found.keys() & shard.keys():
            raise FileError(f"{path}: {min(twice)!r} stands in two shards")
        found |= shard
    return {name: found[name] for name in sorted(found, key=_layered)}


def _shard(path: Path) -> dict[str, Any]:
    """Read one file of several: names and tensors, and nothing else."""
    found = _safetensors(path) if path.name.endswith(".safetensors") else _torch(path)
    if not isinstance(found, Mapping) or not all(isinstance(each, Tensor) for each in found.values()):
        raise FileError(f"{path}: no shard, which holds tensors by name and nothing else")
    return {str(name): tensor for name, tensor in found.items()}


def _torch(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with path.open("rb") as file:
            check_archive(file, path)
        return _loaded(path, path, mmap=True)
    return _loaded(path, path, mmap=False)


def _baselines(path: Path) -> Any:
    """Read the policy of a Stable-Baselines3 archive, and no other member."""
    try:
        with zipfile.ZipFile(path) as archive:
            if POLICY not in archive.namelist():
                raise FileError(f"{path}: no archive of Stable-Baselines3, {POLICY} is not in it")
            content = member(archive, POLICY, path)
    except zipfile.BadZipFile as error:
        raise FileError(f"{path}: damaged archive ({_line(error)})") from error
    if zipfile.is_zipfile(content):
        check_archive(content, path)
    content.seek(0)
    found = _loaded(content, path, mmap=False)
    _check_sizes(_tensors(found), path, len(content.getbuffer()))
    return found


def member(archive: zipfile.ZipFile, name: str, path: Path) -> io.BytesIO:
    """Return what a member of an archive holds, unpacked in memory.

    Raises:
        FileError: it is damaged, or grows when it is unpacked as no weights do.
    """
    try:
        info = archive.getinfo(name)
        if info.file_size > max(SMALL, GROWTH * info.compress_size):
            raise FileError(f"{path}: {name} would grow to {info.file_size} bytes when it is unpacked")
        return io.BytesIO(archive.read(info))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error) as error:
        raise FileError(f"{path}: {name}: damaged archive ({_line(error)})") from error


def check_archive(file: IO[bytes], path: Path) -> None:
    """Check that an archive of torch holds its members as they are, each once: it takes no more than the file has.

    Raises:
        FileError: it is damaged, members are compressed, or more is said to be in it than the file has bytes.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise FileError(f"{path}: damaged archive ({_line(error)})") from error
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if any("/code/" in member.filename for member in members):
        raise FileError(f"{path}: a TorchScript archive; save the state_dict() of its module")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise FileError(f"{path}: members are compressed, which torch never does")
    if (said := sum(member.file_size for member in members)) > size:
        raise FileError(f"{path}: {said} bytes are said to be in a file of {size}")


def _loaded(file: Path | IO[bytes], path: Path, *, mmap: bool) -> Any:
    """Load tensors and nothing else: once without their values, to see how much they take, and then with them."""
    try:
        with torch.serialization.skip_data():
            _check_sizes(_tensors(_weights_only(file, mmap=False)), path, _size(file))
        if not isinstance(file, Path):
            file.seek(0)
        return _weights_only(file, mmap=mmap)
    except FileError:
        raise
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        raise FileError(f"{path}: {_reason(str(error))}") from error


def _weights_only(file: Path | IO[bytes], *, mmap: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that are then refused
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)


def _reason(said: str) -> str:
    """Say in a line why torch refused a file."""
    if found := re.search(r"GLOBAL ([\w.]+)|class ([\w]+(?:\.[\w]+)+)", said):
        name = found[1] or found[2]
        what = f"holds a Python object, {name}, and objects are never loaded"
        return f"{what}; save module.state_dict()" if name.startswith("torch.nn") else what
    return "damaged, or not written by torch.save"


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".safetensors": _safetensors,
    **dict.fromkeys(INDEXES, _index),
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), _torch),
    ".zip": _baselines,
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
    level = {str(name): each for name, each in value.items() if isinstance(each, Mapping)}
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
        and any(isinstance(each, Tensor) for each in value.values())
        and all(isinstance(name, str) for name in value)
    )


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple) and depth < 32:
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(each, depth + 1)


def _check_sizes(tensors: Iterable[Tensor], path: Path, size: int) -> None:
    """Check that tensors are not views of a few bytes that say they are many."""
    said = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if said > SHARED * size:
        raise FileError(f"{path}: its tensors would take {said} bytes, the file has {size}")


def _size(file: Path | IO[bytes]) -> int:
    if isinstance(file, Path):
        return file.stat().st_size
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _bytes(path: Path) -> int:
    """Return the size of a file, of a sharded network that of its shards."""
    ending = next((suffix for index, suffix in INDEXES.items() if path.name.endswith(index)), None)
    if ending is None and (parts := SHARD.match(path.name)):
        ending = parts[4]
    if ending is not None:
        return sum(each.stat().st_size for each in path.parent.glob(f"*{ending}"))
    return path.stat().st_size * (GROWTH if path.suffix.lower() == ".zip" else 1)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
