"""Search a folder for networks."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from sneframe.files.reader import Candidate, FileReader
from sneframe.files.recognise import recognised, stranger
from sneframe.zoo.manifest import is_zoo
from sneframe.zoo.staging import TEMPORARY

#: The names of files in which trainers store their own state.
TRAINERS = (
    *("optimizer.pt", "optimizer.bin", "optimizer.pth", "scheduler.pt", "scheduler.bin", "scaler.pt"),
    *("training_args.bin", "rng_state.pth", "trainer_state.pt"),
)
TRAINER_STARTS = ("rng_state_", "random_states_", "zero_pp_rank_", "optimizer_", "events.out.tfevents")
#: The endings of files that often lie beside weights and hold none. Text files are also recognised without
#: their ending.
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
#: The folder in a cache of Hugging Face that holds the files. The other folders hold links to these files.
#: The names of the parts into which model parallelism cuts a network. Their tensors must be joined by hand.
PARTS = re.compile(r"consolidated\.\d+\.(pth|pt|safetensors)|mp_rank_\d+_model_states\.pt")
BLOBS = "blobs"


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
        is_part: whether the file is a part of a network that is read, such as a shard.
    """

    name: str
    reason: str
    is_part: bool = False


def networks_in(folder: Path, readers: Sequence[FileReader]) -> Iterator[NetworkPath | PassedOver]:
    """Yield the networks in a folder, at any depth, and the files that are passed over, ordered by name.

    Links to other folders are passed over, and so are zoos in the folder. If several names in the folder are
    links to one file, the file is yielded once as a network.

    Args:
        folder: the folder.
        readers: the known readers.
    """
    found = dict(_each(folder, readers))
    files: dict[tuple[int, int], list[Path]] = {}
    for path, item in found.items():
        if isinstance(item, NetworkPath):
            status = path.stat()
            files.setdefault((status.st_dev, status.st_ino), []).append(path)
    for paths in files.values():
        first = min(paths, key=_is_second_name)
        for path in paths:
            if path != first:
                reason = f"the same file as {found[first].name}, which is read"
                found[path] = PassedOver(name=found[path].name, reason=reason)
    yield from sorted(found.values(), key=lambda each: each.name)


def _is_second_name(path: Path) -> tuple[bool, bool, str]:
    """Return a sort key that is smallest for the name under which a file is best known.

    In a cache of Hugging Face, the files in ``blobs`` have hashes as names, and the links have real names.
    """
    return path.parent.name == BLOBS, path.is_symlink(), path.as_posix()


def _each(folder: Path, readers: Sequence[FileReader]) -> Iterator[tuple[Path, NetworkPath | PassedOver]]:
    errors: list[OSError] = []

    def over(path: Path, reason: str) -> tuple[Path, PassedOver]:
        name = path.relative_to(folder).as_posix()
        return path, PassedOver(name=name, reason=reason, is_part=not reason)

    for parent, folders, files in os.walk(folder, onerror=errors.append):
        here = Path(parent)
        if TEMPORARY in here.name or is_zoo(here):
            folders.clear()
            continue
        candidate = Candidate(here, is_folder=True)
        whole = recognised(candidate, readers)
        if whole is not None and whole.main(here) == here:
            yield here, NetworkPath(name=here.relative_to(folder).as_posix(), reader=whole)
            folders.clear()
            continue
        if whole is None and (what := stranger(candidate)) is not None:
            yield over(here, f"this is {what}")
            folders.clear()
            continue
        others = {} if whole is None else dict(whole.others(here))
        parts = [here / name for name in files if PARTS.fullmatch(name)]
        if len(parts) > 1:
            others |= dict.fromkeys(parts, "one of several parts of a network, which cannot be joined")
        for path in (here / name for name in sorted(files)):
            if path not in others:
                item = _listed(path, path.relative_to(folder).as_posix(), readers)
                if isinstance(item, NetworkPath):
                    others |= item.reader.others(path)
                yield path, item
        yield from (over(path, why) for path, why in others.items())
        for path in (here / name for name in folders):
            if path.is_symlink():
                yield over(path, "a link to a folder, which is not followed")
        folders[:] = [name for name in folders if here / name not in others]
    for error in errors:
        yield over(Path(error.filename or folder), error.strerror or str(error))


def _listed(path: Path, name: str, readers: Sequence[FileReader]) -> NetworkPath | PassedOver:
    candidate = Candidate(path, is_folder=False)
    if candidate.name in TRAINERS or candidate.name.startswith(TRAINER_STARTS):
        return PassedOver(name=name, reason="the state of a trainer, not a network")
    if candidate.name.endswith(COMPANIONS) and not any(each.claims(candidate.name) for each in readers):
        return PassedOver(name=name, reason="")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a program that writes to it
            return PassedOver(name=name, reason="not a file")
        reader = recognised(candidate, readers)
        if reader is not None:
            return NetworkPath(name=name, reader=reader)
        return PassedOver(name=name, reason=_unrecognised(candidate))
    except OSError as error:
        return PassedOver(name=name, reason=error.strerror or str(error))


def _unrecognised(candidate: Candidate) -> str:
    """Return why a file that no reader recognises is passed over, or an empty string for a text file."""
    what = stranger(candidate)
    if what is not None:
        return f"this is {what}"
    return "" if _is_text(candidate.head) else "no reader recognises this file"


def _is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are text in UTF-8. The last character may be cut off."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head
