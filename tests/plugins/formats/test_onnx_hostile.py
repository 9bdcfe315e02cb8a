"""Hostile and damaged ONNX files give one error of one line, and take no memory."""

import resource
import time
from itertools import pairwise

import numpy as np
import pytest
import torch

from sneframe.errors import FileError
from sneframe.files.state_dict import read_state_dict

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from sneframe_formats.onnx_reader import OnnxReader  # noqa: E402


def weight(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(nodes=None, weights=None, inputs=None):
    """Return a small model."""
    weights = {"fc.weight": weight(6, 4), "fc.bias": weight(6)} if weights is None else weights
    nodes = nodes or [helper.make_node("Gemm", ["x", "fc.weight", "fc.bias"], ["y"], transB=1)]
    graph = helper.make_graph(
        nodes,
        "g",
        inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 20)])


def saved(made, path):
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


def refused(path, *words):
    """Check that a file is refused with one line that begins with the path, quickly and in little memory."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(FileError) as caught:
        OnnxReader().read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 600
    for word in words:
        assert word in message
    assert time.monotonic() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # in KiB


def left_out(path, word):
    """Check that the weights of a file are read, but that its graph is not followed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content = OnnxReader().read(path)
    assert content.module is None
    assert not content.guess
    assert word in content.notes[-1]
    assert "\n" not in content.notes[-1]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000


def outside(path, **entries):
    """Return a model whose weight is in another file."""
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return saved(made, path)


def test_data_in_another_file_is_read(tmp_path):
    """The other file is in the folder of the model, and an offset is heeded."""
    w = weight(6, 4)
    (tmp_path / "w.bin").write_bytes(b"\0" * 8 + w.tobytes())
    path = outside(tmp_path / "a.onnx", offset="8", length=str(w.nbytes))
    assert torch.equal(OnnxReader().read(path).values["fc.weight"], torch.from_numpy(w))


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"location": "../w.bin"}, "leads out"),
        ({"location": "/etc/passwd"}, "leads out"),
        ({"location": ""}, "does not name the file"),
        ({"location": "none.bin"}, "no such file"),
        ({"location": "a\0b"}, "null"),
        ({"location": "x\ny"}, "no such file"),
        ({"location": "w" * 5000}, "name"),
        ({"location": "."}, "not a file"),
        ({"location": "loop"}, ""),
        ({"location": "out"}, "leads out"),
        ({"offset": "-8"}, "offset"),
        ({"length": "-8"}, "length"),
        ({"length": "1e3"}, "length"),
        ({"length": "4"}, "4 bytes in w.bin"),
        ({"offset": "1"}, "after the end"),
        ({"offset": "9" * 18}, "after the end"),
        ({"offset": "9" * 5000}, "offset"),
        ({"offset": "٣"}, "offset"),
    ],
)
def test_a_false_place_of_data_is_refused(entries, word, tmp_path):
    """Data must be in a file of the model's folder, between its beginning and its end."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(weight(6, 4).tobytes())
    (folder / "w.bin").write_bytes(weight(6, 4).tobytes())
    (folder / "loop").symlink_to("loop")
    (folder / "out").symlink_to("../w.bin")
    path = outside(folder / "a.onnx", **entries)
    before = str(path)
    with pytest.raises(FileError) as caught:
        OnnxReader().read(path)
    message = str(caught.value)
    assert message.startswith(f"{before}: ")
    assert "\n" not in message
    assert word in message


def test_many_tensors_of_one_range_are_refused(tmp_path):
    """Tensors that share the bytes of another file cannot claim many times the bytes of all files."""
    (tmp_path / "w.bin").write_bytes(bytes(400_000))
    made = model()
    for number in range(40):
        tensor = made.graph.initializer.add()
        tensor.name, tensor.data_type, tensor.data_location = f"w{number}", 1, TensorProto.EXTERNAL
        tensor.dims.append(100_000)
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "w.bin"
    refused(saved(made, tmp_path / "a.onnx"), "the tensors would take")


@pytest.mark.parametrize(
    "dims", [[-6, -4], [6, 5], [10**9, 10**9], [2**62, 2**62], [1] * 40, [0, 2**60], [24], [], [6, -1]]
)
def test_a_false_shape_is_refused(dims, tmp_path):
    """The shape of a tensor must be possible, and fit its bytes and its layer."""
    made = model()
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend(dims)
    path = saved(made, tmp_path / "a.onnx")
    if dims == [24]:  # a possible shape, with which the layer cannot be computed
        left_out(path, "Gemm")
    else:
        refused(path, "'fc.weight'")


def test_a_false_number_of_values_is_refused(tmp_path):
    """A tensor with a list of values must have as many as its shape says, and they must fit its type."""
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0] * 23)
    refused(saved(made, tmp_path / "a.onnx"), "23 values")
    tensor.ClearField("float_data")
    tensor.data_type = TensorProto.INT8
    tensor.int32_data.extend([1000] * 24)
    refused(saved(made, tmp_path / "a.onnx"), "cannot hold")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT8E4M3FN, TensorProto.INT4, TensorProto.COMPLEX64, 99, 0])
def test_a_type_that_is_not_read_is_named(kind, tmp_path):
    """Types of four and eight bits, complex numbers and unknown types are refused."""
    made = model()
    made.graph.initializer[0].data_type = kind
    refused(saved(made, tmp_path / "a.onnx"), "tensors of this type are not read")


def test_quantised_weights_are_refused(tmp_path):
    """A network whose weights are integers is refused, with what to do."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    weights = {"q": np.ones((4, 6), np.int8), "scale": np.float32(0.1), "other.weight": weight(3, 3)}
    refused(saved(model(nodes, weights), tmp_path / "a.onnx"), "quantised", "floating point")


def test_a_model_without_weights_is_refused(tmp_path):
    """A graph without weights is no network."""
    path = saved(model([helper.make_node("Relu", ["x"], ["y"])], {}), tmp_path / "a.onnx")
    refused(path, "holds no weights")


def test_two_tensors_of_one_name_are_refused(tmp_path):
    """It would be unclear which of the tensors is meant."""
    made = model()
    made.graph.initializer.add().CopyFrom(made.graph.initializer[0])
    refused(saved(made, tmp_path / "a.onnx"), "two tensors")


def test_a_cycle_is_refused(tmp_path):
    """A node must read what earlier nodes compute."""
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]
    refused(saved(model(nodes), tmp_path / "a.onnx"), "which no earlier node computes")
    nodes = [helper.make_node("Gemm", ["y", "fc.weight", "fc.bias"], ["y"], transB=1)]
    refused(saved(model(nodes), tmp_path / "a.onnx"), "which no earlier node computes")
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y"])]
    refused(saved(model(nodes), tmp_path / "a.onnx"), "computed twice")


def field(number, data):
    """Return the bytes of a field that holds bytes."""
    size, length = len(data), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


@pytest.mark.parametrize("depth", [40, 10_000])
def test_nested_graphs_are_refused(depth, tmp_path):
    """Graphs within graphs are read to a depth that no real model has."""
    inner = b""
    for _ in range(depth):
        inner = field(1, field(5, field(6, inner) + b"\xa0\x01\x05") + field(4, b"If"))
    refused(saved(b"\x08\x08" + field(7, inner), tmp_path / "a.onnx"), "levels deep")


def test_many_empty_parts_are_refused(tmp_path):
    """Two bytes can stand for an empty node, so the parts are counted before they are parsed."""
    refused(saved(b"\x08\x08" + field(7, b"\x0a\x00" * 4_000_000), tmp_path / "a.onnx"), "parts")


def test_truncated_files_are_refused(tmp_path):
    """A file that ends early is refused, or its weights are whole."""
    data = model().SerializeToString()
    whole = OnnxReader().read(saved(data, tmp_path / "whole.onnx")).values
    path = tmp_path / "a.onnx"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        try:
            found = OnnxReader().read(path).values
        except FileError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert found.keys() == whole.keys()
            assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_changed_bytes_never_escape_as_other_errors(tmp_path):
    """A file with random changes is read, or refused with one line."""
    nodes = [
        helper.make_node("Conv", ["x", "c.weight"], ["h"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Flatten", ["h"], ["f"]),
        helper.make_node("Clip", ["f", "low"], ["g"]),
        helper.make_node("Gemm", ["g", "fc.weight"], ["r"], alpha=0.5, transB=1),
        helper.make_node("Reshape", ["r", "shape"], ["y"]),
    ]
    weights = {
        "c.weight": weight(3, 2, 3, 3), "fc.weight": weight(4, 12), "low": np.float32(0),
        "shape": np.array([2, 4]),
    }  # fmt: skip
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2, 4, 4])]
    data = model(nodes, weights, inputs).SerializeToString()
    assert OnnxReader().read(saved(data, tmp_path / "a.onnx")).module is not None
    rng = np.random.default_rng(0)
    path = tmp_path / "b.onnx"
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(changed)
        try:
            content = OnnxReader().read(path)
            assert all("\n" not in note for note in content.notes)
        except FileError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017


# -- graphs that would take memory or time -------------------------------------------------------------------


def i64(*numbers):
    return np.array(numbers, np.int64)


def after(nodes, **constants):
    """Return a model that computes further nodes from ``h`` after a linear layer."""
    first = helper.make_node("Gemm", ["x", "fc.weight", "fc.bias"], ["h"], transB=1)
    return model([first, *nodes], {"fc.weight": weight(6, 4), "fc.bias": weight(6), **constants})


@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("Expand", {"s": i64(10**6, 10**6, 2, 6)}, {}),
        ("Tile", {"s": i64(10**5, 10**5)}, {}),
        ("Tile", {"s": i64(2**62, 2**62)}, {}),
        ("Pad", {"s": i64(0, 0, 10**6, 10**6)}, {}),
        ("Unsqueeze", {"s": np.arange(10**5)}, {}),
        ("Reshape", {"s": i64(-1, -1)}, {}),
        ("Split", {}, {"num_outputs": 10**9}),
        ("Split", {}, {"num_outputs": 0}),
        ("Gather", {"s": np.zeros((10**5,), np.int64)}, {"axis": 7}),
        ("Transpose", {}, {"perm": [0, 0]}),
        ("Concat", {}, {}),
        ("Softmax", {}, {"axis": "x"}),
        ("Einsum", {}, {"equation": "ab->" + "ab" * 50}),
    ],
)
def test_a_graph_that_cannot_be_computed_is_left_out(op, constants, attributes, tmp_path):
    """A graph with false or huge shapes gives weights without a module, and takes no memory."""
    path = saved(
        after([helper.make_node(op, ["h", *constants], ["y"], **attributes)], **constants), tmp_path / "a"
    )
    left_out(path, op)


def test_a_constant_of_a_huge_shape_is_left_out(tmp_path):
    """A constant or a range is not made before its size is known."""
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["h", "c"], ["y"])]
    left_out(saved(after(nodes, s=i64(10**5, 10**5, 1, 1)), tmp_path / "a.onnx"), "ConstantOfShape")
    nodes = [helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("Gather", ["h", "r"], ["y"])]
    constants = {"a": np.array(0), "b": np.array(10**12), "c": np.array(1)}
    left_out(saved(after(nodes, **constants), tmp_path / "a.onnx"), "Range")


def test_repeated_doubling_is_left_out(tmp_path):
    """Forty nodes that each double a tensor are not computed."""
    names = ["h", *(f"d{at}" for at in range(39)), "y"]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)]
    left_out(saved(after(nodes), tmp_path / "a.onnx"), "Concat")


@pytest.mark.parametrize("shape", [[10**6, 10**6], [0, 4], [-2, 4], [2] * 40])
def test_a_false_input_is_left_out(shape, tmp_path):
    """No example is made for an input with an impossible or huge shape."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    left_out(saved(model(inputs=inputs), tmp_path / "a.onnx"), "'x'")


def test_names_of_any_kind_are_read(tmp_path):
    """The names of tensors may be those of attributes, beginnings of each other, or long, or no words."""
    names = [
        "forward",
        "a",
        "a.b",
        "a.b.weight",
        "training",
        "x" * 5000,
        "é.\n.🙂",
        "..",
        "_parameters.x",
        "a/b",
    ]
    nodes, last = [], "x"
    for at, name in enumerate(names):
        out = "y" if at == len(names) - 1 else f"v{at}"
        nodes.append(helper.make_node("MatMul", [last, name], [out]))
        last = out
    path = saved(
        model(nodes, {name: weight(4, 4, seed=at) for at, name in enumerate(names)}), tmp_path / "a.onnx"
    )
    found = read_state_dict(path, readers=[OnnxReader()])
    assert len(found.tensors) == len(names)
    module, example = found.content.module()
    assert module.state_dict().keys() == found.tensors.keys()
    wanted = example[0]
    for at in range(len(names)):
        wanted = wanted @ torch.from_numpy(weight(4, 4, seed=at))
    torch.testing.assert_close(module(*example), wanted)
