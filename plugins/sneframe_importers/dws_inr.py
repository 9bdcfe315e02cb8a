"""Import the INRs of DWSNets (Navon et al., arXiv 2301.12780).

The INRs represent images of MNIST or Fashion-MNIST, or sine waves.

Each ``.pth`` file is a state dict of sine layers (ω0 = 30) with the parameters ``seq.{i}.weight`` and
``seq.{i}.bias``. The file may also hold ``label``, or the coefficients ``coef`` [a, b] of y = a sin(b x) and
the points ``x``, ``y`` that the INR was fitted to. A JSON file or the names of the folders say which INRs are
for training, validation and test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import evolve, frozen

from sneframe.architecture import Architecture
from sneframe.config.schema import option
from sneframe.errors import FileError, ZooError
from sneframe.files import inside, read_state_dict
from sneframe.files.network_reader import NetworkReader
from sneframe.zoo.importer import ImportContext, Imported, Skipped, ZooImporter
from sneframe.zoo.splits import NAMES
from sneframe_importers.each import each_file, files_in, folder, one

OFFSET = 0.5  #: added to the output of the last layer, as in the code of DWSNets
WEIGHTS = re.compile(r"seq\.\d+\.(weight|bias)")
#: A folder name such as ``mnist_png_training_7_12345`` gives the part, the label and the image.
FOLDER = re.compile(r"_(train|test)(?:ing)?_(\d+)_(\d+)$")
PARTS = {"train": "train", "training": "train", "val": "val", "test": "test", "testing": "test"}


@frozen(kw_only=True)
class DWSINR:
    """Options of ``zoo import dws-inr``."""

    split: Path | None = option(
        None, "the published JSON file that lists the INRs of train, val and test, with or without labels"
    )


@frozen(kw_only=True)
class ListedINR:
    """An INR to import.

    Args:
        file: path of the INR, relative to the imported folder.
        part: train, val or test, or None if unknown.
        label: the label that the JSON file gives, or None.
    """

    file: str
    part: str | None
    label: Any = None


def read(config: DWSINR, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped]:
    """Yield the INRs of a folder in the order of the JSON file, or ordered by name if there is no JSON file.

    Raises:
        ZooError: the folder has no INR, or the JSON file is missing or damaged.
    """
    if config.split is None:
        inrs = [ListedINR(file=name, part=_part(name)) for name in files_in(source, "*.pth")]
    else:
        inrs = _listed(config.split, folder(source))
    yield from each_file(inrs, attrgetter("file"), partial(_opened, source), reading)


@contextmanager
def _opened(source: Path) -> Iterator[Callable[[ListedINR], Imported]]:
    """Give the function that reads an INR."""
    reader = NetworkReader(activation="sine:30", published=True)

    def make(inr: ListedINR) -> Imported:
        state = read_state_dict(inside(source, inr.file))
        tensors = {name: value for name, value in state.tensors.items() if WEIGHTS.fullmatch(name)}
        if not tensors:
            raise FileError("not an INR of DWSNets: the file has no seq.0.weight")
        properties = _properties(inr, {**state.others, **state.tensors})
        splits = {} if inr.part is None else {"published": NAMES.index(inr.part)}
        group = properties.get("image", inr.file)
        architecture = _with_offset(reader.describe(tensors))
        return one(inr.file, architecture, tensors, properties, group=str(group), splits=splits)

    yield make


IMPORTER = ZooImporter(
    name="importers/dws-inr",
    config=DWSINR,
    read=read,
    engines=True,
    help="INRs of DWSNets, of MNIST or Fashion-MNIST images or of sine waves.",
)


@lru_cache(maxsize=64)
def _with_offset(architecture: Architecture) -> Architecture:
    """Return the architecture of an INR whose last layer computes ``W h + b + 0.5``."""
    *hidden, last = architecture.layers
    shifted = evolve(last, attributes={**last.attributes, "shift": OFFSET})
    return evolve(architecture, layers=(*hidden, shifted))


def _part(name: str) -> str | None:
    """Return the part (train, val or test) that a folder name in the path ``name`` gives, or None."""
    for word in PurePosixPath(name).parts[:-1]:
        if word in PARTS:
            return PARTS[word]
        if match := FOLDER.search(word):
            return match[1]
    return None


def _properties(inr: ListedINR, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of an INR: label and image, or amplitude and frequency.

    They come from the JSON list, from the content of the file, or from the name of its folder.
    """
    properties: dict[str, Any] = {}
    for word in PurePosixPath(inr.file).parts[:-1]:
        if match := FOLDER.search(word):
            properties |= {"label": int(match[2]), "image": f"{match[1]}-{match[3]}"}
    label = content.get("label") if inr.label is None else inr.label
    try:
        if label is not None:
            properties["label"] = int(label)
        if "coef" in content:
            properties["amplitude"], properties["frequency"] = (float(value) for value in content["coef"])
    except (TypeError, ValueError, RuntimeError) as error:
        raise FileError("'label' is not an int, or 'coef' is not two numbers") from error
    return properties


def _listed(path: Path, source: Path) -> list[ListedINR]:
    """Return the INRs that a JSON file lists. A listed path may begin with folders above ``source``."""
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
        inrs = []
        for part, content in parts.items():
            paths, labels = (
                (content["path"], content.get("label")) if isinstance(content, dict) else (content, None)
            )
            for number, name in enumerate(paths):
                label = None if labels is None else labels[number]
                inrs.append(ListedINR(file=_below(source, str(name)), part=PARTS[part], label=label))
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ZooError(
            f"{path}: not a list of the files of train, val and test ({type(error).__name__}: {error})"
        ) from error
    if not inrs:
        raise ZooError(f"{path}: the JSON file lists no INR")
    return inrs


def _below(source: Path, name: str) -> str:
    """Return the longest end of the path ``name`` that is a file in ``source``, or else ``name``."""
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
