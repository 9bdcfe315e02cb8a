import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sneframe.plugins
from sneframe.architecture import Architecture
from sneframe.files.network_reader import NetworkReader

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def drawn(module):
    """Draw random values for all parameters and statistics, so that no two are equal."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.is_floating_point():
                value.copy_(torch.randn(value.shape, generator=generator) * 0.5)
    return module.eval()


class Residual(nn.Module):
    """A block of a ResNet with a projection, pooling and a head. The batch norms stay or are left out."""

    def __init__(self, *, norm=True):
        super().__init__()
        make = nn.BatchNorm2d if norm else lambda _: nn.Identity()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, stride=2, padding=1), make(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 6, 3, padding=1), make(6)
        self.short = nn.Conv2d(3, 6, 1, stride=2)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(F.adaptive_avg_pool2d(torch.relu(inner + self.short(x)), 1).flatten(1))


class Attention(nn.Module):
    """A transformer block after an embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, activation="gelu")
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x):
        return self.head(self.block(self.embed(x)))


class Norms(nn.Module):
    """Norms and an activation that exporters write in other shapes."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.slope = nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.PReLU(8)
        self.group, self.up = nn.GroupNorm(2, 8), nn.ConvTranspose2d(8, 4, 2, stride=2)

    def forward(self, x):
        return self.up(self.group(self.slope(self.norm(self.conv(x)))))


def mlp():
    return nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 2))


def cnn():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.LeakyReLU(0.1),
        nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def depthwise():
    return nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.SiLU(),
        nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip


def tokens():
    return torch.arange(10).reshape(2, 5)


def image(channels, side=8):
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))


NETWORKS = {
    "mlp": (mlp, lambda: torch.randn(2, 5, generator=torch.Generator().manual_seed(1))),
    "sequence": (mlp, lambda: torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))),
    "cnn": (cnn, lambda: image(2)),
    "depthwise": (depthwise, lambda: image(3)),
    "residual": (lambda: Residual(norm=False), lambda: image(3)),
    "transformer": (Attention, tokens),
}


def exported(module, example, path, *, dynamo, **options):
    """Write a module as an ONNX file."""
    if dynamo:
        pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (example,), path, dynamo=dynamo, verbose=False, **options)
    return path


def reader():
    return NetworkReader(readers=sneframe.plugins.readers())


def read(path):
    """Read a file, and return the tensors, the content and the architecture."""
    found = reader().read(path)
    return found.tensors, found.content, reader().describe(found.tensors, content=found.content)


def outputs(path, *examples):
    """Return the outputs of a file as onnxruntime computes them."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {each.name: example.numpy() for each, example in zip(session.get_inputs(), examples, strict=True)}
    return [torch.from_numpy(np.asarray(each)) for each in session.run(None, feeds)]


def check_outputs(path, content, *examples, atol=1e-5):
    """Check that the module computes what onnxruntime computes."""
    module, _ = content.module()
    with torch.no_grad():
        own = module(*examples)
    own = own if isinstance(own, tuple) else (own,)
    for value, wanted in zip(own, outputs(path, *examples), strict=True):
        assert value.dtype == wanted.dtype
        torch.testing.assert_close(value, wanted, atol=atol, rtol=1e-5, equal_nan=True)


def symmetry(architecture):
    """Return the groups with their sizes and actions, and how often each moves each parameter."""
    return sorted((each.size, each.actions, each.parent is not None) for each in architecture.groups)


def axes(architecture):
    """Return the kind of each axis of each parameter, with groups named by their order."""
    numbers = {}
    found = {}
    for parameter in sorted(architecture.parameters, key=lambda each: each.name):
        found[parameter.name] = [
            [
                [numbers.setdefault(f, len(numbers)) + 1000 if isinstance(f, str) else f for f in segment]
                for segment in axis
            ]
            for axis in parameter.axes
        ] + [parameter.scale, parameter.sign]
    return found


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_export_is_the_network_of_its_state_dict(name, dynamo, tmp_path):
    """Names, weights, outputs, groups and axes of an exported network are those of the torch module."""
    make, example = NETWORKS[name]
    module, example = drawn(make()), example()
    path = exported(module, example, tmp_path / "a.onnx", dynamo=dynamo)
    tensors, content, architecture = read(path)
    state = module.state_dict()
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[key], value) for key, value in state.items())
    check_outputs(path, content, example)
    twin = Architecture.from_module(module, example)
    assert architecture.symmetry == "verified"
    assert symmetry(architecture) == symmetry(twin)
    assert axes(architecture) == axes(twin)
    assert content.notes == ()


@pytest.mark.parametrize("name", ["mlp", "cnn", "depthwise"])
def test_an_export_has_the_layers_of_the_module(name, tmp_path):
    """The architecture of an export equals that of the module, with kinds, attributes and activations."""
    make, example = NETWORKS[name]
    module, example = drawn(make()), example()
    path = exported(module, example, tmp_path / "a.onnx", dynamo=False)
    found, twin = read(path)[2], Architecture.from_module(module, example)
    assert [(each.kind, each.attributes) for each in found.layers if each.parameters] == [
        (each.kind, each.attributes) for each in twin.layers if each.parameters
    ]
    if name != "depthwise":  # SiLU is exported as x · sigmoid(x)
        assert found == twin


@pytest.mark.parametrize("dynamo", [True, False])
def test_a_folded_batch_norm_is_part_of_the_convolution(dynamo, tmp_path):
    """An exporter folds batch norms into convolutions; the result is a network without batch norms."""
    module = drawn(Residual())
    path = exported(module, image(3), tmp_path / "a.onnx", dynamo=dynamo)
    tensors, content, architecture = read(path)
    twin = Architecture.from_module(Residual(norm=False), image(3))
    assert axes(architecture) == axes(twin)
    assert set(tensors) == {p.name for p in twin.parameters}
    check_outputs(path, content, image(3))


@pytest.mark.parametrize("dynamo", [True, False])
def test_a_batch_norm_that_is_not_folded_is_a_layer(dynamo, tmp_path):
    """The weights and statistics of a batch norm have torch's names."""
    module = drawn(Residual())
    options = (
        {"optimize": False}
        if dynamo
        else {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    )
    path = exported(module, image(3), tmp_path / "a.onnx", dynamo=dynamo, **options)
    tensors, content, architecture = read(path)
    state = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[key], value) for key, value in state.items())
    check_outputs(path, content, image(3))
    twin = Architecture.from_module(module, image(3))
    assert (symmetry(architecture), axes(architecture)) == (symmetry(twin), axes(twin))


def test_norms_and_slopes_have_their_names(tmp_path):
    """The slopes of a PReLU get torch's shape, and the dummies of a group norm are no weights."""
    module = drawn(Norms())
    path = exported(module, image(3), tmp_path / "a.onnx", dynamo=False)
    tensors, content, architecture = read(path)
    state = module.state_dict()
    assert tensors.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(tensors[name].flatten(), value.flatten())
    assert tensors["slope.weight"].shape == (8,)
    assert content.notes == ()
    check_outputs(path, content, image(3))
    assert symmetry(architecture) == symmetry(Architecture.from_module(module, image(3)))


def test_symbolic_axes_are_filled_in(tmp_path):
    """An axis without a size gets one with which the graph can be computed."""
    module = drawn(Attention())
    path = exported(
        module, tokens(), tmp_path / "a.onnx", dynamo=False,
        input_names=["ids"], dynamic_axes={"ids": {0: "batch", 1: "sequence"}},
    )  # fmt: skip
    _, content, architecture = read(path)
    _, example = content.module()
    assert example[0].shape == (2, 5)
    assert content.notes == ("symbolic axes ('sequence') were given the size 5",)
    assert axes(architecture) == axes(Architecture.from_module(module, tokens()))
    check_outputs(path, content, tokens())


def test_a_symbolic_image_size_is_tried(tmp_path):
    """The size of an image is tried until the graph accepts it."""
    module = drawn(cnn())
    path = exported(
        module, image(2), tmp_path / "a.onnx", dynamo=False,
        input_names=["x"], dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}},
    )  # fmt: skip
    example = reader().read(path).content.module()[1]
    assert example[0].shape[:2] == (2, 2)


# -- graphs written by hand ----------------------------------------------------------------------------------


def graph(nodes, shapes, weights, path, *, opset=20, out="y", kinds=None, external=False, outputs_of=None):
    """Write a graph."""
    kinds = kinds or {}
    inputs = [
        helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)
        for name, shape in shapes.items()
    ]
    outs = outputs_of or [out]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            inputs,
            [helper.make_tensor_value_info(each, kinds.get(each, TensorProto.FLOAT), None) for each in outs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    onnx.save(model, path, **({"save_as_external_data": True, "size_threshold": 0} if external else {}))
    return path


def random(*shape, seed=0, scale=0.5):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize(
    ("trans", "alpha", "beta"), [(0, 1.0, 1.0), (1, 1.0, 1.0), (0, 2.0, 0.5), (1, 0.5, 3.0)]
)
def test_a_gemm_becomes_a_linear_layer(trans, alpha, beta, external, tmp_path):
    """The weight has the order (out, in), and contains the factors, in whichever form the file has it."""
    w1, b1, w2 = random(4, 6), random(6, seed=1), random(6, 3, seed=2)
    nodes = [
        helper.make_node(
            "Gemm", ["x", "fc1.weight", "fc1.bias"], ["h"], transB=trans, alpha=alpha, beta=beta
        ),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "fc2.weight"], ["y"]),
    ]
    weights = {"fc1.weight": w1.T.copy() if trans else w1, "fc1.bias": b1, "fc2.weight": w2}
    path = graph(nodes, {"x": [2, 4]}, weights, tmp_path / "a.onnx", external=external)
    tensors, content, architecture = read(path)
    assert torch.equal(tensors["fc1.weight"], torch.from_numpy(w1.T) * alpha)
    assert torch.equal(tensors["fc1.bias"], torch.from_numpy(b1) * beta)
    assert torch.equal(tensors["fc2.weight"], torch.from_numpy(w2.T))
    check_outputs(path, content, torch.from_numpy(random(2, 4, seed=3)))
    twin = nn.Sequential()
    twin.add_module("fc1", nn.Linear(4, 6))
    twin.add_module("r", nn.ReLU())
    twin.add_module("fc2", nn.Linear(6, 3, bias=False))
    assert architecture == Architecture.from_module(twin, torch.randn(2, 4))
    assert len(content.notes) == (0 if alpha == beta == 1 else 2)


def test_generated_names_give_way_to_scopes(tmp_path):
    """A weight that the exporter has named by a number gets the name of the module of its node."""
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_12"], ["a"], name="/layers/layers.0/MatMul"),
        helper.make_node("Add", ["layers.0.bias", "a"], ["h"], name="/layers/layers.0/Add"),
        helper.make_node("Tanh", ["h"], ["t"], name="/layers/1/Tanh"),
        helper.make_node("MatMul", ["t", "13"], ["u"], name="/layers/2/MatMul"),
        helper.make_node("MatMul", ["u", "onnx::MatMul_14"], ["y"], name="/layers/2/MatMul_1"),
    ]
    weights = {
        "onnx::MatMul_12": random(4, 6),
        "layers.0.bias": random(6),
        "13": random(6, 6),
        "onnx::MatMul_14": random(6, 2),
    }
    path = graph(nodes, {"x": ["n", 4]}, weights, tmp_path / "a.onnx")
    tensors, content, _ = read(path)
    assert list(tensors) == ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2_2.weight"]
    check_outputs(path, content, torch.from_numpy(random(2, 4)))


def test_identity_nodes_tie_weights(tmp_path):
    """Two names of one tensor are one parameter, which both layers share."""
    nodes = [
        helper.make_node("Identity", ["w"], ["w2"]),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    path = graph(nodes, {"x": [2, 4]}, {"w": random(4, 4)}, tmp_path / "a.onnx")
    tensors, content, architecture = read(path)
    assert list(tensors) == ["w"]
    assert not architecture.groups
    check_outputs(path, content, torch.from_numpy(random(2, 4)))


def test_a_tied_embedding_keeps_one_order(tmp_path):
    """A table that is read by rows, and transposed as the head, has the order of the table."""
    nodes = [
        helper.make_node("Gather", ["embed.weight", "ids"], ["e"]),
        helper.make_node("MatMul", ["e", "fc"], ["h"]),
        helper.make_node("Transpose", ["embed.weight"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["h", "t"], ["y"]),
    ]
    weights = {"embed.weight": random(7, 4), "fc": random(4, 4, seed=1)}
    path = graph(nodes, {"ids": [2, 3]}, weights, tmp_path / "a.onnx", kinds={"ids": TensorProto.INT64})
    tensors, content, architecture = read(path)
    assert torch.equal(tensors["embed.weight"], torch.from_numpy(weights["embed.weight"]))
    assert torch.equal(tensors["fc"], torch.from_numpy(weights["fc"].T))
    assert architecture.symmetry == "verified"
    check_outputs(path, content, torch.tensor([[0, 1, 2], [3, 4, 6]]))


def test_weights_in_constant_nodes_are_read(tmp_path):
    """A constant that an operation uses as weights is a weight."""
    nodes = [
        helper.make_node("Constant", [], ["c1"], value=numpy_helper.from_array(random(4, 6))),
        helper.make_node("Constant", [], ["c2"], value=numpy_helper.from_array(random(6, seed=1))),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Gemm", ["x", "c1", "c2"], ["h"], name="/fc/Gemm"),
        helper.make_node("Mul", ["h", "half"], ["y"]),
    ]
    path = graph(nodes, {"x": [2, 4]}, {}, tmp_path / "a.onnx")
    tensors, content, _ = read(path)
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {"c1": (6, 4), "c2": (6,)}
    check_outputs(path, content, torch.from_numpy(random(2, 4)))


def test_statistics_of_a_batch_norm_get_torch_s_names(tmp_path):
    """The statistics of a batch norm have torch's names, whatever names the file gives them."""
    nodes = [
        helper.make_node("Conv", ["x", "conv.w"], ["h"]),
        helper.make_node(
            "BatchNormalization", ["h", "bn.scale", "bn.B", "bn.mean", "bn.var"], ["y"], name="/bn/B"
        ),
    ]
    weights = {
        "conv.w": random(6, 2, 3, 3), "bn.scale": random(6), "bn.B": random(6),
        "bn.mean": random(6), "bn.var": np.abs(random(6)) + 0.5,
    }  # fmt: skip
    path = graph(nodes, {"x": [2, 2, 8, 8]}, weights, tmp_path / "a.onnx")
    tensors, content, architecture = read(path)
    assert list(tensors) == ["conv.w", "bn.scale", "bn.B", "bn.running_mean", "bn.running_var"]
    assert architecture.symmetry in ("derived", "verified")
    check_outputs(path, content, image(2))


# -- what is not followed ------------------------------------------------------------------------------------


def test_an_unknown_operation_is_named_and_never_guessed(tmp_path):
    """A graph that cannot be followed gives weights and a note. Axes are fixed, although the names fit."""
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node("Det", ["m"], ["d"]),
        helper.make_node("Gemm", ["h", "2.weight", "2.bias"], ["z"], transB=1),
        helper.make_node("Add", ["z", "d"], ["y"]),
    ]
    weights = {"0.weight": random(6, 4), "0.bias": random(6), "2.weight": random(1, 6), "2.bias": random(1)}
    path = graph(nodes, {"x": [2, 4], "m": [1, 2, 2]}, weights, tmp_path / "a.onnx")
    tensors, content, architecture = read(path)
    assert content.module is None
    assert content.notes == (
        "the architecture is not derived: the graph has the operation Det; every axis is fixed",
    )
    assert set(tensors) == set(weights)
    assert architecture.groups == ()
    trusting = NetworkReader(readers=sneframe.plugins.readers(), trust_names=True, activation="relu")
    assert trusting.describe(tensors, content=content).groups == ()


def test_weights_within_a_branch_are_read(tmp_path):
    """The weights in the branches of an If are read, and the graph is not followed."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["v.weight"], ["o"])], "b", [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(random(3, 3), "v.weight")],
    )  # fmt: skip
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
    path = graph(nodes, {"c": []}, {}, tmp_path / "a.onnx", kinds={"c": TensorProto.BOOL})
    tensors, content, architecture = read(path)
    assert list(tensors) == ["v.weight", "v_2.weight"]
    assert content.notes == (
        "the architecture is not derived: the graph has the operation If; every axis is fixed",
    )
    assert architecture.groups == ()


def test_recurrent_weights_are_read(tmp_path):
    """The weights of an LSTM are read as the file has them."""
    module = drawn(nn.LSTM(3, 4))
    path = exported(module, torch.randn(5, 2, 3), tmp_path / "a.onnx", dynamo=False)
    tensors, content, _ = read(path)
    assert sorted(tuple(value.shape) for value in tensors.values()) == [(1, 16, 3), (1, 16, 4), (1, 32)]
    assert "operation LSTM" in content.notes[-1]


def test_other_bytes_are_not_recognised(tmp_path):
    """A file of other bytes that begins like protobuf is not taken for ONNX."""
    from sneframe_formats.onnx_reader import OnnxReader

    from sneframe.files.reader import Candidate

    rng = np.random.default_rng(0)
    taken = 0
    for number in range(2000):
        path = tmp_path / f"{number}.dat"
        path.write_bytes(b"\x08" + bytes([rng.integers(3, 12)]) + rng.bytes(200))
        taken += OnnxReader().recognises(Candidate(path))
    assert taken == 0
    path = graph([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"w": random(2)}, tmp_path / "model")
    assert OnnxReader().recognises(Candidate(path))


def test_a_folder_lists_a_model_without_its_data(tmp_path):
    """The file that holds the tensors of a model is a part of the model, not a network."""
    from sneframe.files.search import PassedOver, networks_in

    graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": [2, 2]},
        {"w": random(2, 2)},
        tmp_path / "a.onnx",
    )
    (tmp_path / "a.onnx.data").write_bytes(bytes(100))
    model, data = networks_in(tmp_path, sneframe.plugins.readers())
    assert (model.name, model.reader.name) == ("a.onnx", "formats/onnx")
    assert data == PassedOver(name="a.onnx.data", reason="", is_part=True)


def test_equal_graphs_are_described_once(tmp_path):
    """Two files that differ only in their weights have the same fingerprint and the same architecture."""
    from sneframe.architecture.identity import fingerprint

    found = []
    for seed in range(2):
        torch.manual_seed(seed)
        path = exported(mlp(), torch.randn(2, 5), tmp_path / f"{seed}.onnx", dynamo=False)
        found.append(fingerprint(reader().read(Path(path)).content.module()[0]))
    assert found[0] is not None
    assert found[0] == found[1]
