"""Find the reader of a file, and the networks in a folder."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from sneframe.errors import FileError, choices
from sneframe.files.model_folder import ModelFolderReader
from sneframe.files.reader import Candidate, FileReader, required
from sneframe.files.safetensors_reader import SafetensorsReader
from sneframe.files.shards import ShardsReader
from sneframe.files.stable_baselines import StableBaselinesReader
from sneframe.files.torch_reader import TorchReader
from sneframe.zoo.manifest import is_zoo
from sneframe.zoo.staging import TEMPORARY

#: The readers of the core. A reader that is listed earlier is asked earlier.
CORE: tuple[FileReader, ...] = (ShardsReader(), SafetensorsReader(), TorchReader(), StableBaselinesReader())
#: The names of files in which trainers keep their own state.
TRAINERS = (
    *("optimizer.pt", "optimizer.bin", "optimizer.pth", "scheduler.pt", "scheduler.bin", "scaler.pt"),
    *("training_args.bin", "rng_state.pth", "trainer_state.pt"),
)
TRAINER_STARTS = ("rng_state_", "random_states_", "zero_pp_rank_", "optimizer_", "events.out.tfevents")
#: The endings of files that hold no weights and are usual beside weights. Text files need no ending.
COMPANIONS = (
    *(".json", ".jsonl", ".yaml", ".yml", ".toml", ".csv", ".tsv", ".txt", ".md", ".log", ".py", ".ipynb"),
    *(
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".svg",
        ".webp",
        ".pdf",
        ".html",
        ".parquet",
        ".arrow",
        ".mp4",
        ".wav",
    ),
    *(".pyc", ".so", ".dll", ".pyd", ".model", ".ds_store", ".lock"),
)
#: What a file is that begins with certain bytes and holds no weights, and what to do about it.
STRANGERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run git lfs pull",
    b"<!DOCTYPE": "an HTML page, not weights; the download failed",
    b"<!doctype": "an HTML page, not weights; the download failed",
    b"\x93NUMPY": "one array without a name; put the arrays of a network in a folder, or in an .npz file",
    b"<html": "an HTML page, not weights; the download failed",
}


@frozen(kw_only=True)
class NetworkPath:
    """A network in a folder.

    Args:
        name: the path of the network relative to the folder, with forward slashes.
        reader: the reader that recognises the network.
    """

    name: str
    reader: FileReader


@frozen(kw_only=True)
class PassedOver:
    """A file in a folder that is not read as a network.

    Args:
        name: the path of the file relative to the folder, with forward slashes.
        reason: why the file is not read, or an empty string if the file is a part of a network that is read,
            or if files of its kind never hold weights.
    """

    name: str
    reason: str


def with_folders(readers: Sequence[FileReader]) -> tuple[FileReader, ...]:
    """Return the readers, with one that reads model folders by these readers."""
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
        FileError: the path is missing, empty or not readable, or no reader takes it.
    """
    try:
        candidate = Candidate(path)
        if not path.exists():
            raise FileError(f"{path}: no such file")
        if not candidate.is_folder and not path.is_file():
            raise FileError(f"{path}: not a file")
        if not candidate.is_folder and not candidate.head:
            raise FileError(f"{path}: the file is empty")
        if (stranger := _stranger(candidate)) is not None:
            raise FileError(f"{path}: this is {stranger}")
        reader = readers[0] if len(readers) == 1 else recognised(candidate, readers)
        if reader is None:
            raise FileError(f"{path}: {_unknown(candidate, readers)}")
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    required(reader, path)
    return reader


def recognised(candidate: Candidate, readers: Sequence[FileReader]) -> FileReader | None:
    """Return the reader of a file or folder, or None. :func:`reader_of` tells how it is chosen."""
    claiming = [each for each in readers if not candidate.is_folder and each.claims(candidate.name)]
    for reader in (*claiming, *(each for each in readers if each not in claiming)):
        if reader.recognises(candidate):
            return reader
    return max(claiming, key=lambda each: max(map(len, each.endings)), default=None)


def _stranger(candidate: Candidate) -> str | None:
    return next((what for start, what in STRANGERS.items() if candidate.head.startswith(start)), None)


def _unknown(candidate: Candidate, readers: Sequence[FileReader]) -> str:
    if candidate.is_folder:
        return "this is a folder, and no reader recognises it as one network; give the file of one network"
    endings = sorted({ending for reader in readers for ending in reader.endings})
    return f"no reader recognises this file, {choices(candidate.path.suffix, endings, 'endings')}"


def networks_in(folder: Path, readers: Sequence[FileReader]) -> Iterator[NetworkPath | PassedOver]:
    """Yield the networks in a folder, at any depth, and the files that are passed over, ordered by name.

    Links to other folders are not followed, and zoos in the folder are passed over.

    Args:
        folder: the folder.
        readers: the known readers.
    """
    found: dict[Path, NetworkPath | PassedOver] = {}

    def name_of(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    def note(error: OSError) -> None:
        path = Path(error.filename or folder)
        found[path] = PassedOver(name=name_of(path), reason=error.strerror or str(error))

    for parent, folders, files in os.walk(folder, onerror=note):
        here = Path(parent)
        if TEMPORARY in here.name or is_zoo(here):
            folders.clear()
            continue
        whole = recognised(Candidate(here, is_folder=True), readers)
        if whole is not None and whole.main(here) == here:
            found[here] = NetworkPath(name=name_of(here), reader=whole)
            folders.clear()
            continue
        others = {} if whole is None else dict(whole.others(here))
        for path in (here / name for name in sorted(files)):
            if path not in others:
                found[path] = item = _listed(path, name_of(path), readers)
                if isinstance(item, NetworkPath):
                    others |= item.reader.others(path)
        found |= {path: PassedOver(name=name_of(path), reason=why) for path, why in others.items()}
    yield from sorted(found.values(), key=lambda each: each.name)


def _listed(path: Path, name: str, readers: Sequence[FileReader]) -> NetworkPath | PassedOver:
    candidate = Candidate(path, is_folder=False)
    if candidate.name in TRAINERS or candidate.name.startswith(TRAINER_STARTS):
        return PassedOver(name=name, reason="the state of a trainer, not a network")
    if candidate.name.endswith(COMPANIONS) and not any(each.claims(candidate.name) for each in readers):
        return PassedOver(name=name, reason="")
    try:
        reader, stranger = recognised(candidate, readers), _stranger(candidate)
    except OSError as error:
        return PassedOver(name=name, reason=error.strerror or str(error))
    if reader is not None:
        return NetworkPath(name=name, reader=reader)
    if stranger is not None:
        return PassedOver(name=name, reason=f"this is {stranger}")
    return PassedOver(name=name, reason="" if _is_text(candidate.head) else "no reader recognises this file")


def _is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are text in UTF-8. The last character may be cut off."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head
