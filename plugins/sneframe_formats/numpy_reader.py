"""Read networks that are saved as NumPy arrays: an ``.npz`` file, or a folder of ``.npy`` files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

from torch import Tensor

from sneframe.errors import FileError
from sneframe.files.names import layered
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe.files.safe_path import inside
from sneframe_formats.kernel_order import COLLECTIONS, in_torch_order, says_kernel, without_collections
from sneframe_formats.mapped import map_file
from sneframe_formats.npy import START, read_header
from sneframe_formats.npz import ENDING, read_archive

#: The endings of files that may be in the folder of a network beside its arrays.
BESIDE = (".json", ".txt", ".yaml", ".yml", ".md")
FILES = 10_000  #: largest number of files in the folder of a network, or of arrays in an archive
LEVELS = 16  #: largest number of nested folders in the folder of a network
#: Names of the tensors of a layer. A folder in which all arrays have such names is a layer.
LAYER = frozenset(
    {
        *("weight", "bias", "kernel", "scale", "gamma", "beta", "embedding", "embeddings"),
        *("mean", "var", "moving_mean", "moving_variance", "running_mean", "running_var"),
        "num_batches_tracked",
    }
)


@final
class NumpyReader(FileReader):
    """Reads a ``.npz`` file, or a folder of ``.npy`` files."""

    name = "formats/numpy"
    help = "arrays of numpy: an .npz file, or a folder of .npy files that are named like the parameters"
    endings = (".npz",)

    def recognises(self, candidate: Candidate) -> bool:
        """Return True for an archive of only arrays, and for a folder with the arrays of one network."""
        if candidate.is_folder:
            return _is_network(_arrays(candidate.path) or ())
        arrays = [name for name in candidate.entries if name.endswith(ENDING)]
        return bool(arrays) and len(arrays) == len(candidate.entries)

    def read(self, path: Path) -> Content:
        """Read the arrays. Slashes in names become dots, and the axes of kernels get torch's order."""
        try:
            arrays = _read_folder(path) if path.is_dir() else read_archive(path)
        except OSError as error:
            raise FileError(f"{path}: {error.strerror or error}") from error
        return _content(arrays, path)


# -- names and order of axes ------------------------------------------------------------------------------


def _dotted(name: str) -> str:
    """Return the name of an array with dots for slashes, and without the ``:0`` that TensorFlow appends."""
    return ".".join(word for word in name.removesuffix(":0").replace("\\", "/").split("/") if word)


def _content(arrays: Mapping[str, Tensor | str | None], path: Path) -> Content:
    """Return the content of a file or folder. ``arrays`` has its tensors and strings by name in the file."""
    named: dict[str, Any] = {}
    for name, value in arrays.items():
        if not (new := _dotted(name)):
            raise FileError(f"{path}: an array has no name")
        if new in named:
            raise FileError(f"{path}: two arrays have the name {new!r}")
        # A number such as the epoch is not a weight. A parameter without axes has the name of a layer in its
        # own.
        if isinstance(value, Tensor) and value.ndim == 0 and "." not in new:
            named[new] = value.item()
        else:
            named[new] = value
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    values = {name: value for name, value in named.items() if name not in tensors and value is not None}
    if not any(tensor.is_floating_point() for tensor in tensors.values()):
        raise FileError(f"{path}: no array with axes has floating-point numbers")
    notes: tuple[str, ...] = ()
    if values:
        notes += (f"{_listed(values)} read as plain values, not as weights",)
    if texts := [name for name, value in named.items() if value is None]:
        notes += (f"{_listed(texts)} left out, because arrays of strings hold no weights",)
    if says_kernel(tensors):
        try:
            tensors, more = in_torch_order(without_collections(tensors))
        except FileError as error:
            raise FileError(f"{path}: {error}") from error
        notes += more
    elif not any(name.rpartition(".")[2] == "weight" for name in tensors):
        notes += (
            "the arrays keep the order of axes in which they are stored; torch's order is (out, in, …)",
        )
    return Content(values={**tensors, **values}, notes=notes)


def _listed(names: Iterable[str]) -> str:
    found = list(map(repr, names))
    return ", ".join(found[:3]) + (", …" if len(found) > 3 else "") + (" were" if len(found) > 1 else " was")


# -- a folder ---------------------------------------------------------------------------------------------


def _arrays(folder: Path) -> dict[str, Path] | None:
    """Return the files of the arrays in a folder and its subfolders, by relative path without ``.npy``.

    Returns:
        The files, sorted by name. None if there are files of other kinds or too many files, if folders are
        nested too deep, or if a folder is a link.
    """
    found: dict[str, Path] = {}
    count = 0
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        relative = here.relative_to(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]
        count += len(folders) + len(files)
        linked = any((here / name).is_symlink() for name in folders)
        if count > FILES or len(relative.parts) > LEVELS or linked:
            return None
        for name in files:
            if name.lower().endswith(ENDING):
                found[(relative / name[: -len(ENDING)]).as_posix()] = here / name
            elif not name.lower().endswith(BESIDE) and not name.startswith("."):
                return None
    return {name: found[name] for name in sorted(found, key=lambda name: layered(_dotted(name)))}


def _is_network(arrays: Iterable[str]) -> bool:
    """Return whether the arrays in a folder belong to one network, not to a network in each subfolder.

    A folder is one network in three cases: it has arrays outside of subfolders, its subfolders are the
    collections of Flax, or a subfolder is a layer, whose arrays all have names such as ``weight`` and
    ``bias``.
    """
    within: dict[str, list[str]] = {}
    for name in arrays:
        first, _, rest = name.partition("/")
        within.setdefault(first, []).append(rest)
    return (
        any("" in each for each in within.values())
        or (bool(within) and within.keys() <= set(COLLECTIONS))
        or any(LAYER.issuperset(each) for each in within.values())
    )


def _read_folder(folder: Path) -> dict[str, Tensor | str | None]:
    arrays = _arrays(folder)
    if not arrays:
        raise FileError(
            f"{folder}: the folder of a network must hold {ENDING} files and only text beside them"
        )
    found: dict[str, Tensor | str | None] = {}
    for name, file in arrays.items():
        try:
            path = inside(folder, file.relative_to(folder).as_posix())
        except FileError as error:
            raise FileError(f"{folder}: {error}") from error
        found[name] = _read_array(path)
    flat = [each for each in found.values() if isinstance(each, Tensor) and each.is_floating_point()]
    if len(flat) > 1 and all(each.ndim == 1 for each in flat):
        raise FileError(
            f"{folder}: each array has only one axis, so the arrays are not the layers of a network"
        )
    return found


def _read_array(path: Path) -> Tensor | str | None:
    with path.open("rb") as file:
        header = read_header(file.read(START), path.stat().st_size, str(path))

        def read() -> bytes:
            file.seek(header.start)
            return file.read()

        return header.read(read, (map_file(path), header.start))
