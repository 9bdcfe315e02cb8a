"""Find the reader of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sneframe.errors import FileError, choices
from sneframe.files.model_folder import ModelFolderReader
from sneframe.files.reader import Candidate, FileReader, required
from sneframe.files.safetensors_reader import SafetensorsReader
from sneframe.files.shards import ShardsReader
from sneframe.files.stable_baselines import StableBaselinesReader
from sneframe.files.torch_reader import TorchReader

#: The readers of the core. A reader that is listed earlier is asked earlier.
CORE: tuple[FileReader, ...] = (ShardsReader(), SafetensorsReader(), TorchReader(), StableBaselinesReader())
#: Maps the first bytes of files that hold no weights to what such a file is, and what to do about it.
STRANGERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run git lfs pull",
    b"<!DOCTYPE": "an HTML page, not weights; the download failed",
    b"<!doctype": "an HTML page, not weights; the download failed",
    b"\x93NUMPY": "one array without a name; put the arrays of a network in a folder, or in an .npz file",
    b"<html": "an HTML page, not weights; the download failed",
}

#: What a folder is that holds a file of this name, and what to do about it.
STRANGE_FOLDERS = {
    "saved_model.pb": "a SavedModel of TensorFlow, which is not read; save the model as .keras",
    "_CHECKPOINT_METADATA": "a checkpoint of Orbax, which is not read; save the parameters as .msgpack",
    "manifest.ocdbt": "a checkpoint of Orbax, which is not read; save the parameters as .msgpack",
    "__0_0.distcp": "a distributed checkpoint of torch, which is not read; convert it with "
    "torch.distributed.checkpoint.format_utils.dcp_to_torch_save",
}


def with_folders(readers: Sequence[FileReader]) -> tuple[FileReader, ...]:
    """Return the readers, and a reader of model folders that reads the weights in a folder with them."""
    return (*readers, ModelFolderReader(readers))


def reader_of(path: Path, readers: Sequence[FileReader]) -> FileReader:
    """Return the reader of a file or folder.

    A reader that recognises the content takes precedence over a reader that claims the ending of the name.
    Among readers that recognise the content, one that also claims the ending takes precedence. If there is
    only one reader, the user has chosen it, and it is returned in any case.

    Args:
        path: the path of the file or folder.
        readers: the known readers.

    Raises:
        FileError: the path is missing, empty or not readable, or no reader is found for it.
    """
    try:
        candidate = Candidate(path)
        if not path.exists():
            raise FileError(f"{path}: no such file")
        if not candidate.is_folder and not path.is_file():
            raise FileError(f"{path}: not a file")
        if not candidate.is_folder and not candidate.head:
            raise FileError(f"{path}: the file is empty")
        if (what := stranger(candidate)) is not None:
            raise FileError(f"{path}: this is {what}")
        reader = readers[0] if len(readers) == 1 else recognised(candidate, readers)
        if reader is None:
            raise FileError(f"{path}: {_unknown(candidate, readers)}")
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    required(reader, path)
    return reader


def recognised(candidate: Candidate, readers: Sequence[FileReader]) -> FileReader | None:
    """Return the reader of a file or folder, or None. :func:`reader_of` describes the choice."""
    claiming = [each for each in readers if not candidate.is_folder and each.claims(candidate.name)]
    for reader in (*claiming, *(each for each in readers if each not in claiming)):
        if reader.recognises(candidate):
            return reader
    return max(claiming, key=lambda each: max(map(len, each.endings)), default=None)


def stranger(candidate: Candidate) -> str | None:
    """Return what a file or folder is that no reader reads, and what to do about it, or None."""
    if candidate.is_folder:
        return next((what for name, what in STRANGE_FOLDERS.items() if name in candidate.names), None)
    return next((what for start, what in STRANGERS.items() if candidate.head.startswith(start)), None)


def _unknown(candidate: Candidate, readers: Sequence[FileReader]) -> str:
    if candidate.is_folder:
        return "this is a folder, and no reader recognises it as one network; give the file of one network"
    endings = sorted({ending for reader in readers for ending in reader.endings})
    return f"no reader recognises this file, {choices(candidate.path.suffix, endings, 'endings')}"
