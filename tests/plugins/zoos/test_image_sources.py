"""Images from every source, and the errors for sources that cannot be read."""

import gzip
import re
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sneframe_zoos.classifiers.image_sources import read_images
from sneframe_zoos.classifiers.images import ImageSet

from sneframe.errors import MachineError, ZooError

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (12, 6, 5), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture
def npz(tmp_path):
    np.savez(tmp_path / "some.npz", images=IMAGES, labels=LABELS)
    return f"npz:{tmp_path / 'some.npz'}"


def idx(array):
    return b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    labels = LABELS.astype(np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(IMAGES[:9]))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[:9])))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[9:])))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[9:]))
    return folder


def pictures(folder, classes, shape=(4, 4, 3)):
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for each in range(2):
            Image.fromarray(np.full(shape, 40 * number + each, np.uint8)).save(folder / name / f"{each}.png")


# -- what each source gives ---------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn_at_16_pixels():
    """The source digits is scikit-learn's data set, resized to 16 × 16."""
    found = read_images("digits")
    assert (found.name, found.shape, found.classes) == ("digits", (1, 16, 16), 10)
    assert (len(found.images), found.train) == (1797, 1347)  # three in four
    np.testing.assert_array_equal(found.labels, load_digits().target)
    # Bilinear enlargement keeps the mean of an image that is dark at its edges.
    expected = load_digits().images.mean((1, 2)) * 255 / 16
    np.testing.assert_allclose(found.images.mean((1, 2)), expected, atol=1.5)


def test_npz_is_images_and_labels(npz):
    """An .npz file gives its images and labels; three in four are for training."""
    found = read_images(npz)
    assert (found.name, found.train, found.classes) == ("some", 9, 3)
    np.testing.assert_array_equal(found.images, IMAGES)
    np.testing.assert_array_equal(found.labels, LABELS)


def test_idx_is_mnists_four_files_packed_or_not(idx_folder):
    """A folder of MNIST's four files is read, with or without gzip."""
    found = read_images(f"idx:{idx_folder}")
    assert (found.name, found.train, found.classes) == ("letters", 9, 3)
    np.testing.assert_array_equal(found.images, IMAGES)
    np.testing.assert_array_equal(found.labels, LABELS)


def test_a_folder_is_one_folder_per_class(tmp_path):
    """Each folder of pictures is a class, and labels follow the folders' names."""
    pictures(tmp_path / "pets", ["cat", "dog", "eel"])
    found = read_images(f"folder:{tmp_path / 'pets'}", train=4)
    assert (found.name, found.shape, found.classes, found.train) == ("pets", (3, 4, 4), 3, 4)
    for image, label in zip(found.images, found.labels, strict=True):
        assert image[0, 0, 0] // 40 == label


def test_a_folder_with_train_and_test_keeps_them_apart(tmp_path):
    """Folders train and test are the two parts."""
    pictures(tmp_path / "train", ["cat", "dog"], shape=(4, 4))
    pictures(tmp_path / "test", ["cat", "dog"], shape=(4, 4))
    found = read_images(f"folder:{tmp_path}")
    assert (found.train, len(found.images), found.shape) == (4, 8, (1, 4, 4))
    np.testing.assert_array_equal(found.labels, [0, 0, 1, 1] * 2)


def test_torchvision_downloads_nothing(tmp_path, monkeypatch):
    """Both parts of a torchvision data set are read with download=False."""
    calls = []

    class Letters:
        def __init__(self, root, *, train, download):
            calls.append((root, train, download))
            rows = slice(0, 9) if train else slice(9, 12)
            self.data, self.targets = IMAGES[rows], LABELS[rows].tolist()

    module = types.ModuleType("torchvision.datasets")
    module.Letters = Letters
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    found = read_images(f"torchvision:Letters:{tmp_path}")
    assert calls == [(str(tmp_path), True, False), (str(tmp_path), False, False)]
    assert (found.name, found.train) == ("letters", 9)


# -- how images are divided and converted -------------------------------------------------------------------


def test_the_first_images_train_and_the_next_test(npz):
    """Without a test part, the first images are for training and the next for testing."""
    found = read_images(npz, train=5, test=4, name="mine")
    assert (found.name, found.train) == ("mine", 5)
    np.testing.assert_array_equal(found.images, IMAGES[:9])


def test_a_test_part_of_the_source_is_kept(idx_folder):
    """If the source has a test part, only its images are for testing."""
    found = read_images(f"idx:{idx_folder}", train=4)
    assert found.train == 4
    np.testing.assert_array_equal(found.images, np.concatenate([IMAGES[:4], IMAGES[9:]]))


def test_grey_is_the_luminance(tmp_path):
    """Grey values are the luminance of ITU-R BT.601."""
    coloured = np.zeros((2, 1, 1, 3), np.uint8)
    coloured[0, 0, 0], coloured[1, 0, 0] = (255, 0, 0), (10, 20, 30)
    np.savez(tmp_path / "c.npz", images=coloured, labels=[0, 1])
    found = read_images(f"npz:{tmp_path / 'c.npz'}", grey=True)
    assert found.images.ravel().tolist() == [76, 18]  # .299 · 255, and .299 · 10 + .587 · 20 + .114 · 30


def test_resizing_averages_pixels(tmp_path):
    """Resizing to half averages the pixels."""
    blocks = np.kron(np.array([[10, 200], [90, 30]]), np.ones((8, 8))).astype(np.uint8)
    np.savez(tmp_path / "b.npz", images=np.stack([blocks, blocks]), labels=[0, 1])
    found = read_images(f"npz:{tmp_path / 'b.npz'}", size=4)
    assert found.shape == (1, 4, 4)
    corners = found.images[0][[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners.astype(int), [10, 200, 90, 30], atol=12)


def test_tensors_are_channels_first_in_minus_one_to_one():
    """Image tensors have the channels first and values from -1 to 1."""
    images = np.zeros((2, 4, 5, 3), np.uint8)
    images[0, 1, 2] = (0, 255, 51)
    tensor, _ = ImageSet(name="x", images=images, labels=np.array([0, 1]), classes=2, train=1).tensors()
    assert tensor.shape == (2, 3, 4, 5)
    torch.testing.assert_close(tensor[0, :, 1, 2], torch.tensor([-1, 1, -0.6]))


def test_the_digest_does_not_depend_on_the_name(npz):
    """The digest changes with the images and their division, not with the name."""
    found = read_images(npz)
    assert read_images(npz, name="other").digest == found.digest
    others = [read_images(npz, train=8), read_images(npz, size=7), read_images(npz, test=2)]
    assert len({found.digest, *(each.digest for each in others)}) == 4


# -- what cannot be read ------------------------------------------------------------------------------------


def test_an_unknown_source_lists_the_choices():
    """The error for an unknown image source lists the sources."""
    with pytest.raises(ZooError, match=r"unknown image source 'np:x', .*npz:FILE"):
        read_images("np:x")


@pytest.mark.parametrize("data", ["npz", "idx:", "folder", "torchvision"])
def test_a_source_without_its_argument_is_refused(data):
    """The error for an incomplete source shows its full form."""
    with pytest.raises(ZooError, match=re.escape(f"image source {data!r} is incomplete: write ")):
        read_images(data)


def test_a_file_that_is_not_there_is_named(tmp_path):
    """The error names a missing file."""
    with pytest.raises(ZooError, match=r"there is no .*none\.npz"):
        read_images(f"npz:{tmp_path / 'none.npz'}")


def test_a_folder_instead_of_a_file_raises_machine_error(tmp_path):
    """A folder where a file is needed raises MachineError."""
    with pytest.raises(MachineError, match="cannot read"):
        read_images(f"npz:{tmp_path}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pictures": IMAGES, "labels": LABELS}, "has no images; it holds pictures, labels"),
        ({"images": IMAGES.astype(float), "labels": LABELS}, r"images must be uint8 .* got float64"),
        ({"images": IMAGES[:, :, 0], "labels": LABELS}, "images must be uint8"),
        ({"images": IMAGES, "labels": LABELS[:5]}, r"labels must be integers of shape \(12,\)"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels must be 0 … 1, but got -1 … 1"),
        ({"images": IMAGES, "labels": LABELS * 0.5}, "labels must be integers"),
        ({"images": IMAGES, "labels": LABELS * 0}, r"from 0, with at least 2 classes .* got 0 … 0"),
        (
            {"images": IMAGES, "labels": LABELS * 2_000_000_000},
            r"no more than the 12 images, but got 0 … 4000000000",
        ),
        (
            {"images": IMAGES, "labels": LABELS.astype(np.uint64) + np.uint64(2**63)},
            "no more than the 12 images",
        ),
        ({"images": IMAGES, "labels": np.array([{}] * 12)}, "not an .npz file of plain arrays"),  # a pickle
        ({"images": IMAGES[:1], "labels": LABELS[:1]}, "training and testing need at least one"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "0 of its 0 images are for training"),
    ],
)
def test_a_bad_npz_is_one_line(tmp_path, content, message):
    """Missing keys and wrong arrays raise one line with the reason."""
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(ZooError, match=message) as error:
        read_images(f"npz:{tmp_path / 'bad.npz'}")
    assert "bad" in str(error.value)


def test_a_file_that_is_no_npz_is_one_line(tmp_path):
    """A file that is not an archive raises one line."""
    (tmp_path / "bad.npz").write_bytes(b"hello")
    with pytest.raises(ZooError, match=r"bad\.npz: not an \.npz file"):
        read_images(f"npz:{tmp_path / 'bad.npz'}")


def test_a_single_array_named_npz_is_refused(tmp_path):
    """A .npy file with the suffix .npz raises one line."""
    np.save(tmp_path / "bad.npy", IMAGES)
    (tmp_path / "bad.npy").rename(tmp_path / "bad.npz")
    with pytest.raises(ZooError, match=r"bad\.npz: holds a single array"):
        read_images(f"npz:{tmp_path / 'bad.npz'}")


def test_too_many_requested_images_are_refused(npz):
    """Asking for more images than a part has raises one line."""
    with pytest.raises(ZooError, match="4 images to test on are needed, but there are 3"):
        read_images(npz, test=4)
    with pytest.raises(ZooError, match="12 of its 12 images are for training"):
        read_images(npz, train=12)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", b"\x00\x00\x08\x01", "not an idx file of unsigned bytes with 3 axes"),
        ("train-images-idx3-ubyte", idx(IMAGES[:9])[:-3], r"shape \(9, 6, 5\), but 267 bytes"),
        ("train-labels-idx1-ubyte.gz", b"no gzip", "not a gzip file"),
        ("t10k-labels-idx1-ubyte", None, "has neither t10k-labels-idx1-ubyte nor"),
    ],
)
def test_a_bad_idx_folder_is_one_line(idx_folder, name, content, message):
    """Damaged and missing files of an idx folder raise one line."""
    if content is None:
        (idx_folder / name).unlink()
    else:
        (idx_folder / name).write_bytes(content)
    with pytest.raises(ZooError, match=message):
        read_images(f"idx:{idx_folder}")


def test_pictures_of_two_shapes_are_refused(tmp_path):
    """The error names the first picture with a different shape."""
    pictures(tmp_path, ["cat", "dog"])
    Image.fromarray(np.zeros((5, 4, 3), np.uint8)).save(tmp_path / "dog" / "tall.png")
    with pytest.raises(ZooError, match=r"tall\.png: has shape \(5, 4, 3\), .* \(4, 4, 3\)"):
        read_images(f"folder:{tmp_path}")


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    """The error names a damaged picture."""
    pictures(tmp_path, ["cat", "dog"])
    (tmp_path / "dog" / "bad.png").write_bytes(b"\x89PNG")
    with pytest.raises(ZooError, match=r"bad\.png: cannot be read as a picture"):
        read_images(f"folder:{tmp_path}")


def test_a_folder_needs_two_classes_and_pictures(tmp_path):
    """A folder of pictures needs at least two classes and a picture."""
    (tmp_path / "cat").mkdir()
    with pytest.raises(ZooError, match="needs at least two folders, one for each class, but got 1"):
        read_images(f"folder:{tmp_path}")
    (tmp_path / "dog").mkdir()
    with pytest.raises(ZooError, match="its 2 folders contain no picture"):
        read_images(f"folder:{tmp_path}")


def test_a_class_that_was_not_trained_on_is_named(tmp_path):
    """A class that only the test part has raises an error that names it."""
    pictures(tmp_path / "train", ["cat", "dog"])
    pictures(tmp_path / "test", ["cat", "eel"])
    with pytest.raises(ZooError, match="eel: the training images have no such class"):
        read_images(f"folder:{tmp_path}")


def test_missing_packages_are_named_with_pip(tmp_path, monkeypatch):
    """Without Pillow or torchvision, the error gives the pip command."""
    pictures(tmp_path, ["cat", "dog"])
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ZooError, match=r"pip install 'sneframe\[images\]'"):
        read_images(f"folder:{tmp_path}")
    with pytest.raises(ZooError, match="pip install torchvision"):
        read_images("torchvision:MNIST")
