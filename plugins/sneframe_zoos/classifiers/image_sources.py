"""Read labelled images from the sources that the option ``data`` can name, such as ``npz:FILE``."""

from __future__ import annotations

import gzip
import importlib
import math
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from sneframe.errors import MachineError, ZooError, choices
from sneframe_zoos.classifiers.images import ImageSet

TRAIN_FRACTION = (
    0.75  #: fraction of the images that are for training, if a source has no test images of its own
)
IDX_MAGIC = b"\x00\x00\x08"  #: two zeros and the code of unsigned bytes; the number of axes follows
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def read_images(
    data: str,
    *,
    name: str | None = None,
    train: int | None = None,
    test: int | None = None,
    size: int | None = None,
    grey: bool = False,
) -> ImageSet:
    """Read images, keep the requested number of them, and resize them.

    Args:
        data: the source. ``digits``: digits of scikit-learn, resized to 16 × 16. ``npz:FILE``: the arrays
            ``images`` and ``labels``. ``idx:FOLDER``: MNIST's file format and file names, with or without
            ``.gz``. ``folder:DIR``: one folder of pictures per class, either in ``DIR`` or in both
            ``DIR/train`` and ``DIR/test``; needs Pillow. ``torchvision:NAME[:ROOT]``: a data set of
            ``torchvision.datasets`` that ROOT already holds; nothing is downloaded.
        name: name of the image set; by default the name of the file, folder or data set.
        train: number of training images, the first ones; by default all training images, or three in four if
            the source has no test images of its own.
        test: number of test images, the first ones; by default all test images of the source, or all images
            that are not for training if the source has no test images.
        size: height and width in pixels; by default unchanged.
        grey: whether to convert colour images to grey.

    Raises:
        ZooError: there is no such source or file, or the content of a file is wrong.
        MachineError: a file cannot be read.
    """
    kind, _, where = data.partition(":")
    if kind not in SOURCES:
        raise ZooError(f"unknown image source {data!r}, {choices(kind, SHOWN)}")
    if kind != "digits" and not where:
        raise ZooError(f"image source {data!r} is incomplete: write {SHOWN[list(SOURCES).index(kind)]}")
    try:
        called, images, labels, own = SOURCES[kind](where)
    except FileNotFoundError as error:
        raise ZooError(f"{data}: there is no {error.filename or where}") from error
    except OSError as error:
        raise MachineError(
            f"{data}: cannot read {error.filename or where}: {error.strerror or error}"
        ) from error
    published = own is not None
    if own is None:
        own = train if train is not None else math.floor(TRAIN_FRACTION * len(images))
        if own >= len(images):
            raise ZooError(
                f"{data}: {own} of its {len(images)} images are for training, which leaves no test image"
            )
    labels = np.asarray(labels)
    count = int(labels.max()) + 1 if labels.size and labels.dtype.kind in "iu" else 0
    whole = ImageSet(
        name=name or called, images=images, labels=labels, classes=count, train=own, published=published
    )
    taken = whole.limited(train, test)
    if grey:
        taken = taken.grey()
    return taken if size is None else taken.resized(size)


images_once = cache(read_images)  #: cached, so that each process that trains blocks reads the images once


def recorded(data: str, images: ImageSet) -> dict[str, str]:
    """Return the options ``data``, ``data_name`` and ``data_digest`` as a zoo records them.

    A digest identifies the images. Only the last component of their path is kept, so a build can continue on
    another machine.

    Args:
        data: the source of the images, as in :func:`read_images`.
        images: the images.
    """
    kind, colon, where = data.partition(":")
    name = where.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return {"data": kind + colon + name, "data_name": images.name, "data_digest": images.digest}


#: What a source gives: its name, all images and labels with those for training first, and the number of
#: training images (None if the source has no test images of its own).
Raw = tuple[str, np.ndarray, np.ndarray, "int | None"]


def _digits(where: str) -> Raw:
    if where:
        raise ZooError(f"image source 'digits' takes nothing after the colon, but got {where!r}")
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    resized = ImageSet(name="digits", images=images, labels=digits.target, classes=10, train=1).resized(16)
    return "digits", resized.images, resized.labels, None


def _npz(where: str) -> Raw:
    path = Path(where)
    try:
        # Arrays of objects are pickles, which can run any code, so they are refused.
        whole = np.load(path, allow_pickle=False)
        if not isinstance(whole, np.lib.npyio.NpzFile):
            raise ZooError(f"{path}: holds a single array; an .npz file with images and labels is needed")
        with whole as arrays:
            if missing := [key for key in ("images", "labels") if key not in arrays]:
                raise ZooError(
                    f"{path}: has no {' and no '.join(missing)}; it holds {', '.join(arrays) or 'nothing'}"
                )
            return path.stem, arrays["images"], arrays["labels"], None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ZooError(f"{path}: not an .npz file of plain arrays: {str(error).splitlines()[0]}") from error


def _idx(where: str) -> Raw:
    folder = Path(where)
    parts = [
        (_idx_file(folder, f"{part}-images-idx3-ubyte", 3), _idx_file(folder, f"{part}-labels-idx1-ubyte", 1))
        for part in ("train", "t10k")
    ]
    images, labels = (np.concatenate([part[axis] for part in parts]) for axis in (0, 1))
    return folder.name, images, labels.astype(np.int64), len(parts[0][0])


def _idx_file(folder: Path, name: str, axes: int) -> np.ndarray:
    plain, packed = folder / name, folder / f"{name}.gz"
    path = plain if plain.exists() else packed
    if not path.exists():
        raise ZooError(f"{folder}: has neither {name} nor {name}.gz")
    try:
        content = gzip.decompress(path.read_bytes()) if path is packed else path.read_bytes()
    except (gzip.BadGzipFile, EOFError) as error:
        raise ZooError(f"{path}: not a gzip file: {error}") from error
    start = 4 + 4 * axes
    if content[:4] != IDX_MAGIC + bytes([axes]) or len(content) < start:
        raise ZooError(
            f"{path}: not an idx file of unsigned bytes with {axes} axes; it begins "
            f"with {content[:4].hex(' ')}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">i4", axes, 4))
    if math.prod(shape) != len(content) - start:
        raise ZooError(f"{path}: the header says shape {shape}, but {len(content) - start} bytes follow")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _folder(where: str) -> Raw:
    root = Path(where)
    if not root.is_dir():
        raise ZooError(f"{root}: not a folder of pictures")
    split = [root / part for part in ("train", "test")]
    if all(part.is_dir() for part in split):
        classes = _classes(split[0])
        parts = [_pictures(part, classes) for part in split]
        images, labels = ([*parts[0][axis], *parts[1][axis]] for axis in (0, 1))
        own: int | None = len(parts[0][0])
    else:
        images, labels = _pictures(root, _classes(root))
        own = None
        # The pictures are sorted by class. They are shuffled, so that training and test images contain every
        # class.
        order = np.random.Generator(np.random.Philox(key=0)).permutation(len(images))
        images, labels = [images[i] for i in order], [labels[i] for i in order]
    return root.name, np.stack(images), np.array(labels, dtype=np.int64), own


def _classes(folder: Path) -> list[str]:
    names = sorted(each.name for each in folder.iterdir() if each.is_dir())
    if len(names) < 2:
        raise ZooError(f"{folder}: needs at least two folders, one for each class, but got {len(names)}")
    return names


def _pictures(folder: Path, classes: Sequence[str]) -> tuple[list[np.ndarray], list[int]]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ZooError("image source 'folder' needs Pillow: pip install 'sneframe[images]'") from error
    if unknown := sorted(
        each.name for each in folder.iterdir() if each.is_dir() and each.name not in classes
    ):
        raise ZooError(
            f"{folder / unknown[0]}: the training images have no such class; "
            f"their classes are {list(classes)}"
        )
    images: list[np.ndarray] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        paths = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in PICTURES)
        for path in paths:
            try:
                with Image.open(path) as picture:
                    image = np.asarray(picture.convert("L" if picture.mode in ("1", "L", "I;16") else "RGB"))
            except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
                raise ZooError(f"{path}: cannot be read as a picture: {error}") from error
            if images and image.shape != images[0].shape:
                raise ZooError(
                    f"{path}: has shape {image.shape}, but the pictures before it have shape "
                    f"{images[0].shape}; all pictures must have the same shape"
                )
            images.append(image)
            labels.append(number)
    if not images:
        raise ZooError(f"{folder}: its {len(classes)} folders contain no picture ({', '.join(PICTURES)})")
    return images, labels


def _torchvision(where: str) -> Raw:
    name, _, root = where.partition(":")
    try:
        datasets = importlib.import_module("torchvision.datasets")
    except ImportError as error:
        raise ZooError(
            f"image source 'torchvision:{name}' needs torchvision: pip install torchvision"
        ) from error
    kind = getattr(datasets, name, None)
    if kind is None:
        raise ZooError(f"torchvision.datasets has no {name!r}")
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for train in (True, False):
        try:
            part = kind(root=root or ".", train=train, download=False)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ZooError(f"torchvision:{name}: {str(error).splitlines()[0]}") from error
        images.append(np.asarray(part.data))
        labels.append(np.asarray(part.targets, dtype=np.int64))
    return name.lower(), np.concatenate(images), np.concatenate(labels), len(images[0])


SOURCES: dict[str, Callable[[str], Raw]] = {
    "digits": _digits,
    "npz": _npz,
    "idx": _idx,
    "folder": _folder,
    "torchvision": _torchvision,
}
SHOWN = ("digits", "npz:FILE", "idx:FOLDER", "folder:DIR", "torchvision:NAME[:ROOT]")
