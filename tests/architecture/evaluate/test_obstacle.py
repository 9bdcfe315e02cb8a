"""A description that lacks something is refused, with the layer, what is missing, and what would give it."""

import pytest
import torch
from attrs import evolve
from described import behind_scale, of_module
from torch import nn

from sneframe.architecture import Architecture, Layer, NeuronGroup, Parameter
from sneframe.architecture.evaluate import evaluate, layer_values, neuron_axis, obstacle
from sneframe.errors import ArchitectureError


def linear(name, rows, columns, **options):
    weight = Parameter(name=f"{name}.weight", shape=(rows, columns))
    return Layer(kind="linear", parameters=[weight], **options)


def network(**last):
    """Return two linear layers, of which the last has the given options."""
    return Architecture(layers=[linear("a", 3, 2), linear("b", 2, 3, inputs=[0], **last)], outputs=[1])


def single(kind, *parameters, **attributes):
    """Return one layer behind a linear layer."""
    shapes = [Parameter(name=f"x.{role}", shape=shape, role=role) for role, shape in parameters]
    layer = Layer(kind=kind, parameters=shapes, inputs=[0], attributes=attributes)
    return Architecture(layers=[linear("a", 3, 2), layer], outputs=[1])


CONV = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
WEIGHT = ("weight", (4, 3, 3, 3))
RUNNING = [("running_mean", (3,)), ("running_var", (3,))]
LSTM = {"hidden_size": 2, "num_layers": 1, "bidirectional": False, "batch_first": True, "returns": "state"}
GATES = [("weight_ih_l0", (8, 3)), ("weight_hh_l0", (8, 2))]


def without(attributes, name):
    return {key: value for key, value in attributes.items() if key != name}


OBSTACLES = [
    (
        network(activation="other"),
        r"layer 1 \(linear 'b.weight'\) .* activation is not known; .*--activation relu.*--module",
    ),
    (network(activation="prelu"), "activation 'prelu' is not one that can be evaluated"),
    (network(activation="sine"), "factor inside its sine is not known; .*--activation sine:30.*--module"),
    (network(activation="cosine"), "factor inside its cosine is not known"),
    (network(activation="leaky_relu"), "activation_options has no 'negative_slope'.*--module"),
    (
        network(activation="relu", attributes={"activation_options": {"alpha": 1}}),
        "activation_options has 'alpha', which relu does not take",
    ),
    (
        network(attributes={"affine": [["mul", 30.0]]}),
        "attribute 'affine' is not one that linear is evaluated with",
    ),
    (network(attributes={"uses": {"weight": "c"}}), "names the parameter 'c', which no layer has"),
    (
        network(attributes={"uses": {"bias": {"parameter": "a.weight", "steps": [["softmax", {}]]}}}),
        "'uses' has a step 'softmax' that cannot be evaluated",
    ),
    (
        network(attributes={"uses": {"bias": {"parameter": "a.weight", "steps": [["select", {"axis": 0}]]}}}),
        "'uses' has a step 'select' that cannot be evaluated",
    ),
    (network(attributes={"computed": ["weight"]}), "its weight is computed from other parameters"),
    (network(attributes={"not_recorded": "fft"}), "its operation could not be described: fft"),
    (single("not_recorded", operation="aten.fft"), "its operation could not be described: aten.fft"),
    (single("lineer"), "no evaluation is known for its kind, did you mean 'linear'"),
    (single("linear"), "it has no parameter of the role 'weight'"),
    (single("linear", ("weight", (4, 3)), ("scale", (4,))), "a parameter of the role 'scale', which linear"),
    (single("linear", ("weight", (4, 3, 1))), r"its weight must be a matrix, but has the shape \(4, 3, 1\)"),
    (
        single("linear", ("weight", (4, 3)), ("bias", (1,))),
        r"its bias must have the shape \(4,\), but has \(1,\)",
    ),
    *[
        (
            single("conv2d", WEIGHT, **without(CONV, name)),
            rf"\(conv2d 'x.weight'\) .* '{name}' is not known; --module",
        )
        for name in CONV
    ],
    (single("conv2d", WEIGHT, **CONV | {"stride": [1]}), r"its stride must have 2 numbers, but is \[1\]"),
    (single("conv2d", WEIGHT, **CONV | {"stride": 1}), "its stride must have 2 numbers, but is 1"),
    (
        single("conv2d", WEIGHT, **CONV | {"padding": "full"}),
        "its padding must be numbers, 'same' or 'valid'",
    ),
    (
        single("conv2d", WEIGHT, **CONV, padding_mode="wrap"),
        "padding_mode must be one of zeros, .* but is 'wrap'",
    ),
    (single("conv1d", WEIGHT, **CONV), r"its weight must have 3 axes, but has the shape \(4, 3, 3, 3\)"),
    (
        single("conv2d", WEIGHT, ("bias", (1,)), **CONV),
        r"its bias must have the shape \(4,\), but has \(1,\)",
    ),
    (single("conv_transpose2d", WEIGHT, **CONV), "'output_padding' is not known"),
    (single("batch_norm", *RUNNING), "'eps' is not known"),
    (single("batch_norm", eps=1e-5), "no parameter of the role 'running_mean'"),
    (single("batch_norm", *RUNNING, ("weight", (1,)), eps=1e-5), "must be vectors of one size"),
    (single("layer_norm", ("weight", (4,)), eps=1e-5, shape=[3]), r"its weight must have the shape \(3,\)"),
    (single("layer_norm", eps=1e-5, shape=[]), "its attribute 'shape' is empty"),
    (single("group_norm", eps=1e-5), "'num_groups' is not known"),
    (single("multihead_attention", num_heads=1, batch_first=True), "it must read 3 to 4 values, but reads"),
    (single("lstm", *GATES, **without(LSTM, "returns")), "'returns' is not known"),
    (single("lstm", *GATES, **without(LSTM, "num_layers")), "'num_layers' is not known"),
    (single("lstm", *GATES[:1], **LSTM), "no parameter 'weight_hh_l0'"),
    (single("lstm", *GATES, ("gate", (3,)), **LSTM), "a parameter 'gate', which it is not evaluated with"),
    (single("lstm", *GATES, **LSTM | {"hidden_size": 3}), r"must have 12 rows, but has the shape \(8, 3\)"),
    (single("lstm", *GATES, **LSTM | {"returns": "last"}), "'returns' must be one of .* but is 'last'"),
    (
        single("rnn", ("weight_ih_l0", (2, 3)), ("weight_hh_l0", (2, 2)), **LSTM),
        "nonlinearity must be tanh or relu, but is None",
    ),
    (single("global_average_pool"), "'keepdim' is not known"),
    (single("max_pool", kernel=[2], stride=[2], padding=[0], ceil_mode=False), "'dilation' is not known"),
    (single("pad", amounts=[1, 1]), "'value' is not known"),
    (single("pad", amounts=[1]), "amounts must be pairs"),
    (single("pad", amounts=[1, 1], mode="wrap"), "mode must be constant, .* but is 'wrap'"),
    (single("upsample", mode="nearest"), "one of the attributes 'size' and 'scale'"),
    (single("upsample", mode="bilinear", scale=[2, 2]), "'align_corners' is not known"),
    (single("function", function="gamma"), "its function 'gamma' is not one that can be evaluated"),
    (single("function", function="pow"), "'exponent' is not known"),
    (single("function", function="clamp"), "neither of its attributes 'min' and 'max' is known"),
    (single("add"), "it must read 2 or more values, but reads"),
    (single("softmax"), "'axis' is not known"),
    (single("parameter", ("p", (3,))), "'operation' is not known"),
    (single("parameter", ("p", (3,)), operation="power"), "its operation must be value, .* but is 'power'"),
    (single("parameter", ("p", (3,)), operation="value"), "must read nothing, but reads"),
    (single("parameter", operation="add"), "it must have one parameter, but has 0"),
]


@pytest.mark.parametrize(("architecture", "words"), OBSTACLES)
def test_what_is_missing_is_named(architecture, words):
    """The obstacle is one line with the layer and the reason, and evaluating raises it."""
    found = obstacle(architecture)
    assert found is not None
    assert "\n" not in found
    assert "layer 1 (" in found
    with pytest.raises(ArchitectureError, match=words):
        evaluate(architecture, torch.zeros(1, architecture.num_weights), torch.zeros(1, 2))


@pytest.mark.parametrize(
    "kinds", [("weight",), ("in_proj_weight", "q_proj_weight"), ("in_proj_weight", "bias_k")]
)
def test_what_an_attention_lacks(kinds):
    """An attention has its weights in one parameter or in three, and both last tokens or none."""
    layer = Layer(
        kind="multihead_attention",
        parameters=[Parameter(name=f"x.{role}", shape=(3, 3), role=role) for role in kinds],
        inputs=[-1, -1, -1],
        attributes={"num_heads": 1, "batch_first": True},
    )
    found = obstacle(Architecture(layers=[layer], outputs=[0]))
    assert "in_proj_weight" in found if "bias_k" not in kinds else "both bias_k and bias_v" in found


def test_a_mask_that_is_not_read_is_refused():
    """An attention with a mask reads four values."""
    module = nn.MultiheadAttention(4, 2)
    attributes = {"num_heads": 2, "batch_first": False, "mask": True}
    found = obstacle(of_module(module, "multihead_attention", inputs=(-1, -1, -1), attributes=attributes))
    assert "must read a fourth value, the mask" in found


def test_two_parameters_of_one_role_are_refused():
    """It is not known which of them the layer uses."""
    layer = Layer(kind="linear", parameters=[Parameter(name=name, shape=(2, 2)) for name in "ab"])
    assert "several parameters of the role 'weight'" in obstacle(Architecture(layers=[layer], outputs=[0]))


# -- the output ------------------------------------------------------------------------------------------


def test_the_last_layer_is_the_output_if_no_other_can_be():
    """Without recorded outputs, the output is the only layer that no layer reads."""
    groups = [NeuronGroup(name="g", size=3)]
    chain = evolve(network(), outputs=(), groups=groups, symmetry="stated")
    weights = torch.randn(2, 12)
    assert obstacle(chain) is None
    x = torch.randn(4, 2)
    torch.testing.assert_close(evaluate(chain, weights, x), evaluate(network(), weights, x))


def test_an_unknown_output_is_refused():
    """If several layers may be the output, it is not guessed."""
    layers = [linear("a", 3, 2), linear("b", 2, 3, inputs=[0]), linear("c", 2, 3, inputs=[0])]
    architecture = Architecture(layers=layers, groups=[NeuronGroup(name="g", size=3)])
    found = obstacle(architecture)
    assert found.startswith(
        "it is not known which layer is the output: no layer reads layer 1 (linear 'b.weight')"
    )
    with pytest.raises(ArchitectureError, match="it is not known which layer is the output"):
        evaluate(architecture, torch.zeros(1, 18), torch.zeros(1, 2))


def test_the_first_of_several_outputs_is_returned():
    """A network that returns several tensors is evaluated to the first."""
    layers = [linear("a", 3, 2), linear("b", 2, 3, inputs=[0]), linear("c", 2, 3, inputs=[0])]
    architecture = Architecture(layers=layers, outputs=[2, 1])
    weights, x = torch.randn(2, 18), torch.randn(4, 2)
    values = layer_values(architecture, weights, x)
    torch.testing.assert_close(evaluate(architecture, weights, x), values[2], rtol=0, atol=0)
    assert values[1] is not None


def test_layers_that_no_output_needs_are_no_obstacle():
    """Unused layers may be unknown. They have no values."""
    layers = [linear("a", 3, 2), Layer(kind="mystery", inputs=[0]), linear("b", 2, 3, inputs=[0])]
    architecture = Architecture(layers=layers, outputs=[2])
    assert obstacle(architecture) is None
    values = layer_values(architecture, torch.randn(2, 12), torch.randn(4, 2))
    assert [None if value is None else tuple(value.shape) for value in values] == [(2, 4, 3), None, (2, 4, 2)]


def test_layers_of_which_only_names_are_known_are_refused():
    """The layers of a state dict that is no certain chain are not evaluated in the order of their names."""
    with pytest.warns(UserWarning, match="every axis is taken as fixed"):
        architecture = Architecture.from_state_dict(
            {"b.weight": torch.zeros(3, 4), "a.weight": torch.zeros(5, 3), "c.weight": torch.zeros(2, 2)}
        )
    assert "not the order of its layers; --module" in obstacle(architecture)


def test_a_state_dict_with_an_activation_is_evaluated():
    """A chain that names and shapes show can be evaluated once its activation is given."""
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    architecture = Architecture.from_state_dict(module.state_dict(), activation="relu")
    weights = torch.cat([value.reshape(-1) for value in module.state_dict().values()])[None]
    x = torch.randn(4, 3)
    torch.testing.assert_close(evaluate(architecture, weights, x)[0], module(x))
    unknown = Architecture.from_state_dict(module.state_dict())
    assert obstacle(unknown).startswith("layer 0 (linear '0.weight') cannot be evaluated: its activation")


def test_an_origin_of_equal_architectures_counts():
    """Two architectures that are equal but for the origin of their symmetry have their own obstacles."""
    derived = evolve(network(), outputs=(), symmetry="derived")
    unknown = evolve(network(), outputs=(), symmetry="none")
    assert derived == unknown
    assert obstacle(derived) is None
    assert obstacle(unknown) is not None


# -- shapes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parameters", "attributes", "words"),
    [
        (
            "linear",
            [("weight", (4, 5))],
            {},
            r"layer 1 \(linear 'x.weight'\) cannot read its input: it reads 5 columns, but got 3",
        ),
        (
            "conv1d",
            [("weight", (4, 5, 2))],
            {"stride": [1], "padding": [0], "dilation": [1]},
            r"it reads \(K, channels, size\)",
        ),
        ("layer_norm", [], {"eps": 1e-5, "shape": [5]}, r"sizes \(5,\), but got the shape \(2, 3\)"),
        (
            "batch_norm",
            [("running_mean", (1,)), ("running_var", (1,))],
            {"eps": 1e-5},
            "it reads 1 channels, but got 3",
        ),
        ("group_norm", [], {"eps": 1e-5, "num_groups": 2}, "channels in 2 groups"),
        ("prelu", [("weight", (2,))], {}, "it reads 2 channels, but got 3"),
        ("global_average_pool", [], {"keepdim": True}, r"pools over positions, but got the shape \(2, 3\)"),
        ("adaptive_avg_pool", [], {"size": [1, 1]}, "it pools over 2 axes"),
        ("transpose", [], {"order": [0, 2, 1]}, "it orders 3 axes"),
        ("pad", [], {"amounts": [0, 1] * 3, "value": 0}, "it pads 3 axes"),
        ("reshape", [], {"shape": [-1, 2, 2]}, r"layer 1 \(reshape\) cannot read \(2, 3\): "),
        ("select", [], {"axis": 1, "index": 3}, r"layer 1 \(select\) cannot read \(2, 3\): "),
        ("instance_norm", [], {"eps": 1e-5}, "reads channels with positions"),
    ],
)
def test_shapes_that_do_not_fit_are_named(kind, parameters, attributes, words):
    """An input of another shape is refused with the layer, and, if its shape is recorded, beforehand."""
    architecture = single(kind, *parameters, **attributes)
    with pytest.raises(ArchitectureError, match=words):
        evaluate(architecture, torch.zeros(1, architecture.num_weights), torch.zeros(2, 2))
    recorded = evolve(architecture, input_shapes=[(2,)])
    with pytest.raises(ArchitectureError, match=words):
        raise ArchitectureError(obstacle(recorded))


def test_shapes_are_checked_without_computing():
    """A network that would not fit into memory is checked in no time."""
    size = 1 << 17
    layers = [linear("a", size, 2), linear("b", size, size, inputs=[0]), linear("c", 2, 3, inputs=[1])]
    found = obstacle(Architecture(layers=layers, outputs=[2], input_shapes=[(2,)]))
    assert f"layer 2 (linear 'c.weight') cannot read its input: it reads 3 columns, but got {size}" in found


@pytest.mark.parametrize("rearranged", [True, False])
def test_recorded_inputs_of_an_embedding_are_integers(rearranged):
    """An input that an embedding reads, perhaps behind a slice, is checked as integers."""
    table = Layer(
        kind="embedding",
        parameters=[Parameter(name="table", shape=(4, 3))],
        inputs=[0] if rearranged else (),
    )
    cut = Layer(kind="slice", attributes={"axis": 1, "start": 1})
    layers = [cut, table] if rearranged else [table]
    assert obstacle(Architecture(layers=layers, outputs=[len(layers) - 1], input_shapes=[(5,)])) is None


@pytest.mark.parametrize(
    ("weights", "inputs", "words"),
    [
        (torch.zeros(12), torch.zeros(1, 2), r"weights must be \(B, 12\) .* but got \(12,\)"),
        (torch.zeros(1, 11), torch.zeros(1, 2), r"weights must be \(B, 12\) .* but got \(1, 11\)"),
        (torch.zeros(1, 12), (), "the network reads 1 input, but got 0"),
        (torch.zeros(1, 12), torch.zeros(()), "each input must have K examples along its first axis"),
        (torch.zeros(1, 12), (torch.zeros(1, 2), torch.zeros(3, 2)), "each input must have K examples"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(weights, inputs, words):
    """Weights and inputs of other shapes are refused with the shapes."""
    with pytest.raises(ArchitectureError, match=words):
        evaluate(network(), weights, inputs)


# -- networks, types and factors -------------------------------------------------------------------------


def test_a_network_has_the_same_values_alone_and_among_others():
    """What a network computes does not depend on the networks beside it."""
    conv = nn.Conv2d(1, 3, 3)
    layers = [
        of_module(conv, "conv2d", attributes=CONV, activation="gelu").layers[0],
        Layer(kind="global_average_pool", inputs=[0], attributes={"keepdim": False}),
        linear("b", 2, 3, inputs=[1]),
    ]
    architecture = Architecture(layers=layers, outputs=[2])
    weights = torch.randn(5, architecture.num_weights, dtype=torch.float64)
    x = torch.randn(4, 1, 6, 6, dtype=torch.float64)
    among = evaluate(architecture, weights, x)
    alone = torch.cat([evaluate(architecture, row[None], x) for row in weights])
    torch.testing.assert_close(among, alone, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_computation_has_the_type_of_the_inputs(dtype):
    """Weights are brought to the type of the inputs."""
    architecture = of_module(nn.Conv2d(1, 3, 3), "conv2d", attributes=CONV)
    found = evaluate(architecture, torch.randn(2, 30), torch.randn(4, 1, 5, 5, dtype=dtype))
    assert found.dtype == dtype
    assert bool(found.isfinite().all())


def test_factors_that_the_description_lacks_can_be_passed():
    """A factor for each layer is used where the description has none, and has a gradient."""
    architecture = Architecture(
        layers=[
            linear("a", 3, 2, activation="sine"),
            linear("b", 3, 3, inputs=[0], activation="sine", attributes={"factor": 2.0}),
            linear("c", 1, 3, inputs=[1], activation="relu"),
        ],
        outputs=[2],
    )
    assert "the factor inside its sine" in obstacle(architecture)
    assert obstacle(architecture, factors=True) is None
    weights = torch.randn(2, 18, dtype=torch.float64)
    x = torch.randn(4, 2, dtype=torch.float64)
    factors = torch.tensor([30.0, 7.0, 5.0], dtype=torch.float64, requires_grad=True)
    found = evaluate(architecture, weights, x, factors=factors)
    known = architecture.to_json()
    known["layers"][0]["attributes"]["factor"] = 30.0
    expected = evaluate(Architecture.from_json(known), weights, x)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), factors)
    assert gradient[0] != 0
    assert gradient[1:].tolist() == [0, 0]
    own = torch.stack([factors, factors.detach() * 2])
    among = evaluate(architecture, weights, x, factors=own)
    torch.testing.assert_close(among[0], found[0])
    assert not torch.allclose(among[1], found[1])


def test_factors_of_another_number_of_layers_are_refused():
    """There is one factor for each layer."""
    with pytest.raises(ArchitectureError, match="one number for each of 2 layers, but got \\(3,\\)"):
        evaluate(network(), torch.zeros(1, 12), torch.zeros(1, 2), factors=torch.ones(3))


def test_values_before_the_first_weights_are_shared():
    """A value that is the same in all networks is computed once."""
    layers = [Layer(kind="activation", activation="tanh"), linear("a", 3, 2, inputs=[0])]
    values = layer_values(Architecture(layers=layers, outputs=[1]), torch.randn(5, 6), torch.randn(4, 2))
    assert [tuple(value.shape) for value in values] == [(1, 4, 2), (5, 4, 3)]


def test_an_output_without_weights_has_one_row_for_each_network():
    """The result has the axis of the networks, even if no weight acts on it."""
    layers = [linear("a", 3, 2), Layer(kind="activation", inputs=[-1], activation="tanh")]
    found = evaluate(Architecture(layers=layers, outputs=[1]), torch.randn(5, 6), torch.ones(4, 2))
    torch.testing.assert_close(found, torch.ones(5, 4, 2).tanh())


@pytest.mark.parametrize(
    ("module", "kind", "axis"),
    [
        (nn.Linear(2, 3), "linear", -1),
        (nn.Conv2d(2, 3, 1), "conv2d", 1),
        (nn.ConvTranspose1d(2, 3, 1), "conv_transpose1d", 1),
        (nn.BatchNorm1d(3), "batch_norm", 1),
        (nn.GroupNorm(1, 3), "group_norm", 1),
        (nn.LayerNorm(3), "layer_norm", -1),
        (nn.LayerNorm((3, 4)), "layer_norm", -2),
        (nn.Embedding(4, 3), "embedding", -1),
        (nn.GRU(2, 3), "gru", -1),
        (nn.PReLU(3), "prelu", 1),
        (nn.PReLU(), "prelu", None),
        (nn.Linear(2, 3), "mystery", None),
    ],
)
def test_the_axis_of_the_neurons(module, kind, axis):
    """The axis of a value along which the neurons lie that the parameters write."""
    assert neuron_axis(of_module(module, kind).layers[0]) == axis


def test_a_layer_without_parameters_has_no_axis_of_neurons():
    """Nothing says where the neurons of a sum lie."""
    assert neuron_axis(behind_scale(Layer(kind="flatten", inputs=[0])).layers[1]) is None
