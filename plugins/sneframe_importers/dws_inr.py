"""INRs of DWSNets (Navon et al., arXiv 2301.12780): of images of MNIST and Fashion-MNIST, and of sine waves.

Each ``.pth`` is a state dict ``seq.{i}.weight``, ``seq.{i}.bias`` of sine layers (ω0 = 30), perhaps with ``label``, or with
``coef`` [a, b] of y = a sin(b x) and the points ``x``, ``y`` that it was fitted to. Which are for training stands in a JSON
file, or in the names of the folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen

from sneframe.config.schema import option
from sneframe.errors import FileError, ZooError
from sneframe.files import inside, read_state_dict
from sneframe.files.readers import Reader
from sneframe.zoo.importer import Imported, Skipped, ZooImporter
from sneframe.zoo.splits import NAMES
from sneframe_importers.each import each_file, files_in, folder, one

WEIGHTS = re.compile(r"seq\.\d+\.(weight|bias)")
#: ``mnist_png_training_7_12345``: a part, a label, an image.
FOLDER = re.compile(r"_(train|test)(?:ing)?_(\d+)_(\d+)$")
PARTS = {"train": "train", "training": "train", "val": "val", "test": "test", "testing": "test"}


@frozen(kw_only=True)
class DWSINR:
    """What to know of it."""

    split: Path | None = option(
        None, "the JSON file that comes with it: of train, val and test the paths, with or without labels"
    )


@frozen(kw_only=True)
class Place:
    """A file of a network, and what the list of files says of it."""

    file: str
    part: str | None
    label: Any = None


def read(config: DWSINR, source: Path, progress: Callable[[int, int], None]) -> Iterator[Imported | Skipped]:
    """Yield the INRs of a folder, in the order of the JSON file, or of their names."""
    reader = Reader(activation="sine", published=True)
    if config.split is None:
        places = [Place(file=name, part=_part(name)) for name in files_in(source, "*.pth")]
    else:
        places = _listed(config.split, folder(source))

    def make(place: Place) -> Imported:
        state = read_state_dict(inside(source, place.file))
        tensors = {name: value for name, value in state.tensors.items() if WEIGHTS.fullmatch(name)}
        if not tensors:
            raise FileError("holds no seq.0.weight: no INR of DWSNets")
        properties = _properties(place, {**state.others, **state.tensors})
        splits = {} if place.part is None else {"published": NAMES.index(place.part)}
        group = properties.get("image", place.file)
        return one(place.file, reader.describe(tensors), tensors, properties, group=str(group), splits=splits)

    yield from each_file(places, lambda place: place.file, make, progress)


IMPORTER = ZooImporter(
    name="importers/dws-inr",
    config=DWSINR,
    read=read,
    help="INRs of DWSNets: of images of MNIST or Fashion-MNIST, or of sine waves.",
)


def _part(name: str) -> str | None:
    """Return the part that the folders of a file say, or None."""
    for word in PurePosixPath(name).parts[:-1]:
        if word in PARTS:
            return PARTS[word]
        if match := FOLDER.search(word):
            return match[1]
    return None


def _properties(place: Place, beside: Mapping[str, Any]) -> dict[str, Any]:
    """Return label and image, or frequency and amplitude: what the list, the file or its folder says."""
    found: dict[str, Any] = {}
    for word in PurePosixPath(place.file).parts[:-1]:
        if match := FOLDER.search(word):
            found |= {"label": int(match[2]), "image": f"{match[1]}-{match[3]}"}
    label = beside.get("label") if place.label is None else place.label
    try:
        if label is not None:
            found["label"] = int(label)
        if "coef" in beside:
            found["amplitude"], found["frequency"] = (float(value) for value in beside["coef"])
    except (TypeError, ValueError, RuntimeError) as error:
        raise FileError("its label or its coef is none") from error
    return found


def _listed(path: Path, source: Path) -> list[Place]:
    """Return the files that a JSON file lists, whatever folder its paths begin in."""
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
        found = []
        for part, content in parts.items():
            paths, labels = (
                (content["path"], content.get("label")) if isinstance(content, dict) else (content, None)
            )
            for number, name in enumerate(paths):
                label = None if labels is None else labels[number]
                found.append(Place(file=_below(source, str(name)), part=PARTS[part], label=label))
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ZooError(f"{path}: no list of train, val and test ({type(error).__name__}: {error})") from error
    if not found:
        raise ZooError(f"{path}: lists no file")
    return found


def _below(source: Path, name: str) -> str:
    """Return a path without the folders before the one that is imported."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    for start in range(len(parts)):
        short = "/".join(parts[start:])
        if (
            ".." not in parts[start:]
            and not PurePosixPath(short).is_absolute()
            and (source / short).is_file()
        ):
            return short
    return name
