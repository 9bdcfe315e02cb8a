"""Read files in the workers of an engine, in blocks. The networks come back in the order of the files.

A worker writes the weights of a block to files in a folder, and returns only the rest. So the process that
writes the zoo holds the weights of a few files at a time, and neither pipes nor Ray's store carry weights.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from attrs import evolve, frozen
from safetensors.torch import load, save_file
from torch import Tensor

from sneframe.errors import ArchitectureError, FileError, MachineError, SneframeError
from sneframe.zoo.importer import ImportContext, Imported, Skipped

T = TypeVar("T")
#: Gives the function that reads a file, while the context is open.
Opened = Callable[[], AbstractContextManager[Callable[[T], Imported]]]

LARGEST = 32  #: files in a block
ROUNDS = 4  #: a worker gets at least so many blocks, so that all workers end at about the same time
BYTES = 1 << 26  #: bytes of weights after which a worker begins another file


@frozen(kw_only=True)
class FileBlock(Generic[T]):
    """Consecutive files, which one call reads.

    Args:
        number: index of the block.
        files: the files.
    """

    number: int
    files: tuple[T, ...]


@frozen(kw_only=True)
class Saved:
    """The weights of one parameter of a file, which a worker has read.

    Args:
        shape: shape of the weights.
        path: the file that the worker has written, or None if only the shape is needed.
        key: name of the weights in this file.
    """

    shape: tuple[int, ...]
    path: str | None = None
    key: str = ""


@frozen(kw_only=True, eq=False)
class ReadBlock:
    """What a worker has read.

    Args:
        items: for each file what was found, with :class:`Saved` in place of weights.
        warned: category and text of each warning.
        stopped: the error that ends the import, behind the last item; None if there was none.
    """

    items: tuple[Imported | Skipped, ...]
    warned: tuple[tuple[type[Warning], str], ...] = ()
    stopped: SneframeError | None = None


def read_one(file: T, name: Callable[[T], str], read: Callable[[T], Imported]) -> Imported | Skipped:
    """Return the networks of a file, or the reason why it is skipped."""
    try:
        return read(file)
    except (FileError, ArchitectureError) as error:
        return Skipped(source=name(file), reason=_reason(str(error), name(file)))


def _reason(message: str, name: str) -> str:
    """Return an error message without the leading path. The list of skips has a column for the path."""
    before, path, rest = message.partition(f"{name}: ")
    return rest if path and ": " not in before else message


def in_blocks(
    files: Sequence[T], name: Callable[[T], str], opened: Opened[T], reading: ImportContext
) -> Iterator[Imported | Skipped]:
    """Yield what is found in each file, in the order of the files.

    Args:
        files: the files.
        name: a function that returns the name of a file.
        opened: as for :func:`~sneframe_importers.each.each_file`.
        reading: the engine, and the folder in which workers write.

    Raises:
        SneframeError: what the function raised for the first file that it neither read nor skipped.
        MachineError: the workers of the engine died, or do not find the folder.
    """
    # The way to read files is passed by path. It may hold the properties of all networks.
    how = (reading.folder / "opened").absolute()
    how.write_bytes(pickle.dumps((name, opened)))
    size = min(LARGEST, max(1, len(files) // (ROUNDS * reading.engine.workers)))
    blocks = [
        FileBlock(number=number, files=tuple(files[start : start + size]))
        for number, start in enumerate(range(0, len(files), size))
    ]
    function = partial(_read_block, how=str(how), weights=reading.weights)
    done, found, said = 0, dict[int, ReadBlock](), set[tuple[type[Warning], str]]()
    reading.progress(0, len(files))
    with closing(reading.engine.map_unordered(function, blocks)) as results:
        for block, result in results:
            found[block.number] = result
            # ``found`` holds the blocks that came before their turn.
            while done < len(blocks) and done in found:
                read = found.pop(done)
                for category, text in read.warned:
                    if (category, text) not in said:  # each worker warns of what it meets first
                        said.add((category, text))
                        warnings.warn(text, category, stacklevel=4)
                yield from _with_weights(read.items)
                if read.stopped is not None:
                    raise read.stopped
                done += 1
                reading.progress(min(done * size, len(files)), len(files))


def _with_weights(items: Sequence[Imported | Skipped]) -> Iterator[Imported | Skipped]:
    """Yield items with their weights, and remove the files that held them."""
    path, tensors = None, dict[str, Tensor]()
    for item in items:
        if isinstance(item, Skipped):
            yield item
            continue
        weights: dict[str, Tensor] = {}
        for name, saved in item.weights.items():
            if saved.path is None:
                weights[name] = torch.empty(saved.shape, device="meta")
                continue
            if saved.path != path:
                path = saved.path
                tensors = load(Path(path).read_bytes())
                Path(path).unlink()
            weights[name] = tensors[saved.key]
        yield evolve(item, weights=weights)


# -- in a worker ---------------------------------------------------------------------------------------------


def _read_block(block: FileBlock[T], *, how: str, weights: bool) -> ReadBlock:
    name, read, _ = _opened(how)
    keep = _Weights(Path(how).with_name(f"block{block.number}") if weights else None)
    items: list[Imported | Skipped] = []
    stopped: SneframeError | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for file in block.files:
                item = read_one(file, name, read)
                if isinstance(item, Imported):
                    item = evolve(item, weights=keep.saved(item.weights))
                items.append(item)
        except SneframeError as error:  # it is raised when its turn comes, as the serial engine would
            stopped = error
        keep.write()
    said = dict.fromkeys((each.category, str(each.message)) for each in caught)
    return ReadBlock(items=tuple(items), warned=tuple(said), stopped=stopped)


@lru_cache(maxsize=1)
def _opened(how: str) -> tuple[Callable[[Any], str], Callable[[Any], Imported], object]:
    """Return the function that names a file, the one that reads a file, and what keeps that one open.

    Raises:
        MachineError: this machine does not find the file ``how``.
    """
    try:
        content = Path(how).read_bytes()
    except OSError as error:
        raise MachineError(
            f"a worker cannot read {how}: {error.strerror or error}; all machines need the same folders"
        ) from error
    # The process that started this worker wrote the file, into a new folder of its own.
    name, opened = pickle.loads(content)  # noqa: S301
    context = opened()
    return name, context.__enter__(), context  # open until the worker ends


class _Weights:
    """Collects the weights of a block, and writes them to a few files.

    Args:
        stem: beginning of the paths of the files, or None if only shapes are needed.
    """

    def __init__(self, stem: Path | None) -> None:
        self._stem = stem
        self._files = 0
        self._networks = 0
        self._tensors: dict[str, Tensor] = {}
        self._bytes = 0

    def saved(self, weights: Mapping[str, Any]) -> dict[str, Saved]:
        """Collect the weights of the networks in one file, and return where they will be."""
        if self._stem is None:
            return {name: Saved(shape=tuple(value.shape)) for name, value in weights.items()}
        if self._bytes > BYTES:
            self.write()
        self._networks += 1
        found: dict[str, Saved] = {}
        for name, value in weights.items():
            key = f"{self._networks}/{name}"
            # A copy: parameters of one network may share memory, or be views of mapped files.
            self._tensors[key] = torch.as_tensor(value).clone(memory_format=torch.contiguous_format)
            self._bytes += self._tensors[key].nbytes
            found[name] = Saved(shape=tuple(value.shape), path=str(self._path), key=key)
        return found

    @property
    def _path(self) -> Path:
        assert self._stem is not None
        return self._stem.with_name(f"{self._stem.name}-{self._files}.safetensors")

    def write(self) -> None:
        """Write what was collected since the last file.

        Raises:
            MachineError: the file cannot be written.
        """
        if not self._tensors:
            return
        try:
            save_file(self._tensors, self._path)
        except (OSError, RuntimeError) as error:
            raise MachineError(f"cannot write {self._path}: {error}") from error
        self._files += 1
        self._tensors, self._bytes = {}, 0
