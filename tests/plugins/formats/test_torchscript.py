from __future__ import annotations

import io
import os
import pickle
import resource
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from sneframe_formats.torchscript_reader import TorchScriptReader
from torch import Tensor, nn

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.errors import FileError
from sneframe.files.network_reader import NetworkReader
from sneframe.files.recognise import reader_of
from sneframe.files.state_dict import read_state_dict


class Tied(nn.Module):
    """A network with tied weights, and tensors that are no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.ones(4))
        self.table = {"q": torch.ones(2)}
        self.plain = torch.ones(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) * self.scale + self.table["q"].sum() + self.plain.sum()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).eval()


def cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
    ).eval()


NETWORKS = {
    "mlp": (mlp, (1, 3)),
    "cnn": (cnn, (1, 3, 8, 8)),
    "tied": (Tied, (1, 4)),
}


def save(module: nn.Module, path: Path, how: str, shape: tuple[int, ...] = ()) -> None:
    dtype = next(module.parameters()).dtype
    made = (
        torch.jit.script(module) if how == "script" else torch.jit.trace(module, torch.ones(shape).to(dtype))
    )
    torch.jit.save(made, path)


def same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def refused(path: Path, match: str = "damaged|missing|not a") -> None:
    with pytest.raises(FileError, match=match) as error:
        TorchScriptReader().read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Copy an archive, with the content of each entry changed, or without the entry."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            if (content := change(info.filename, old.read(info))) is not None:
                new.writestr(info.filename, content, compress_type=info.compress_type)
    return target


@pytest.fixture
def scripted(tmp_path: Path) -> Path:
    """A scripted network."""
    save(mlp(), tmp_path / "a.pt", "script")
    return tmp_path / "a.pt"


@pytest.mark.parametrize("how", ["script", "trace"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_weights_are_those_of_the_state_dict(
    tmp_path: Path, how: str, network: str, dtype: torch.dtype
) -> None:
    """A scripted or traced network gives the names and tensors of its state dict."""
    make, shape = NETWORKS[network]
    module = make().to(dtype)
    save(module, tmp_path / "a.pt", how, shape)
    found = read_state_dict(tmp_path / "a.pt", readers=plugins.readers())
    assert found.reader == "formats/torchscript"
    same(found.tensors, module.state_dict())


def test_half_precision_is_read(tmp_path: Path) -> None:
    """Tensors of half precision keep their type."""
    module = mlp().half()
    save(module, tmp_path / "a.jit", "script")
    same(TorchScriptReader().read(tmp_path / "a.jit").values, module.state_dict())


def test_the_architecture_is_that_of_the_state_dict(tmp_path: Path) -> None:
    """A TorchScript archive and a state dict of one network have the same architecture."""
    module = mlp()
    save(module, tmp_path / "a.pt", "script")
    torch.save(module.state_dict(), tmp_path / "b.pt")
    reader = NetworkReader(readers=plugins.readers(), activation="relu", trust_names=True)
    described = reader.describe(reader.weights(tmp_path / "a.pt"))
    assert described == reader.describe(reader.weights(tmp_path / "b.pt"))
    own = Architecture.from_module(module, torch.zeros(1, 3))
    assert [group.size for group in described.groups] == [group.size for group in own.groups]


def test_tied_weights_are_one_tensor(tmp_path: Path) -> None:
    """Tied weights have both names and share their memory."""
    save(Tied(), tmp_path / "a.pt", "script")
    found = TorchScriptReader().read(tmp_path / "a.pt").values
    assert found["first.weight"] is found["second.weight"]


def test_tensors_that_are_no_weights_are_noted(tmp_path: Path) -> None:
    """Tensors that are neither parameters nor buffers are left out, and a note names them."""
    save(Tied(), tmp_path / "a.pt", "script")
    notes = TorchScriptReader().read(tmp_path / "a.pt").notes
    assert len(notes) == 1
    assert "'table'" in notes[0]
    assert "'plain'" in notes[0]


def test_a_frozen_module_gives_its_constants(tmp_path: Path) -> None:
    """The weights of a frozen module are named by their numbers in the graph, and a note says so."""
    module = mlp()
    torch.jit.save(torch.jit.freeze(torch.jit.script(module)), tmp_path / "a.pt")
    content = TorchScriptReader().read(tmp_path / "a.pt")
    assert all(name.startswith("CONSTANTS.c") for name in content.values)
    for value in module.state_dict().values():
        assert any(torch.equal(value, each) for each in content.values.values())
    assert len(content.values) == len(module.state_dict())
    assert any("frozen" in note for note in content.notes)


def test_constants_beside_weights_are_noted(tmp_path: Path) -> None:
    """Constants of a traced graph are left out beside named weights, and a note counts them."""
    shift = torch.ones(5)

    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + shift

    save(Shifted(), tmp_path / "a.pt", "trace", (1, 3))
    content = TorchScriptReader().read(tmp_path / "a.pt")
    assert list(content.values) == ["layer.weight", "layer.bias"]
    assert any("1 constant of the graph left out" in note for note in content.notes)


def test_a_change_of_a_tensor_stays_in_memory(scripted: Path) -> None:
    """Tensors are mapped from the file, and a change of a tensor does not change the file."""
    before = scripted.read_bytes()
    TorchScriptReader().read(scripted).values["0.weight"].zero_()
    assert scripted.read_bytes() == before


@pytest.mark.filterwarnings("ignore")  # quantisation is deprecated in torch
def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    """Quantised weights are refused, because the network without them would be another one."""
    module = torch.ao.quantization.quantize_dynamic(mlp(), {nn.Linear})
    torch.jit.save(torch.jit.script(module), tmp_path / "a.pt")
    refused(tmp_path / "a.pt", "holds quantised weights|the C[+][+] object")


def test_a_module_without_weights_is_refused(tmp_path: Path) -> None:
    """A module without weights is refused."""
    save_path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(nn.ReLU()), save_path)
    refused(save_path, "holds no weights")


def test_code_is_never_run(scripted: Path, tmp_path: Path) -> None:
    """Code with calls of the system is not run, and does not keep the weights from being read."""
    made = tmp_path / "made"
    attack = f"import os\nos.mkdir({str(made)!r})\n".encode()
    path = rewritten(
        scripted, tmp_path / "b.pt", lambda name, old: attack + old if name.endswith(".py") else old
    )
    assert list(TorchScriptReader().read(path).values) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert not made.exists()


class _Attack:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("pickled", ["data", "constants"])
def test_pickled_calls_are_refused(scripted: Path, tmp_path: Path, pickled: str) -> None:
    """A pickle that names a function of the system is refused, and the function is not called."""
    attack = pickle.dumps(_Attack(str(tmp_path / "made")), protocol=2)
    path = rewritten(
        scripted, tmp_path / "b.pt", lambda name, old: attack if name.endswith(f"/{pickled}.pkl") else old
    )
    refused(path, "objects are never loaded")
    assert not (tmp_path / "made").exists()


def module(attributes: bytes) -> bytes:
    """Return the pickle of a module with these pickled names and values."""
    return b"\x80\x02c__torch__\nM\n)\x81}(" + attributes + b"ub."


def word(text: str) -> bytes:
    return b"X" + len(text.encode()).to_bytes(4, "little") + text.encode()


def storage(key: str, numel: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """Return the pickle of a tensor."""

    def number(value: int) -> bytes:
        return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)

    sizes = b"(" + b"".join(map(number, shape)) + b"t(" + b"".join(map(number, stride)) + b"t"
    stored = (
        b"(" + word("storage") + b"ctorch\nFloatStorage\n" + word(key) + word("cpu") + number(numel) + b"tQ"
    )
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + number(offset) + sizes + b"\x89ccollections\n"
        b"OrderedDict\n)RtR"
    )


NEST = b"c__torch__\nM\n)\x81}(" + word("a")  #: the start of a module with an attribute
TENSOR = storage("0", 15, (5, 3), (3, 1))
#: A module whose lists hold ten times the list before, 10^60 elements in all.
LAUGHS = module(
    word("a")
    + b"]q\x00"
    + b"".join(
        word(f"n{level}") + b"](" + (b"h" + bytes([level])) * 10 + b"eq" + bytes([level + 1])
        for level in range(60)
    )
)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "damaged"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x02N.", "holds no module"),
        (b"\x80\x04N.", "holds no module"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b"N.", "instruction FRAME"),
        (b"\x80\x02I1\n.", "instruction INT"),
        (b"\x80\x02]r\xff\xff\xff\xff.", "damaged"),
        (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "holds no module"),
        (b"\x80\x02" + NEST * 50_000 + b"N" + b"ub" * 50_000 + b".", "nested more than"),
        (b"\x80\x02" + NEST * 150_000 + b"N" + b"ub" * 150_000 + b".", "names 150000 classes"),
        (LAUGHS, "more than 1000000 attributes"),
        (b"\x80\x02c__torch__\nM\n)\x81q\x00}" + word("a") + b"h\x00sb.", "nested more than"),
        (module(word("a.b") + TENSOR), "an attribute with the invalid name 'a.b'"),
        (module(b"K\x01" + TENSOR), "an attribute with the invalid name 1"),
        (module(word("w") + storage("0", 15, (5, 3), (3, 1), offset=1)), "does not fit into its storage"),
        (
            module(word("w") + storage("0", 15, (5, 3), (3, 1), offset=-1)),
            "damaged|does not fit into its storage",
        ),
        (module(word("w") + storage("0", 15, (-5, -3), (3, 1))), "damaged|does not fit into its storage"),
        (module(word("w") + storage("0", 15, (5, 3), (-3, -1))), "damaged|does not fit into its storage"),
        (module(word("w") + storage("0", 15, (2**40, 2**40), (0, 0))), "the tensors would take"),
        (module(word("w") + storage("0", 15, (2**17,), (0,))), "would take"),
        (module(word("w") + storage("9", 15, (5, 3), (3, 1))), "damaged"),
        (module(word("w") + storage("../../0", 15, (5, 3), (3, 1))), "damaged"),
        (module(word("w") + storage("0", 15, (5, 3), (3,))), "damaged|does not fit"),
        (module(word("w") + TENSOR.replace(b"FloatSt", b"ComplexFloatSt")), "damaged"),
        (module(word("w") + TENSOR.replace(b"tensor_v2", b"qtensor")), "quantised"),
        (module(word("w") + TENSOR.replace(b"tensor_v2", b"sparse_tensor")), "_rebuild_sparse_tensor builds"),
        (module(word("w") + b"c__torch__.torch.classes.a\nB\n)\x81"), "the C[+][+] object"),
    ],
    ids=range(27),
)
def test_hostile_pickles_are_refused(scripted: Path, tmp_path: Path, content: bytes, match: str) -> None:
    """A pickle that nests deep, repeats, lies about sizes or misses storages is refused in little memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = rewritten(
        scripted, tmp_path / "b.pt", lambda name, old: content if name.endswith("/data.pkl") else old
    )
    refused(path, match)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_bombs_are_refused(scripted: Path, tmp_path: Path) -> None:
    """Code that would grow far beyond the file is refused before it is unpacked, and so are pickles."""
    with zipfile.ZipFile(scripted, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/code/__torch__/bomb.py", b" " * (1 << 27))
    refused(scripted, "would grow to")
    path = rewritten(scripted, tmp_path / "b.pt", lambda name, old: None if name.endswith("bomb.py") else old)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data/99", b"\0" * (1 << 20))
    refused(path, "compressed entries")


def test_strange_archives_are_refused(scripted: Path, tmp_path: Path) -> None:
    """An archive of another byte order, without data or with one entry twice is refused."""
    path = tmp_path / "b.pt"
    rewritten(scripted, path, lambda name, old: b"big" if name.endswith("/byteorder") else old)
    refused(path, "byte order")
    rewritten(scripted, path, lambda name, old: None if name.endswith("/data.pkl") else old)
    refused(path, r"data\.pkl or the code is missing")
    rewritten(scripted, path, lambda name, old: None if "/data/" in name else old)
    refused(path, "damaged")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(scripted, "a") as archive:
        archive.writestr("a/data.pkl", b"")
    refused(scripted, "two entries have the same name")


def test_every_truncation_is_refused(scripted: Path) -> None:
    """An archive that is cut anywhere is refused with one line."""
    content = scripted.read_bytes()
    for cut in range(0, len(content), 97):
        scripted.write_bytes(content[:cut])
        refused(scripted)


def test_every_cut_of_the_pickle_is_refused(scripted: Path, tmp_path: Path) -> None:
    """A pickle that is cut anywhere is refused with one line."""
    with zipfile.ZipFile(scripted) as archive:
        size = len(archive.read("a/data.pkl"))
    for cut in range(0, size, 13):
        path = rewritten(
            scripted,
            tmp_path / "b.pt",
            lambda name, old, cut=cut: old[:cut] if name.endswith("/data.pkl") else old,  # type: ignore[misc]
        )
        refused(path)


def test_damaged_bytes_give_only_file_errors(scripted: Path) -> None:
    """An archive with any byte changed is read or refused with one line, and nothing else escapes."""
    content = scripted.read_bytes()
    for place in range(0, len(content), 7):
        scripted.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            TorchScriptReader().read(scripted)
        except FileError as error:
            assert str(error).startswith(str(scripted))  # noqa: PT017  # some changes do no harm


def test_state_dicts_go_to_the_reader_of_torch(tmp_path: Path) -> None:
    """An archive without code is read by the reader of torch, as before."""
    whole = io.BytesIO()
    torch.save(mlp().state_dict(), whole)
    (tmp_path / "a.pt").write_bytes(whole.getvalue())
    assert reader_of(tmp_path / "a.pt", plugins.readers()).name == "sneframe/torch"
    refused(tmp_path / "a.pt", "not a TorchScript archive")
