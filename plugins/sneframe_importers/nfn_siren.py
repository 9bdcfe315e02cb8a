"""Import the SIRENs ``randinit_smaller_{label}s/net{image}.pth`` of NFN (Zhou et al., arXiv 2302.14040).

The folders ``randinit_smaller_aug{k}_{label}s`` hold further views: SIRENs of the same images, fitted from
other initial weights. All views of an image are one run group, so a split puts them in the same part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from attrs import frozen

from sneframe.config.schema import option
from sneframe.errors import FileError
from sneframe.files import inside, read_state_dict
from sneframe.files.network_reader import NetworkReader
from sneframe.zoo.importer import ImportContext, Imported, Skipped, ZooImporter
from sneframe.zoo.splits import TEST, TRAIN, VAL
from sneframe_importers.each import each_file, files_in, one

IMAGE = re.compile(r"net(\d+)\.pth")
LABEL = re.compile(r"(?:^|_)(?:aug(\d+)_)?(\d+)s$")
WEIGHTS = re.compile(r"net\.\d+\.(?:linear\.)?(?:weight|bias)")


@frozen(kw_only=True)
class NFNSiren:
    """Options of ``zoo import nfn-siren``."""

    train: int = option(
        45_000, "images whose number is below this are for training (55000 for Fashion-MNIST in Inr2Array)"
    )
    val: int = option(
        50_000,
        "of the other images, those whose number is below this are for validation, and the rest for the "
        "test (60000 for Fashion-MNIST in Inr2Array)",
    )
    views: bool = option(
        True, "also import the further views of each image, from folders with `aug` in their name"
    )


def read(config: NFNSiren, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped]:
    """Yield the SIRENs of a folder, ordered by name.

    Raises:
        ZooError: there is no such folder, or the folder has no SIREN.
    """
    names = files_in(source, "net*.pth")
    if not config.views:
        names = [name for name in names if "aug" not in Path(name).parent.name]
    yield from each_file(names, str, partial(_opened, config, source), reading)


@contextmanager
def _opened(config: NFNSiren, source: Path) -> Iterator[Callable[[str], Imported]]:
    """Give the function that reads the SIREN in the file of a name."""
    reader = NetworkReader(activation="sine:30", published=True)

    def make(name: str) -> Imported:
        path = Path(name)
        image, label = IMAGE.fullmatch(path.name), LABEL.search(path.parent.name)
        if image is None or label is None:
            raise FileError(
                "the name of the file has no image number, or the name of its folder has no label"
            )
        tensors = read_state_dict(inside(source, name)).tensors
        if not tensors or not all(WEIGHTS.fullmatch(key) for key in tensors):
            raise FileError(
                "not a SIREN of NFN: the file holds other tensors than net.{i}.linear.weight and bias"
            )
        number = int(image[1])
        part = TRAIN if number < config.train else VAL if number < config.val else TEST
        properties = {"label": int(label[2]), "image": number, "view": int(label[1] or 0)}
        return one(
            name, reader.describe(tensors), tensors, properties, group=number, splits={"published": part}
        )

    yield make


IMPORTER = ZooImporter(
    name="importers/nfn-siren",
    config=NFNSiren,
    read=read,
    engines=True,
    help="SIRENs of NFN, of MNIST, Fashion-MNIST or CIFAR-10 images.",
)
