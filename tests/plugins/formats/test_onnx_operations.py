"""Compare each operation with onnxruntime."""

import warnings

import numpy as np
import pytest
import torch

from sneframe.files.network_reader import NetworkReader

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from sneframe_formats.onnx_operations import OPERATIONS  # noqa: E402
from sneframe_formats.onnx_reader import OnnxReader  # noqa: E402


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def case(op, *others, shape=(2, 4, 6, 6), opset=20, many=1, x=None, **attributes):
    """A node that reads ``x`` and then constants, and the version of the operations."""
    return op, others, shape, opset, many, x, attributes


def i64(*numbers):
    return np.array(numbers, np.int64)


def f32(number):
    return np.array(number, np.float32)


PLAIN = (
    *("Neg", "Exp", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Tanh", "Sigmoid", "HardSigmoid"),
    *(
        "HardSwish",
        "Softplus",
        "Softsign",
        "Sin",
        "Cos",
        "Erf",
        "Softmax",
        "LogSoftmax",
        "Identity",
        "Flatten",
    ),
    *("Transpose", "GlobalAveragePool", "GlobalMaxPool", "Shape", "Dropout", "Abs", "Floor", "Ceil", "Mish"),
    *("Reciprocal", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "Trilu"),
)
CASES = [
    *(case(op) for op in PLAIN),
    *(case(op, values(6)) for op in ("Add", "Sub", "Mul", "Div")),
    *(case(op, f32(0.7)) for op in ("Add", "Sub", "Mul", "Div", "Greater", "Less", "Equal")),
    *(case(op, f32([0.7]), shape=()) for op in ("Add", "Mul")),
    *(case(op, x=np.abs(values(2, 4, 6, 6)) + 0.1) for op in ("Sqrt", "Log")),
    case("Pow", f32(2.0)),
    case("Pow", f32(0.5), x=np.abs(values(3, 4)) + 0.1),
    case("Div", i64(2), x=i64(-7, 7, 5)),
    case("Mod", i64(3), x=i64(-7, 7, 5)),
    case("Mod", f32(3.0), fmod=1),
    case("LeakyRelu", alpha=0.3),
    case("Elu", alpha=0.3),
    case("Celu", alpha=2.0),
    case("Selu", alpha=1.0, gamma=2.0),
    case("Gelu", approximate="tanh"),
    case("HardSigmoid", alpha=1 / 6, beta=0.5),
    *(case("Clip", *limits) for limits in (
        [f32(-0.5), f32(0.5)], [f32(0.0)], [f32(0.1)], [f32(0.5), f32(0.0)],
    )),
    case("Clip", opset=7, min=-0.5, max=0.5),
    case("Clip", opset=7, min=0.0),
    case("PRelu", values(4, 1, 1)),
    case("PRelu", values(6)),
    case("PRelu", values(1)),
    case("PRelu", values(6), shape=(2, 6)),
    case("Softmax", axis=1),
    case("Softmax", opset=11, axis=2),
    case("Softmax", opset=11),
    case("LogSoftmax", opset=11, axis=-1),
    *(case("Dropout", opset=opset, **more) for opset, more in ((7, {"ratio": 0.3}), (10, {}), (13, {}))),
    case("Cast", to=TensorProto.INT64),
    case("Cast", to=TensorProto.DOUBLE),
    case("Cast", to=TensorProto.FLOAT, x=i64(1, 2)),
    # convolutions
    case("Conv", values(5, 4, 3, 3), values(5)),
    case("Conv", values(5, 4, 3, 3), strides=[2, 1], pads=[1, 2, 1, 2], dilations=[1, 2]),
    case("Conv", values(5, 4, 3, 3), pads=[0, 1, 1, 2]),
    case("Conv", values(6, 2, 3, 3), group=2, auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", values(6, 4, 2, 4), auto_pad="SAME_LOWER"),
    case("Conv", values(6, 4, 2, 2), auto_pad="VALID"),
    case("Conv", values(5, 4, 3), shape=(2, 4, 9)),
    case("Conv", values(5, 4, 2, 2, 2), shape=(1, 4, 4, 4, 4)),
    case("ConvTranspose", values(4, 5, 3, 3), values(5), strides=[2, 2], pads=[1] * 4, output_padding=[1, 1]),
    case("ConvTranspose", values(4, 2, 3, 3), group=2, dilations=[2, 1]),
    *(case("MaxPool", kernel_shape=[3, 3], **more) for more in (
        {}, {"strides": [2, 2]}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}, {"pads": [0, 1, 1, 0]},
        {"strides": [2, 2], "ceil_mode": 1}, {"dilations": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"strides": [4, 4], "pads": [1, 1, 1, 1], "ceil_mode": 1}, {"pads": [2, 2, 2, 2]},
    )),
    *(case("AveragePool", kernel_shape=[3, 3], **more) for more in (
        {}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}, {"pads": [0, 1, 1, 0]}, {"auto_pad": "SAME_LOWER"},
        {"pads": [1, 1, 1, 1], "count_include_pad": 1}, {"pads": [0, 1, 1, 0], "count_include_pad": 1},
        {"strides": [2, 2], "ceil_mode": 1}, {"strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    )),
    # norms
    case("BatchNormalization", values(4), values(4), values(4), np.abs(values(4)) + 0.5, epsilon=1e-3),
    case("LayerNormalization", values(6), values(6)),
    case("LayerNormalization", values(6, 6), axis=2, epsilon=1e-3),
    case("LayerNormalization", values(1), axis=-1),
    case("InstanceNormalization", values(4), values(4), epsilon=1e-3),
    case("GroupNormalization", values(4), values(4), num_groups=2, opset=21),
    case("GroupNormalization", values(2), values(2), num_groups=2, opset=18),
    # products
    case("MatMul", values(6, 3)),
    case("MatMul", values(4, 6, 3)),
    case("MatMul", values(6), shape=(2, 6)),
    case("Gemm", values(5, 2), values(3, 1), shape=(2, 3), transA=1, transB=1, alpha=0.5, beta=2.0),
    case("Gemm", values(3, 5), values(1, 5), shape=(2, 3), alpha=0.5, beta=2.0),
    case("Gemm", values(3, 5), f32(0.5), shape=(2, 3)),
    case("Einsum", values(6, 3), equation="bcij,jk->bcik"),
    # shapes
    case("Flatten", axis=0),
    case("Flatten", axis=3),
    case("Flatten", axis=-1),
    case("Reshape", i64(0, -1, 6)),
    case("Reshape", i64(2, 4, 36, 1)),
    case("Transpose", perm=[0, 2, 3, 1]),
    case("Squeeze", i64(1, -1), shape=(3, 1, 2, 1)),
    case("Squeeze", shape=(3, 1, 2, 1)),
    case("Squeeze", shape=(3, 1, 2, 1), opset=11, axes=[1]),
    case("Unsqueeze", i64(0, -1)),
    case("Unsqueeze", opset=11, axes=[1, 3]),
    case("Concat", values(2, 1, 6, 6), values(2, 2, 6, 6), axis=1),
    case("Split", axis=2, many=3, num_outputs=3),
    case("Split", i64(1, 5), axis=-1, many=2),
    case("Split", axis=1, many=2, opset=11),
    case("Split", axis=1, many=2, opset=11, split=[1, 3]),
    case("Slice", i64(1), i64(-1), i64(2)),
    case("Slice", i64(0, 5), i64(2**62, -(2**62)), i64(1, 3), i64(2, -2)),
    case("Slice", i64(-1), i64(-7), i64(3), i64(-1)),
    case("Slice", i64(3), i64(1), i64(3)),
    case("Slice", opset=9, starts=[1, 0], ends=[2, 100], axes=[1, 2]),
    case("Gather", i64(2), axis=1),
    case("Gather", np.array(-1), axis=1),
    case("Gather", np.array([[0, 2], [-1, 1]]), axis=2),
    case("Gather", i64(1, 2), axis=3),
    case("Gather", i64(-1, 0), axis=3),
    case("Shape", start=1, end=-1),
    case("ConstantOfShape", x=i64(2, 3)),
    case("ConstantOfShape", x=i64(2, 3), value=helper.make_tensor("v", TensorProto.INT64, [1], [7])),
    case("Expand", i64(3, 1, 4), shape=(2, 4)[1:]),
    case("Expand", i64(3, 4, 1), shape=(4, 5)),
    case("Tile", i64(2, 1, 1, 3)),
    case("Range", np.array(9), np.array(2), x=np.array(1)),
    case("ReduceMean", i64(2, 3), keepdims=0),
    case("ReduceMean", opset=13, axes=[1]),
    case("ReduceSum", opset=11, axes=[-1], keepdims=0),
    case("ReduceSum", i64(1)),
    case("ReduceSum", noop_with_empty_axes=1),
    case("ReduceMax", opset=13, axes=[1, 2]),
    case("Pad", i64(0, 0, 1, 2, 0, 0, 3, 0)),
    case("Pad", i64(0, 0, 1, 2, 0, 0, 3, 0), f32(1.5)),
    case("Pad", i64(0, 0, 1, 2, 0, 0, -1, 0), f32(1.5)),
    case("Pad", i64(0, 0, 1, 2, 0, 0, 3, 0), mode="reflect"),
    case("Pad", i64(0, 0, 1, 2, 0, 0, 3, 0), mode="edge"),
    case("Pad", i64(1, 2), f32(0.0), i64(-1)),
    case("Pad", opset=10, pads=[0, 0, 1, 2, 0, 0, 3, 0], value=2.0),
    case("Trilu", np.array(1), upper=0),
    case("Where", values(2, 4, 6, 6), f32(0.5), x=values(2, 4, 6, 6) > 0),
]  # fmt: skip


def write(path, op, others, x, opset, many, attributes):
    """Write a graph of one node. A weight is beside it, because a model without weights is refused."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    known = x.dtype == np.int64 and op in ("ConstantOfShape", "Range")
    tensors = [numpy_helper.from_array(np.asarray(each), f"c{at}") for at, each in enumerate(others)]
    tensors.append(numpy_helper.from_array(values(2), "beside"))
    if known:
        tensors.append(numpy_helper.from_array(x, "x"))
    names = [f"y{at}" for at in range(many)]
    node = helper.make_node(op, ["x", *(f"c{at}" for at in range(len(others)))], names, **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [] if known else [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_empty_tensor_value_info(name) for name in names],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.save(model, path)
    return known


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{CASES[n][0]}-{n}")
def test_an_operation_computes_what_onnxruntime_computes(number, tmp_path):
    """The module of a graph of one operation gives the numbers, shapes and types of onnxruntime."""
    op, others, shape, opset, many, x, attributes = CASES[number]
    x = values(*shape, seed=5) if x is None else x
    known = write(tmp_path / "a.onnx", op, others, np.asarray(x), opset, many, attributes)
    session = ort.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    wanted = session.run(None, {} if known else {"x": x})
    content = OnnxReader().read(tmp_path / "a.onnx")
    assert content.module is not None, content.notes
    with torch.no_grad():
        found = content.module()[0](*([] if known else [torch.from_numpy(np.asarray(x))]))
    found = found if isinstance(found, tuple) else (found,)
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own, torch.from_numpy(np.asarray(other)), atol=1e-5, rtol=1e-5)


REFUSED = [
    case("MaxPool", kernel_shape=[3, 3], pads=[0, 1, 1, 0], ceil_mode=1),
    case("AveragePool", kernel_shape=[3, 3], dilations=[2, 2]),
    case("ConvTranspose", values(4, 5, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("Cast", to=TensorProto.FLOAT8E4M3FN),
    case("Dropout", f32(0.5), np.array(True)),
    case("Pad", i64(0, 0, 1, 0, 0, 0, 0, 0), mode="wrap"),
    case("Add", values(6), opset=6),
]


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=lambda n: f"{REFUSED[n][0]}-{n}")
def test_a_form_that_is_not_computed_is_named(number, tmp_path):
    """An operation in a form that is not computed leaves the module out, and a note says so."""
    op, others, shape, opset, many, _, attributes = REFUSED[number]
    write(tmp_path / "a.onnx", op, others, values(*shape), opset, many, attributes)
    content = OnnxReader().read(tmp_path / "a.onnx")
    assert content.module is None
    assert not content.guess
    assert content.notes[-1].startswith("the architecture is not derived: ")


def test_every_operation_is_compared():
    """Each operation occurs in a test above, except those that others contain."""
    tested = {each[0] for each in CASES} | {"Linear"}
    logical = {"And", "Or", "Not", "GreaterOrEqual", "LessOrEqual"}
    assert set(OPERATIONS) - tested - logical == set()


def test_double_precision_follows_the_weights(tmp_path):
    """A graph of float32 computes in float64 after ``module.double()``, through casts and constants."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["f"], ["n"], keepdims=0),
        helper.make_node("Sqrt", ["n"], ["r"]),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Div", ["h", "r"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_empty_tensor_value_info("y")], [numpy_helper.from_array(values(3, 3), "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "a.onnx")
    module, example = OnnxReader().read(tmp_path / "a.onnx").module()
    wanted = module(*example)
    found = module.double()(*(each.double() for each in example))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), wanted)


def test_a_hidden_state_of_the_reader_is_not_needed(tmp_path):
    """The module can be copied, and the copy computes the same."""
    import copy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(torch.nn.Linear(3, 2), (torch.randn(2, 3),), tmp_path / "a.onnx", dynamo=False)
    found = NetworkReader(readers=[OnnxReader()]).read(tmp_path / "a.onnx")
    module, example = found.content.module()
    assert torch.equal(copy.deepcopy(module)(*example), module(*example))
