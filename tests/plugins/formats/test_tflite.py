"""TFLite files: weights in torch's order, the architecture of the graph, and what is refused."""

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sneframe_formats.tflite_reader import TfliteReader
from torch import nn

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError, FileError
from sneframe.files import read_state_dict
from sneframe.files.network_reader import NetworkReader
from sneframe.files.reader import Candidate

flatbuffers = pytest.importorskip("flatbuffers")
tflite = pytest.importorskip("tflite")
Writer = pytest.importorskip("tflite_writer").Writer
READERS = (TfliteReader(),)
RELU, NONE = tflite.ActivationFunctionType.RELU, tflite.ActivationFunctionType.NONE
SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID


class Twin(nn.Module):
    """The torch twin of the network of :func:`convolutional`, with the channels last at both ends."""

    def __init__(self):
        super().__init__()
        self.conv_2d_0 = nn.Conv2d(3, 6, 3, 2)
        self.depthwise_conv_2d_1 = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.conv_2d_2 = nn.Conv2d(6, 5, 1)
        self.fully_connected_3 = nn.Linear(5 * 4, 7)
        self.fully_connected_4 = nn.Linear(7, 2)

    def forward(self, images):
        maps = self.conv_2d_0(F.pad(images.permute(0, 3, 1, 2), (0, 1, 0, 1))).relu()
        maps = F.max_pool2d(self.conv_2d_2(self.depthwise_conv_2d_1(maps).relu()).relu(), 2)
        hidden = self.fully_connected_3(maps.permute(0, 2, 3, 1).flatten(1)).tanh()
        return self.fully_connected_4(hidden).softmax(-1)


@pytest.fixture
def twin():
    torch.manual_seed(0)
    return Twin()


def kernel(layer, *axes):
    value = layer.weight.detach()
    return (value.permute(axes) if axes else value).contiguous().numpy()


def convolutional(path, twin, *, half=False, then=None):
    """Write the network of the twin. ``half``: weights are float16 constants with a conversion each."""
    writer = Writer()

    def constant(values):
        if not half:
            return writer.tensor((), values)
        stored = writer.tensor((), values.astype(np.float16))
        return writer.operator("DEQUANTIZE", [stored], writer.tensor(values.shape))

    def weights(layer, *axes):
        return constant(kernel(layer, *axes)), constant(layer.bias.detach().numpy())

    x = source = writer.tensor((1, 8, 8, 3))
    steps = {"StrideW": 1, "StrideH": 1, "FusedActivationFunction": RELU}
    inputs = [x, *weights(twin.conv_2d_0, 0, 2, 3, 1)]
    options = {**steps, "StrideW": 2, "StrideH": 2, "Padding": SAME}
    x = writer.operator("CONV_2D", inputs, writer.tensor((1, 4, 4, 6)), "Conv2DOptions", **options)
    inputs = [x, *weights(twin.depthwise_conv_2d_1, 1, 2, 3, 0)]
    options = {**steps, "DepthMultiplier": 1, "Padding": SAME}
    x = writer.operator(
        "DEPTHWISE_CONV_2D", inputs, writer.tensor((1, 4, 4, 6)), "DepthwiseConv2DOptions", **options
    )
    inputs = [x, *weights(twin.conv_2d_2, 0, 2, 3, 1)]
    x = writer.operator(
        "CONV_2D", inputs, writer.tensor((1, 4, 4, 5)), "Conv2DOptions", **steps, Padding=VALID
    )
    options = {"StrideW": 2, "StrideH": 2, "FilterWidth": 2, "FilterHeight": 2, "Padding": VALID}
    x = writer.operator("MAX_POOL_2D", [x], writer.tensor((1, 2, 2, 5)), "Pool2DOptions", **options)
    if then is not None:
        x = writer.operator(then, [x], writer.tensor((1, 2, 2, 5)))
    shape = writer.tensor((), np.array([-1, 20], np.int32))
    x = writer.operator("RESHAPE", [x, shape], writer.tensor((1, 20)))
    inputs = [x, *weights(twin.fully_connected_3)]
    x = writer.operator("FULLY_CONNECTED", inputs, writer.tensor((1, 7)), "FullyConnectedOptions")
    x = writer.operator("TANH", [x], writer.tensor((1, 7)))
    inputs = [x, *weights(twin.fully_connected_4)]
    x = writer.operator("FULLY_CONNECTED", inputs, writer.tensor((1, 2)), "FullyConnectedOptions")
    x = writer.operator("SOFTMAX", [x], writer.tensor((1, 2)), "SoftmaxOptions", Beta=1.0)
    return writer.save(path, source, x)


def plain(path, *, values=None, name="FULLY_CONNECTED", scale=None, graphs=1, **options):
    """Write a network of one operator, with 3 inputs and 2 outputs."""
    writer = Writer()
    x = writer.tensor((1, 3))
    w = writer.tensor((), np.ones((2, 3), np.float32) if values is None else values, scale=scale)
    table = "FullyConnectedOptions" if options else None
    return writer.save(
        path, x, writer.operator(name, [x, w], writer.tensor((1, 2)), table, **options), graphs
    )


def read(path):
    return read_state_dict(path, readers=READERS)


# -- what is read -----------------------------------------------------------------------------------------


def test_weights_have_the_order_of_torch(twin, tmp_path):
    """The kernels have torch's axes, and the names of the operators."""
    found = read(convolutional(tmp_path / "net.tflite", twin))
    state = twin.state_dict()
    assert [*found.tensors] == [*state]
    assert all(torch.equal(found.tensors[name], each) for name, each in state.items())


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_the_module_computes_what_the_twin_computes(twin, tmp_path, half):
    """The module that the file describes has the outputs of the torch twin."""
    content = TfliteReader().read(convolutional(tmp_path / "net.tflite", twin, half=half))
    if half:
        twin.load_state_dict({name: each.half().float() for name, each in twin.state_dict().items()})
    module, example = content.module()
    assert example.shape == (2, 8, 8, 3)
    images = torch.randn(4, 8, 8, 3)
    assert torch.allclose(module(images), twin(images), atol=1e-6)


def test_the_architecture_is_that_of_the_torch_twin(twin, tmp_path):
    """The derived groups and actions are those that the code of the torch twin gives."""
    reader = NetworkReader(readers=plugins.readers())
    found = reader.read(convolutional(tmp_path / "net.tflite", twin))
    described = reader.describe(found.tensors, content=found.content)
    wanted = Architecture.from_module(twin, torch.randn(2, 8, 8, 3))
    assert [(each.size, each.actions) for each in described.groups] == [
        (each.size, each.actions) for each in wanted.groups
    ]
    assert {each.name: each.axes for each in described.parameters} == {
        each.name: each.axes for each in wanted.parameters
    }
    assert described.symmetry == "verified"


@pytest.mark.parametrize(("size", "kernel_size", "stride"), [(5, 3, 2), (6, 3, 2), (7, 2, 2), (8, 5, 3)])
@pytest.mark.parametrize("pooled", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_padding_has_no_influence_on_a_pooling(tmp_path, size, kernel_size, stride, pooled):
    """A window that reaches over the edge pools only the positions within the map."""
    writer = Writer()
    x = source = writer.tensor((1, size, size, 2))
    options = {"StrideW": stride, "StrideH": stride, "Padding": SAME}
    pool = {"FilterWidth": kernel_size, "FilterHeight": kernel_size}
    after = -(-size // stride)
    x = writer.operator(pooled, [x], writer.tensor((1, after, after, 2)), "Pool2DOptions", **options, **pool)
    w = writer.tensor((), np.eye(2, dtype=np.float32))
    x = writer.operator(
        "FULLY_CONNECTED",
        [x, w],
        writer.tensor((1, after, after, 2)),
        "FullyConnectedOptions",
        KeepNumDims=True,
    )
    module, _ = TfliteReader().read(writer.save(tmp_path / "net.tflite", source, x)).module()
    maps = torch.randn(2, size, size, 2)
    found = module(maps)
    pad = max(0, (after - 1) * stride + kernel_size - size) // 2
    for row in range(after):
        for column in range(after):
            rows, columns = (
                slice(max(0, n * stride - pad), n * stride - pad + kernel_size) for n in (row, column)
            )
            window = maps[:, rows, columns].flatten(1, 2)
            wanted = window.mean(1) if pooled.startswith("AVERAGE") else window.amax(1)
            assert torch.allclose(found[:, row, column], wanted, atol=1e-6)


def test_a_residual_network_is_derived(tmp_path):
    """A sum of two maps ties their neurons, and a mean over the positions ends the maps."""
    writer = Writer()
    rng = np.random.default_rng(0)
    x = source = writer.tensor((1, 4, 4, 3))
    options = {"StrideW": 1, "StrideH": 1, "Padding": SAME}

    def conv(x, before, after, activation, size=5):
        w = writer.tensor((), rng.normal(size=(after, 3, 3, before)).astype(np.float32))
        b = writer.tensor((), rng.normal(size=after).astype(np.float32))
        return writer.operator(
            "CONV_2D",
            [x, w, b],
            writer.tensor((1, size, size, after)),
            "Conv2DOptions",
            **options,
            FusedActivationFunction=activation,
        )

    pads = writer.tensor((), np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32))
    x = writer.operator("PAD", [conv(x, 3, 5, RELU, size=4), pads], writer.tensor((1, 5, 5, 5)), "PadOptions")
    y = conv(conv(x, 5, 6, RELU), 6, 5, NONE)
    x = writer.operator(
        "ADD", [x, y], writer.tensor((1, 5, 5, 5)), "AddOptions", FusedActivationFunction=RELU
    )
    axes = writer.tensor((), np.array([1, 2], np.int32))
    x = writer.operator("MEAN", [x, axes], writer.tensor((1, 5)), "ReducerOptions", KeepDims=False)
    w = writer.tensor((), rng.normal(size=(2, 5)).astype(np.float32))
    x = writer.operator("FULLY_CONNECTED", [x, w, -1], writer.tensor((1, 2)), "FullyConnectedOptions")
    reader = NetworkReader(readers=plugins.readers())
    found = reader.read(writer.save(tmp_path / "net.tflite", source, x))
    described = reader.describe(found.tensors, content=found.content)
    assert [each.size for each in described.groups] == [5, 6]


def test_files_are_recognised_by_their_bytes(tmp_path):
    """The bytes at position 4 decide, whatever the ending."""
    path = plain(tmp_path / "net.bin")
    assert TfliteReader().recognises(Candidate(path))
    (tmp_path / "other").write_bytes(bytes(100))
    assert not TfliteReader().recognises(Candidate(tmp_path / "other"))


# -- what is not computed ----------------------------------------------------------------------------------


def test_an_operator_that_is_not_computed_fixes_every_axis(twin, tmp_path):
    """The weights are read, a note names the operator, and no group is guessed."""
    reader = NetworkReader(readers=plugins.readers(), activation="relu", trust_names=True)
    found = reader.read(convolutional(tmp_path / "net.tflite", twin, then="CUMSUM"))
    described = reader.describe(found.tensors, content=found.content)
    assert not described.groups
    assert [each.kind for each in described.layers] == [*["conv2d"] * 3, *["linear"] * 2]
    assert any("operator CUMSUM" in note for note in found.content.notes)
    assert all(torch.equal(found.tensors[name], each) for name, each in twin.state_dict().items())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"WeightsFormat": 1}, "the operator FULLY_CONNECTED:"),
        ({"FusedActivationFunction": 5}, "FULLY_CONNECTED with the activation sign_bit"),
    ],
)
def test_an_option_that_is_not_computed_is_noted(tmp_path, options, why):
    """An option with another meaning than torch's leaves the module out."""
    content = TfliteReader().read(plain(tmp_path / "net.tflite", **options))
    assert content.module is None
    assert any(why in note for note in content.notes)


def test_other_graphs_are_noted(tmp_path):
    """Only the main graph is read, and a note counts the others."""
    content = TfliteReader().read(plain(tmp_path / "net.tflite", graphs=3))
    assert "2 graphs beside the main graph left out" in content.notes


def test_a_huge_padding_is_not_computed(tmp_path):
    """A dilation that would need a padding of gigabytes is refused when the network is run."""
    writer = Writer()
    x = writer.tensor((1, 4, 4, 1))
    w = writer.tensor((), np.ones((1, 3, 3, 1), np.float32))
    options = {"StrideW": 1, "StrideH": 1, "Padding": SAME, "DilationWFactor": 2**30, "DilationHFactor": 1}
    y = writer.operator("CONV_2D", [x, w], writer.tensor((1, 4, 4, 1)), "Conv2DOptions", **options)
    module, example = TfliteReader().read(writer.save(tmp_path / "net.tflite", x, y)).module()
    with pytest.raises(ArchitectureError, match="too wide to be computed"):
        module(example)


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.5, None], ids=["with a scale", "without a scale"])
def test_quantised_weights_are_refused_by_name(tmp_path, scale):
    """The error names the tensor and its type, and says what to do."""
    path = plain(tmp_path / "net.tflite", values=np.ones((2, 3), np.int8), scale=scale)
    with pytest.raises(FileError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: 'tensor1' is quantised (INT8), and quantised weights are not read; convert the network "
        f"without quantisation"
    )


def test_a_kernel_with_other_axes_is_refused(tmp_path):
    """A kernel whose number of axes does not suit its operator gives one error."""
    path = plain(tmp_path / "net.tflite", name="CONV_2D")
    with pytest.raises(FileError, match=r"kernel of CONV_2D has the wrong shape \(2, 3\)") as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_graph_without_weights_is_refused(tmp_path):
    """A file without float constants gives one error."""
    writer = Writer()
    x = writer.tensor((1, 3))
    path = writer.save(tmp_path / "net.tflite", x, writer.operator("TANH", [x], writer.tensor((1, 3))))
    with pytest.raises(FileError, match="holds no weights"):
        read(path)


def test_many_tensors_with_one_buffer_are_refused(tmp_path):
    """Constants that share their values cannot claim many times the bytes of the file."""
    writer = Writer()
    x = writer.tensor((1, 100))
    shared = writer.buffer(np.ones((100, 100), np.float32).tobytes())
    for _ in range(100):
        w = writer.tensor((100, 100), buffer=shared)
        x = writer.operator("FULLY_CONNECTED", [x, w], writer.tensor((1, 100)))
    path = writer.save(tmp_path / "net.tflite", 0, x)
    with pytest.raises(FileError, match="the tensors would take 4000000 bytes"):
        read(path)


def test_every_truncated_file_is_refused(twin, tmp_path):
    """A file that is cut off anywhere gives one error that begins with its path."""
    whole = convolutional(tmp_path / "whole.tflite", twin).read_bytes()
    path = tmp_path / "net.tflite"
    for size in range(8, len(whole) - 4, 5):
        path.write_bytes(whole[:size])
        with pytest.raises(FileError) as error:
            TfliteReader().read(path)
        assert str(error.value).startswith(f"{path}: ")


def test_changed_bytes_raise_nothing_but_file_errors(tmp_path):
    """Whatever one byte is changed to, the file is read or gives a FileError, in little memory."""
    whole = plain(tmp_path / "whole.tflite", FusedActivationFunction=1).read_bytes()
    path = tmp_path / "net.tflite"
    tracemalloc.start()
    for place in range(len(whole)):
        for value in (0x00, 0x04, 0x7F, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                content = TfliteReader().read(path)
            except FileError as error:
                assert str(error).startswith(f"{path}: ")  # noqa: PT017
                continue
            if content.module is not None:
                module, example = content.module()
                try:
                    module(example)
                except (ArchitectureError, RuntimeError):
                    continue
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
