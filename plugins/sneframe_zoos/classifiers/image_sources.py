"""Where images come from: ``digits``, ``npz:FILE``, ``idx:FOLDER``, ``folder:DIR``, ``torchvision:NAME`` → an ImageSet."""

from __future__ import annotations

import gzip
import importlib
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sneframe.errors import MachineError, ZooError, choices
from sneframe_zoos.classifiers.images import ImageSet

SHARE = 0.75  #: of the images of a source without a test part of its own, how many are to train on
IDX_MAGIC = b"\x00\x00\x08"  #: two zeros, then the code of unsigned bytes; the number of axes follows
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
    """Read images, take part of them, and bring them to size.

    Args:
        data: ``digits`` (scikit-learn's, resized to 16 × 16), ``npz:FILE`` (keys ``images`` and ``labels``),
            ``idx:FOLDER`` (MNIST's file format and names, ``.gz`` or not), ``folder:DIR`` (one folder of pictures per
            class, or ``DIR/train`` and ``DIR/test`` of those; needs Pillow), ``torchvision:NAME[:ROOT]`` (a data set of
            ``torchvision.datasets`` that lies in ROOT already; nothing is downloaded).
        name: of the data; not given: of the file, folder or set.
        train: how many images to train on, the first ones; not given: all that the source has for it, or three in
            four of a source without a test part.
        test: how many to test on; not given: all others that are for it.
        size: pixels in height and width; not given: as they are.
        grey: whether colours become luminance.

    Raises:
        ZooError: no such source or file, or it does not hold what it should; the message says where and what.
        MachineError: a file cannot be read.
    """
    kind, _, where = data.partition(":")
    if kind not in SOURCES:
        raise ZooError(f"no image source {data!r}; {choices(kind, SHOWN)}")
    if kind != "digits" and not where:
        raise ZooError(
            f"image source {data!r} needs what stands behind the colon: {SHOWN[list(SOURCES).index(kind)]}"
        )
    try:
        called, images, labels, own = SOURCES[kind](where)
    except FileNotFoundError as error:
        raise ZooError(f"{data}: there is no {error.filename or where}") from error
    except OSError as error:
        raise MachineError(
            f"{data}: cannot read {error.filename or where}: {error.strerror or error}"
        ) from error
    if own is None:
        own = train if train is not None else math.floor(SHARE * len(images))
        if own >= len(images):
            raise ZooError(f"{data}: {own} images to train on leave none of its {len(images)} to test on")
    labels = np.asarray(labels)
    count = int(labels.max()) + 1 if labels.size and labels.dtype.kind in "iu" else 0
    whole = ImageSet(name=name or called, images=images, labels=labels, classes=count, train=own)
    taken = whole.limited(train, test)
    if grey:
        taken = taken.grey()
    return taken if size is None else taken.resized(size)


Raw = tuple[str, np.ndarray, np.ndarray, "int | None"]  # name, images, labels, how many are to train on


def _digits(where: str) -> Raw:
    if where:
        raise ZooError(f"image source 'digits' takes nothing behind a colon, got {where!r}")
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype(np.uint8)
    made = ImageSet(name="digits", images=images, labels=found.target, classes=10, train=1).resized(16)
    return "digits", made.images, made.labels, None


def _npz(where: str) -> Raw:
    path = Path(where)
    try:
        # Arrays of objects are pickles, which can run anything: they are refused.
        whole = np.load(path, allow_pickle=False)
        if not isinstance(whole, np.lib.npyio.NpzFile):
            raise ZooError(f"{path}: is one array, expected an .npz file with images and labels")
        with whole as found:
            if missing := [key for key in ("images", "labels") if key not in found]:
                raise ZooError(
                    f"{path}: has no {' and no '.join(missing)}; it holds {', '.join(found) or 'nothing'}"
                )
            return path.stem, found["images"], found["labels"], None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ZooError(f"{path}: is no .npz file of plain arrays: {str(error).splitlines()[0]}") from error


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
        raise ZooError(f"{path}: is no gzip file: {error}") from error
    start = 4 + 4 * axes
    if content[:4] != IDX_MAGIC + bytes([axes]) or len(content) < start:
        raise ZooError(
            f"{path}: is no idx file of unsigned bytes with {axes} axes, it begins {content[:4].hex(' ')}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">i4", axes, 4))
    if math.prod(shape) != len(content) - start:
        raise ZooError(f"{path}: its header says {shape}, {len(content) - start} bytes follow")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _folder(where: str) -> Raw:
    root = Path(where)
    if not root.is_dir():
        raise ZooError(f"{root}: is no folder of pictures")
    split = [root / part for part in ("train", "test")]
    if all(part.is_dir() for part in split):
        classes = _classes(split[0])
        parts = [_pictures(part, classes) for part in split]
        images, labels = ([*parts[0][axis], *parts[1][axis]] for axis in (0, 1))
        own: int | None = len(parts[0][0])
    else:
        images, labels = _pictures(root, _classes(root))
        own = None
        # Its pictures stand class by class; a share of them must hold every class.
        order = np.random.Generator(np.random.Philox(key=0)).permutation(len(images))
        images, labels = [images[i] for i in order], [labels[i] for i in order]
    return root.name, np.stack(images), np.array(labels, dtype=np.int64), own


def _classes(folder: Path) -> list[str]:
    found = sorted(each.name for each in folder.iterdir() if each.is_dir())
    if len(found) < 2:
        raise ZooError(f"{folder}: needs two folders at least, one per class, has {len(found)}")
    return found


def _pictures(folder: Path, classes: Sequence[str]) -> tuple[list[np.ndarray], list[int]]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ZooError("image source 'folder' needs Pillow: pip install 'sneframe[images]'") from error
    if strangers := sorted(
        each.name for each in folder.iterdir() if each.is_dir() and each.name not in classes
    ):
        raise ZooError(
            f"{folder / strangers[0]}: a class that is not among the training images' {list(classes)}"
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
                raise ZooError(f"{path}: is no picture that can be read: {error}") from error
            if images and image.shape != images[0].shape:
                raise ZooError(
                    f"{path}: is {image.shape}, others are {images[0].shape}; all must be of one shape"
                )
            images.append(image)
            labels.append(number)
    if not images:
        raise ZooError(f"{folder}: its {len(classes)} folders hold no picture ({', '.join(PICTURES)})")
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
