from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sneframe_formats.numpy_reader import NumpyReader
from torch import Tensor, nn

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.errors import FileError
from sneframe.files.network_reader import NetworkReader
from sneframe.files.recognise import reader_of
from sneframe.files.search import NetworkPath, PassedOver, networks_in
from sneframe.files.state_dict import read_state_dict


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


def arrays(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def read(path: Path) -> Mapping[str, Tensor]:
    return read_state_dict(path, readers=plugins.readers()).tensors


def same(found: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert np.array_equal(found[name].numpy(), value)


def refused(path: Path, match: str) -> str:
    with pytest.raises(FileError, match=match) as error:
        NumpyReader().read(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def header(descr: str, shape: str, *, body: bytes = b"", fortran: str = "False") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def npz(path: Path, entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_holds_the_weights(tmp_path: Path, save: Callable[..., None]) -> None:
    """An archive gives the same tensors and architecture as the state dict, compressed or not."""
    module = network()
    save(tmp_path / "a.npz", **arrays(module))
    found = read(tmp_path / "a.npz")
    same(found, arrays(module))
    assert list(found) == list(module.state_dict())
    reader = NetworkReader(readers=plugins.readers(), activation="relu", trust_names=True)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    described = reader.describe(found)
    assert described == reader.describe(reader.weights(tmp_path / "a.pt"))
    own = Architecture.from_module(module, torch.zeros(1, 3))
    assert [group.size for group in described.groups] == [group.size for group in own.groups]


def test_types_orders_and_empty_arrays_are_read(tmp_path: Path) -> None:
    """Any number type, byte order and order of memory is read exactly, in archives and folders."""
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    wanted = {
        "f.half": grid.astype(np.float16),
        "f.double": grid.astype(np.float64),
        "f.big": grid.astype(">f4"),
        "f.fortran": np.asfortranarray(grid),
        "f.empty": np.zeros((0, 3), np.float32),
        "f.none": np.float32(3),
        "f.int": grid.astype(">i8"),
        "f.bool": grid > 2,
    }
    np.savez(tmp_path / "a.npz", **wanted)
    (tmp_path / "folder").mkdir()
    for name, value in wanted.items():
        np.save(tmp_path / "folder" / f"{name}.npy", value)
    same(NumpyReader().read(tmp_path / "a.npz").values, wanted)
    same(NumpyReader().read(tmp_path / "folder").values, wanted)


def test_mapped_arrays_do_not_write_to_the_file(tmp_path: Path) -> None:
    """Arrays in a folder are mapped, and a change of a tensor does not change the file."""
    np.save(tmp_path / "w.npy", np.zeros((2, 2), np.float32))
    found = NumpyReader().read(tmp_path).values["w"]
    found += 1
    assert not np.load(tmp_path / "w.npy").any()


def test_structured_names_become_dotted(tmp_path: Path) -> None:
    """Slashes become dots, the suffix of TensorFlow goes, and the names of scikit-learn stay."""
    one = np.ones((2, 2), np.float32)
    np.savez(tmp_path / "a.npz", **{"layer1/weight": one, "b/c/weight:0": one, "coefs_0": one})
    content = NumpyReader().read(tmp_path / "a.npz")
    assert set(content.values) == {"layer1.weight", "b.c.weight", "coefs_0"}
    assert content.notes == ()
    np.savez(tmp_path / "b.npz", coefs_0=one, intercepts_0=np.ones(2))
    content = NumpyReader().read(tmp_path / "b.npz")
    assert set(content.values) == {"coefs_0", "intercepts_0"}
    assert any("order of axes in which they are stored" in note for note in content.notes)


def test_kernels_are_turned_into_torchs_order(tmp_path: Path) -> None:
    """Names that say kernel give torch's names and order of axes, and a note."""
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))
    conv, norm, _, linear = module
    np.savez(
        tmp_path / "a.npz",
        **{
            "params/0/kernel": conv.weight.detach().permute(2, 3, 1, 0).numpy(),
            "params/0/bias": conv.bias.detach().numpy(),
            "params/1/scale": norm.weight.detach().numpy(),
            "params/1/bias": norm.bias.detach().numpy(),
            "batch_stats/1/mean": norm.running_mean.numpy(),
            "batch_stats/1/var": norm.running_var.numpy(),
            "params/3/kernel": linear.weight.detach().T.numpy(),
            "params/3/bias": linear.bias.detach().numpy(),
        },
    )
    content = NumpyReader().read(tmp_path / "a.npz")
    wanted = arrays(module)
    del wanted["1.num_batches_tracked"]
    same(content.values, wanted)
    assert list(content.values) == list(wanted)
    assert any("torch's (out, in, …)" in note for note in content.notes)


def test_numbers_and_strings_are_plain_values(tmp_path: Path) -> None:
    """A number or string beside the weights is a plain value, and arrays of strings are left out."""
    weight = np.ones((2, 2), np.float32)
    np.savez(tmp_path / "a.npz", weight=weight, epoch=3, loss=0.5, name="mlp", labels=["a", "b"])
    content = NumpyReader().read(tmp_path / "a.npz")
    assert {name: each for name, each in content.values.items() if name != "weight"} == {
        "epoch": 3,
        "loss": 0.5,
        "name": "mlp",
    }
    assert any("'labels' was left out" in note for note in content.notes)
    assert read_state_dict(tmp_path / "a.npz", readers=plugins.readers()).others["loss"] == 0.5


def test_a_folder_of_arrays_is_one_network(tmp_path: Path) -> None:
    """A folder of arrays is one network, with dots for nested folders and layers in their order."""
    module = nn.Sequential(*(nn.Linear(2, 2) for _ in range(11)))
    for name, value in arrays(module).items():
        path = tmp_path / "net" / f"{name.replace('.', '/')}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, value)
    (tmp_path / "net" / "config.json").write_text("{}")
    found = read(tmp_path / "net")
    same(found, arrays(module))
    assert list(found) == list(module.state_dict())
    assert [each.name for each in networks_in(tmp_path, plugins.readers())] == ["net"]


def test_a_folder_of_networks_is_not_one_network(tmp_path: Path) -> None:
    """A folder whose folders each hold a network gives these networks."""
    for number in range(3):
        (tmp_path / f"net{number}").mkdir()
        for name, value in arrays(network()).items():
            np.save(tmp_path / f"net{number}" / f"{name}.npy", value)
    found = list(networks_in(tmp_path, plugins.readers()))
    assert [each.name for each in found] == ["net0", "net1", "net2"]
    assert all(isinstance(each, NetworkPath) for each in found)


def test_a_single_array_is_no_network(tmp_path: Path) -> None:
    """One array beside networks of another format is passed over, and refused if it is given itself."""
    torch.save(network().state_dict(), tmp_path / "a.pt")
    np.save(tmp_path / "labels.npy", np.zeros(3))
    passed = [each for each in networks_in(tmp_path, plugins.readers()) if isinstance(each, PassedOver)]
    assert [each.name for each in passed] == ["labels.npy"]
    with pytest.raises(FileError, match="one array without a name"):
        reader_of(tmp_path / "labels.npy", plugins.readers())


def test_a_folder_of_flat_vectors_is_refused(tmp_path: Path) -> None:
    """A folder of vectors holds flattened networks, not the layers of one."""
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.zeros(7))
    refused(tmp_path, "only one axis")


def test_objects_are_refused_by_name(tmp_path: Path) -> None:
    """An array of objects is refused without unpickling it, and so are records and bfloat16."""

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    np.savez(tmp_path / "a.npz", weight=np.ones((2, 2)), bad=np.array([Attack()], dtype=object))
    refused(tmp_path / "a.npz", r"bad\.npy: the elements are Python objects")
    assert not (tmp_path / "made").exists()
    np.savez(tmp_path / "b.npz", bad=np.zeros(2, dtype=[("a", "f4"), ("b", "f4")]))
    refused(tmp_path / "b.npz", r"bad\.npy: the elements are records")
    np.savez(tmp_path / "c.npz", bad=np.zeros(2, dtype="V2"))
    refused(tmp_path / "c.npz", "bfloat16")
    np.savez(tmp_path / "d.npz", bad=np.zeros(2, dtype=complex))
    refused(tmp_path / "d.npz", "save them as float32")


@pytest.mark.parametrize(
    "content",
    [
        header("'<f4'", "(2,)", body=b"\0" * 4),
        header("'<f4'", "(2,)", body=b"\0" * 12),
        header("'<f4'", "(4611686018427387904, 4611686018427387904)"),
        header("'<f4'", "(0, 4611686018427387904)"),
        header("'<f4'", "(0, 1000000000, 1000000000)"),
        header("'<f4'", "(-1, -1)", body=b"\0" * 4),
        header("'<f4'", "(True,)", body=b"\0" * 4),
        header("'<f4'", "[1]", body=b"\0" * 4),
        header("'<f4'", "(" + "1," * 65 + ")", body=b"\0" * 4),
        header("'<f4'", "(" * 5000),
        header("'<f4'", "(1,)", body=b"\0" * 4, fortran="1"),
        header("'<f3'", "(1,)", body=b"\0" * 3),
        header("'O'", "(1,)", body=b"cos\nsystem\n(S'true'\ntR."),
        header("__import__('os').getpid()", "(1,)", body=b"\0" * 4),
        b"\x93NUMPY\x09\x00\x00\x00" + b" " * 20,
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 20,
        b"\x93NUMPY",
        b"",
    ],
)
def test_lying_headers_are_refused(tmp_path: Path, content: bytes) -> None:
    """A header that is damaged, or declares another size than the array has, is refused."""
    refused(npz(tmp_path / "a.npz", {"a.npy": content}), r"a\.npy")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "a.npy").write_bytes(content)
    refused(tmp_path / "net", r"a\.npy")


def test_bombs_are_refused(tmp_path: Path) -> None:
    """Compressed arrays that would grow far beyond the file are refused before they are unpacked."""
    body = header("'<f4'", f"({1 << 25},)", body=b"\0" * (1 << 27))
    refused(npz(tmp_path / "a.npz", {"a.npy": body}, zipfile.ZIP_DEFLATED), "would grow to")
    body = header("'<f4'", f"({1 << 22},)", body=b"\0" * (1 << 24))
    many = {f"{number}.npy": body for number in range(6)}
    refused(npz(tmp_path / "b.npz", many, zipfile.ZIP_DEFLATED), "would grow to")


def test_strange_archives_are_refused(tmp_path: Path) -> None:
    """Other entries, other compression, two names that become one, and sparse matrices are refused."""
    good = header("'<f4'", "(1,)", body=b"\0" * 4)
    refused(npz(tmp_path / "a.npz", {"a.npy": good, "evil.py": b"1"}), "evil.py")
    refused(npz(tmp_path / "b.npz", {"a.npy": good}, zipfile.ZIP_LZMA), "compressed or encrypted")
    refused(npz(tmp_path / "c.npz", {"a/b.npy": good, "a.b.npy": good}), r"two arrays have the name 'a\.b'")
    refused(npz(tmp_path / "d.npz", {"/.npy": good}), "no name")
    refused(npz(tmp_path / "e.npz", {}), "no arrays")
    sparse = dict.fromkeys(("format.npy", "shape.npy", "data.npy", "indices.npy"), good)
    refused(npz(tmp_path / "f.npz", sparse), "sparse matrix")
    refused(
        npz(tmp_path / "g.npz", {"a.npy": header("'<i4'", "(1,)", body=b"\0" * 4)}),
        "has floating-point numbers",
    )


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    """An archive or array that is cut anywhere gives one line, and never wrong weights."""
    whole = io.BytesIO()
    np.savez(whole, weight=np.ones((3, 3), np.float32), bias=np.ones(3, np.float32))
    for cut in range(0, len(whole.getvalue()), 7):
        (tmp_path / "a.npz").write_bytes(whole.getvalue()[:cut])
        refused(tmp_path / "a.npz", "damaged archive")
    single = io.BytesIO()
    np.save(single, np.ones((3, 3), np.float32))
    (tmp_path / "net").mkdir()
    for cut in range(len(single.getvalue())):
        (tmp_path / "net" / "w.npy").write_bytes(single.getvalue()[:cut])
        refused(tmp_path / "net", r"w\.npy")


def test_damaged_bytes_give_only_file_errors(tmp_path: Path) -> None:
    """An archive with any byte changed is read or refused with one line, and nothing else escapes."""
    whole = io.BytesIO()
    np.savez_compressed(whole, weight=np.ones((3, 3), np.float32))
    content = whole.getvalue()
    for place in range(len(content)):
        (tmp_path / "a.npz").write_bytes(
            content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        )
        try:
            NumpyReader().read(tmp_path / "a.npz")
        except FileError as error:
            assert str(error).startswith(str(tmp_path))  # noqa: PT017  # some changes do no harm


def test_links_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    """A file or folder that is a link to a place outside is not read."""
    np.save(tmp_path / "secret.npy", np.ones((2, 2)))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "w.npy", np.ones((2, 2)))
    (tmp_path / "a" / "x.npy").symlink_to(tmp_path / "secret.npy")
    refused(tmp_path / "a", "leads out of")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    refused(tmp_path / "b", "must hold")
