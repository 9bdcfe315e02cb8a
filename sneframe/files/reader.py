"""Define the interface of a file reader. A reader reads the files of one format, and plugins may add readers.

A reader turns a file or folder into a :class:`Content`: named tensors, and what the file says about the
network besides. A reader never executes anything that a file holds.
"""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, final

from attrs import field, frozen
from torch import nn

from sneframe.architecture import Architecture
from sneframe.errors import FileError

HEAD = 512  #: number of bytes at the start of a file that a reader sees to recognise the file


@final
class Candidate:
    """A file or folder, of which a reader sees only enough to recognise it.

    Args:
        path: the path of the file or folder.
        is_folder: whether the path is a folder. If None, the file system is asked.

    Attributes:
        path: the path of the file or folder.
        is_folder: whether the path is a folder.
    """

    def __init__(self, path: Path, *, is_folder: bool | None = None) -> None:
        self.path = path
        self.is_folder = path.is_dir() if is_folder is None else is_folder

    @property
    def name(self) -> str:
        """The name of the file or folder in lower case, without its parents."""
        return self.path.name.lower()

    @cached_property
    def head(self) -> bytes:
        """The first ``HEAD`` bytes of the file, or no bytes for a folder.

        Raises:
            OSError: the file cannot be opened.
        """
        if self.is_folder:
            return b""
        with self.path.open("rb") as file:
            return file.read(HEAD)

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """The names of the entries of a zip archive, or no names if the file is no intact zip archive."""
        if not self.head.startswith(b"PK"):
            return ()
        try:
            with zipfile.ZipFile(self.path) as archive:
                return tuple(archive.namelist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
            return ()

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the files and folders in a folder, or no names for a file."""
        return frozenset(each.name for each in self.path.iterdir()) if self.is_folder else frozenset()


@frozen(kw_only=True, eq=False)
class Content:
    """What a reader finds in a file: tensors, and what the file says about the network besides.

    Only ``values`` is required. The fewer of the other fields a format fills, the more is guessed, or has to
    be given by the user.

    Args:
        values: the tensors of the network by name, or a checkpoint: a nested mapping that holds such a
            mapping beside plain values. Linear and convolution kernels have torch's order of axes,
            ``(out, in, …)``.
        module: a function that builds the network as a torch module, for formats that describe the
            computation. The function returns the module, or a tuple of the module and an example input. The
            parameters of the module have the names in ``values``. Architecture and symmetry are derived from
            the module, and verified by running it.
        architecture: the architecture, for a format that states it without a computation.
        activation: the activation of every layer but the last, if the format states only this.
        guess: whether the architecture may be guessed from names and shapes. A reader sets this
            to False if the file describes a computation that the reader cannot follow. Every axis is then
            fixed, unless a module factory is given.
        properties: the properties that the file states, by name: numbers, strings and booleans.
        group: the run group that the file states.
        notes: what the reader left out or assumed, one line for each.
    """

    values: Any
    module: Callable[[], nn.Module | tuple[nn.Module, Any]] | None = None
    architecture: Architecture | None = None
    activation: str | None = None
    guess: bool = True
    properties: Mapping[str, Any] = field(factory=dict)
    group: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def states_activations(self) -> bool:
        """Whether the file says which activations the network has."""
        return any(each is not None for each in (self.module, self.architecture, self.activation))


class FileReader(ABC):
    """Reads the files of one format. Plugins offer subclasses through the hook ``sneframe_readers``.

    Attributes:
        name: ``PLUGIN/NAME``.
        help: one line that describes the format, for ``sneframe readers``.
        endings: the endings of the names of such files, in lower case, such as ``.onnx``.
        needs: the packages that the reader imports and that sneframe does not require, by the names with
            which Python imports them.
        extra: the extra of a distribution that installs these packages, such as ``sneframe[onnx]``.
        origin: the plugin that offers the reader, with its distribution and version. sneframe sets this.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    endings: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    origin: str = "sneframe"

    @abstractmethod
    def recognises(self, candidate: Candidate) -> bool:
        """Return whether a file or folder has this format, by its first bytes, its entries or its name.

        The method runs on every file of a folder. It must be fast, and must not import what ``needs`` names.
        """

    @abstractmethod
    def read(self, path: Path) -> Content:
        """Read a file or folder.

        Map tensors into memory where the format allows it. Check the sizes that a file declares before memory
        is taken for them.

        Raises:
            FileError: the file is damaged, hostile, or holds no weights. The message begins with the path.
        """

    def main(self, path: Path) -> Path:
        """Return the path that stands for the network in lists, for example the weights file in a folder."""
        return path

    def others(self, path: Path) -> Mapping[Path, str]:  # noqa: ARG002  # most networks are one file
        """Return the other files that belong to the network at a path, with the reason to pass over each.

        Such files are shards, for which the reason is empty, and copies of the network in other formats. A
        search for networks in a folder passes over these files, and over the folders among them.
        """
        return {}

    def claims(self, name: str) -> bool:
        """Return whether a name in lower case has one of the reader's endings."""
        return name.endswith(self.endings) if self.endings else False


def faulty_reader(reader: FileReader) -> str | None:
    """Return what is wrong with the attributes of a file reader, or None."""
    for attribute in ("name", "help"):
        if not isinstance(getattr(reader, attribute, None), str) or not getattr(reader, attribute):
            return f"needs a string as {attribute!r}"
    for attribute in ("endings", "needs"):
        value = getattr(reader, attribute)
        if not isinstance(value, tuple) or not all(isinstance(each, str) and each for each in value):
            return f"needs a tuple of strings as {attribute!r}, but has {value!r}"
    if wrong := [each for each in reader.endings if not each.startswith(".") or each != each.lower()]:
        return f"has the ending {wrong[0]!r}, but an ending starts with a dot and is in lower case"
    return None


def missing(reader: FileReader) -> tuple[str, ...]:
    """Return the packages that a reader needs and that are not installed."""
    return tuple(name for name in reader.needs if find_spec(name) is None)


def required(reader: FileReader, path: Path) -> None:
    """Check that the packages of a reader are installed.

    Raises:
        FileError: a package is missing. The message says how to install it.
    """
    if lacking := missing(reader):
        how = f"pip install '{reader.extra}'" if reader.extra else f"pip install {' '.join(lacking)}"
        raise FileError(f"{path}: the file reader {reader.name!r} needs {', '.join(lacking)}; {how}")
