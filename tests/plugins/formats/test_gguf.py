"""GGUF files: what is read, in which order of axes, when weights are dequantised, and what is refused."""

import struct
import tracemalloc

import numpy as np
import pytest
import torch
from sneframe_formats.gguf_header import ENTRIES, KINDS
from sneframe_formats.gguf_reader import GgufDequantisedReader, GgufReader
from torch import nn

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.errors import FileError
from sneframe.files import read_state_dict
from sneframe.files.network_reader import NetworkReader
from sneframe.files.reader import Candidate

gguf = pytest.importorskip("gguf")
READERS = (GgufReader(),)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5))


def written(path, tensors, *, kinds=None, metadata=lambda writer: None):
    """Write tensors with the package gguf. ``kinds`` gives the types of quantised tensors by name."""
    writer = gguf.GGUFWriter(path, "llama")
    metadata(writer)
    for name, tensor in tensors.items():
        kind = (kinds or {}).get(name)
        if tensor.dtype == torch.bfloat16:
            values = tensor.view(torch.int16).numpy().view(np.uint8)
            writer.add_tensor(name, values, raw_dtype=gguf.GGMLQuantizationType.BF16)
        elif kind is not None:
            kind = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read(path):
    return read_state_dict(path, readers=READERS)


# -- what is read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_float_weights_have_the_order_of_torch(net, tmp_path, dtype):
    """Names, order, axes, types and values are those of the state dict that was written."""
    state = {name: each.to(dtype) for name, each in net.state_dict().items()}
    found = read(written(tmp_path / "net.gguf", state))
    assert [*found.tensors] == [*state]
    for name, each in state.items():
        assert found.tensors[name].dtype == dtype
        assert torch.equal(found.tensors[name], each)


def test_the_shapes_are_those_of_the_gguf_reader(tmp_path):
    """Tensors with three and four axes have the axes and values that the package gguf reads."""
    state = {"a": torch.randn(2, 3, 5), "b": torch.randn(2, 3, 5, 7)}
    path = written(tmp_path / "net.gguf", state)
    found = read(path).tensors
    for each in gguf.GGUFReader(path).tensors:
        assert np.array_equal(found[each.name].numpy(), each.data)


def test_the_architecture_is_that_of_the_torch_twin(net, tmp_path):
    """The groups and actions are those that the code of the torch twin gives."""
    reader = NetworkReader(readers=plugins.readers(), activation="relu")
    found = reader.read(written(tmp_path / "net.gguf", net.state_dict()))
    described = reader.describe(found.tensors, content=found.content)
    twin = Architecture.from_module(net)
    assert [(each.size, each.actions) for each in described.groups] == [
        (each.size, each.actions) for each in twin.groups
    ]
    assert found.reader == "formats/gguf"


def test_scalars_of_the_metadata_become_properties(net, tmp_path):
    """Numbers, strings and booleans become properties. Arrays, long texts and the tokenizer do not."""

    def metadata(writer):
        writer.add_block_count(7)
        writer.add_context_length(2048)
        writer.add_layer_norm_rms_eps(0.5)
        writer.add_file_type(0)
        writer.add_causal_attention(False)
        writer.add_token_list([f"token {n}" for n in range(1000)])
        writer.add_array("llama.sizes", [1, 2, 3])
        writer.add_array("llama.nested", ["a", "b"])
        writer.add_bos_token_id(1)
        writer.add_string("general.description", "x" * 2000)

    found = read(written(tmp_path / "net.gguf", net.state_dict(), metadata=metadata))
    properties = dict(found.content.properties)
    assert properties == {
        "general.architecture": "llama",
        "llama.block_count": 7,
        "llama.context_length": 2048,
        "llama.attention.layer_norm_rms_epsilon": 0.5,
        "general.file_type": 0,
        "llama.attention.causal": False,
    }


def test_another_alignment_is_followed(net, tmp_path):
    """The data of the tensors begins where the alignment in the header says."""
    path = written(
        tmp_path / "net.gguf", net.state_dict(), metadata=lambda writer: writer.add_custom_alignment(256)
    )
    assert torch.equal(read(path).tensors["2.weight"], net[2].weight)


def test_files_are_recognised_by_their_first_bytes(net, tmp_path):
    """The content decides, whatever the ending. The dequantising reader is asked last."""
    path = written(tmp_path / "net.bin", net.state_dict())
    assert GgufReader().recognises(Candidate(path))
    assert GgufDequantisedReader().recognises(Candidate(path))
    for name in ("net.bin", "net.gguf"):
        path = written(tmp_path / name, net.state_dict())
        assert read_state_dict(path, readers=plugins.readers()).reader == "formats/gguf"


# -- quantised weights -------------------------------------------------------------------------------------


def test_quantised_weights_are_refused_with_a_way_out(net, tmp_path):
    """The error names the types, the part of the weights, and what to do."""
    state = net.state_dict()
    path = written(tmp_path / "net.gguf", state, kinds={"0.weight": "Q8_0", "2.weight": "Q4_0"})
    with pytest.raises(FileError) as error:
        read(path)
    part = (64 * 32 + 32 * 5) / sum(each.numel() for each in state.values())
    assert str(error.value) == (
        f"{path}: {part:.2%} of the weights are quantised (Q8_0, Q4_0); use the network before "
        "quantisation, or read the rounded weights with --reader formats/gguf-dequantised"
    )


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_quantised_weights_are_dequantised_on_request(net, tmp_path, kind):
    """The dequantising reader returns the values of the package gguf as float32, and a note says so."""
    state = net.state_dict()
    path = written(tmp_path / "net.gguf", state, kinds={"0.weight": kind})
    content = GgufDequantisedReader().read(path)
    number = gguf.GGMLQuantizationType[kind]
    wanted = gguf.quants.dequantize(gguf.quants.quantize(state["0.weight"].numpy(), number), number)
    assert np.array_equal(content.values["0.weight"].numpy(), wanted)
    assert torch.equal(content.values["0.bias"], state["0.bias"])
    assert (content.values["0.weight"] - state["0.weight"]).abs().max() < 0.05
    assert content.notes[0] == f"1 tensor with rounded weights dequantised ({kind})"


BLOCKS = [(number, kind) for number, kind in KINDS.items() if kind.block > 1]


@pytest.mark.parametrize(("number", "kind"), BLOCKS, ids=[kind.name for _, kind in BLOCKS])
def test_each_quantised_type_is_dequantised_or_refused(tmp_path, number, kind):
    """A type is dequantised as by the package gguf, or refused by its name."""
    blocks = np.random.default_rng(0).integers(0, 60, (3, 2 * kind.size), dtype=np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "net.gguf", "llama")
    writer.add_tensor("w", blocks, raw_dtype=gguf.GGMLQuantizationType(number))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if kind.name in ("NVFP4", "Q8_1", "Q8_K", "Q1_0"):
        with pytest.raises(FileError, match=f"'w' has the type {kind.name}, which cannot be dequantised"):
            GgufDequantisedReader().read(tmp_path / "net.gguf")
        return
    found = GgufDequantisedReader().read(tmp_path / "net.gguf").values["w"]
    assert found.shape == (3, 2 * kind.block)
    assert np.array_equal(
        found.numpy(), gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(number)), equal_nan=True
    )


def test_the_types_are_those_of_the_package_gguf():
    """Names, block sizes and byte counts agree with the package gguf."""
    for number, kind in KINDS.items():
        own = gguf.GGMLQuantizationType(number)
        assert own.name == kind.name
        assert gguf.GGML_QUANT_SIZES[own] == (kind.block, kind.size)


# -- what is refused ---------------------------------------------------------------------------------------


def text(value):
    return struct.pack("<Q", len(value)) + value


def header(*, version=3, tensors=0, entries=0, rest=b""):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + rest


def tensor(name=b"w", dims=(4,), kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims) + struct.pack("<IQ", kind, offset)


ONE = header(tensors=1, rest=tensor() + bytes(200))
ARRAYS = b"".join(struct.pack("<IQ", 9, 1) for _ in range(100_000))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (header(version=1), "the GGUF version must be 2 or 3, but got 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (header(tensors=2**63), f"at most {ENTRIES} are allowed"),
        (header(entries=2**63), f"at most {ENTRIES} are allowed"),
        (header(tensors=1000), "1000 entries, more than the file can hold"),
        (header(entries=1, rest=struct.pack("<Q", 2**62) + bytes(50)), "a name has"),
        (header(entries=1, rest=text(b"a") + struct.pack("<IQ", 8, 2**62)), "declares 4611686018427387904"),
        (header(entries=1, rest=text(b"a") + struct.pack("<IIQ", 9, 8, 2**40)), "more than"),
        (header(entries=1, rest=text(b"a") + struct.pack("<IIQ", 9, 0, 2**40)), "declares 1099511627776"),
        (header(entries=1, rest=text(b"a") + struct.pack("<I", 9) + ARRAYS), "nested more than 4 levels"),
        (header(entries=1, rest=text(b"a") + struct.pack("<I", 77) + bytes(9)), "type 77 is unknown"),
        (header(entries=1, rest=text(b"\xff") + bytes(9)), "a string is not UTF-8"),
        (
            header(entries=2, rest=(text(b"a") + struct.pack("<IB", 0, 1)) * 2 + bytes(9)),
            "'a' occurs twice",
        ),
        (
            header(entries=1, rest=text(b"general.alignment") + struct.pack("<II", 4, 3) + bytes(64)),
            "the alignment must be a power of two, but got 3",
        ),
        (header(tensors=2, rest=tensor() * 2 + bytes(200)), "'w' occurs twice"),
        (header(tensors=1, rest=tensor(kind=4) + bytes(200)), "the type 4, which is unknown"),
        (header(tensors=1, rest=tensor(dims=(1,) * 5) + bytes(200)), "has 5 axes"),
        (header(tensors=1, rest=tensor(dims=(2**40, 2**40)) + bytes(200)), "too large"),
        (header(tensors=1, rest=tensor(dims=(2**40,)) + bytes(200)), "ends at byte"),
        (header(tensors=1, rest=tensor(offset=2**63) + bytes(200)), "ends at byte"),
        (
            header(tensors=1, rest=tensor(dims=(33,), kind=2) + bytes(200)),
            "must be a multiple of 32 for the type Q4_0",
        ),
        (
            header(tensors=9, rest=b"".join(tensor(b"%d" % n, (64,)) for n in range(9)) + bytes(300)),
            "the tensors would take 2304 bytes",
        ),
        (header(entries=0, rest=bytes(64)), "holds no named tensors"),
        (
            header(tensors=0, entries=1, rest=text(b"split.count") + struct.pack("<IH", 2, 3) + bytes(9)),
            "one of 3 parts of a network; join the parts",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_hostile_header_gives_one_error(tmp_path, content, why):
    """A header that lies about counts, sizes or places gives one line in little memory."""
    path = tmp_path / "net.gguf"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(FileError) as error:
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert why in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).count(str(path)) == 1
    assert peak < 64 << 20


def test_every_truncated_file_is_refused(net, tmp_path):
    """A file that is cut off anywhere in the header, or in the data, gives one error with its path."""
    whole = written(tmp_path / "whole.gguf", net.state_dict()).read_bytes()
    path = tmp_path / "net.gguf"
    for size in (*range(1, 450), *range(450, len(whole) - 32, 97)):
        path.write_bytes(whole[:size])
        with pytest.raises(FileError, match="damaged") as error:
            GgufReader().read(path)
        assert str(error.value).startswith(f"{path}: ")


def test_changed_bytes_raise_nothing_but_file_errors(tmp_path):
    """Whatever one byte of the header is changed to, the file is read or gives a FileError."""
    metadata = text(b"a") + struct.pack("<IIQ", 9, 8, 1) + text(b"b")
    whole = header(tensors=1, entries=1, rest=metadata + tensor(dims=(32,), kind=2) + bytes(90))
    path = tmp_path / "net.gguf"
    for place in range(len(whole) - 60):
        for value in (0x00, 0x01, 0x02, 0x08, 0x09, 0x1E, 0x20, 0x7F, 0x80, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            for reader in (GgufReader(), GgufDequantisedReader()):
                try:
                    reader.read(path)
                except FileError as error:
                    assert str(error).startswith(f"{path}: ")  # noqa: PT017
