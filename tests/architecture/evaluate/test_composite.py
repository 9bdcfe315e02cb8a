"""Attention and recurrent layers compute what torch's modules compute."""

import pytest
import torch
from described import assert_agrees, of_module, parameters
from torch import nn

from sneframe.architecture import Architecture, Layer
from sneframe.architecture.evaluate import evaluate, obstacle
from sneframe.errors import ArchitectureError

SELF = (-1, -1, -1)


class Attends(nn.Module):
    """Attention of the inputs ``query``, ``key`` and ``value``, without the weights that it returns."""

    def __init__(self, mask=None, **options):
        super().__init__()
        self.attention, self.mask = nn.MultiheadAttention(6, 3, **options), mask

    def forward(self, query, key=None, value=None):
        key, value = (query, query) if key is None else (key, value)
        return self.attention(query, key, value, attn_mask=self.mask, need_weights=False)[0]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("extra", [True, False])
def test_self_attention(batch_first, bias, extra):
    """Self-attention with its output layer, in both orders of axes, with and without learned last tokens."""
    module = Attends(batch_first=batch_first, bias=bias, add_bias_kv=extra)
    attributes = {"num_heads": 3, "batch_first": batch_first}
    architecture = of_module(module, "multihead_attention", inputs=SELF, attributes=attributes)
    assert_agrees(architecture, module, torch.randn(2, 4, 6))


def test_attention_to_another_sequence_of_other_widths():
    """Query, key and value may have different widths and lengths."""
    module = Attends(batch_first=True, kdim=4, vdim=5)
    attributes = {"num_heads": 3, "batch_first": True}
    architecture = of_module(module, "multihead_attention", inputs=(-1, -2, -3), attributes=attributes)
    assert_agrees(architecture, module, torch.randn(2, 4, 6), torch.randn(2, 7, 4), torch.randn(2, 7, 5))


MASKS = {
    "boolean": torch.ones(4, 4, dtype=torch.bool).triu(1),
    "numbers": torch.linspace(-1, 1, 16, dtype=torch.float64).reshape(4, 4),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("extra", [True, False])
def test_attention_with_a_mask(mask, extra):
    """A mask hides tokens, or is added to the scores."""
    module = Attends(mask, batch_first=True, add_bias_kv=extra)
    given = {"shape": [4, 4], "values": mask.flatten().tolist()}
    if mask.dtype == torch.bool:
        given["dtype"] = "bool"
    attributes = {"num_heads": 3, "batch_first": True, "mask": True}
    attention = Layer(
        kind="multihead_attention", parameters=parameters(module), inputs=(*SELF, 0), attributes=attributes
    )
    architecture = Architecture(layers=[Layer(kind="constant", attributes=given), attention], outputs=[1])
    assert_agrees(architecture, module, torch.randn(2, 4, 6))


def test_causal_attention():
    """Without a mask, ``is_causal`` hides later tokens."""
    module = Attends(MASKS["boolean"], batch_first=True)
    attributes = {"num_heads": 3, "batch_first": True, "is_causal": True}
    architecture = of_module(module, "multihead_attention", inputs=SELF, attributes=attributes)
    assert_agrees(architecture, module, torch.randn(2, 4, 6))


def test_a_transformer_layer_composed_of_kinds():
    """An encoder layer of torch is attention, sums, layer norms and two linear layers."""
    module = nn.TransformerEncoderLayer(6, 3, 10, dropout=0.0, activation="gelu", batch_first=True)
    found = {p.name: p for p in parameters(module)}

    def named(*names):
        return [found[name] for name in names]

    norm = {"eps": 1e-5, "shape": [6]}
    layers = [
        Layer(
            kind="multihead_attention",
            parameters=named("self_attn.in_proj_weight", "self_attn.in_proj_bias"),
            inputs=SELF,
            attributes={"num_heads": 3, "batch_first": True},
        ),
        Layer(
            kind="linear",
            parameters=named("self_attn.out_proj.weight", "self_attn.out_proj.bias"),
            inputs=[0],
        ),
        Layer(kind="add", inputs=[-1, 1]),
        Layer(kind="layer_norm", parameters=named("norm1.weight", "norm1.bias"), inputs=[2], attributes=norm),
        Layer(
            kind="linear",
            parameters=named("linear1.weight", "linear1.bias"),
            inputs=[3],
            activation="gelu",
        ),
        Layer(kind="linear", parameters=named("linear2.weight", "linear2.bias"), inputs=[4]),
        Layer(kind="add", inputs=[3, 5]),
        Layer(kind="layer_norm", parameters=named("norm2.weight", "norm2.bias"), inputs=[6], attributes=norm),
    ]
    architecture = Architecture(layers=layers, outputs=[7], input_shapes=[(4, 6)])
    assert obstacle(architecture) is None
    assert_agrees(architecture, module, torch.randn(2, 4, 6))


RECURRENT = {
    "lstm": (nn.LSTM, "lstm", {}),
    "gru": (nn.GRU, "gru", {}),
    "rnn": (nn.RNN, "rnn", {"nonlinearity": "tanh"}),
    "rnn-relu": (nn.RNN, "rnn", {"nonlinearity": "relu"}),
    "lstm-proj": (nn.LSTM, "lstm", {"proj_size": 2}),
}


class Runs(nn.Module):
    """A recurrent layer of which one of the results is returned."""

    def __init__(self, cls, returns, **options):
        super().__init__()
        self.layer, self.returns = cls(3, 4, **options), returns

    def forward(self, x, *states):
        given = states[0] if len(states) == 1 else states or None
        sequence, last = self.layer(x, given)
        last = last if isinstance(last, tuple) else (last,)
        return {"sequence": sequence, **dict(zip(("state", "cell"), last, strict=False))}[self.returns]


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("returns", ["sequence", "state", "cell"])
@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "batch_first", "bias"),
    [(1, False, True, True), (2, True, False, True), (2, False, True, False)],
)
def test_recurrent_layers(name, returns, num_layers, bidirectional, batch_first, bias):
    """Recurrent layers of several levels and directions, and everything that they return."""
    cls, kind, options = RECURRENT[name]
    if returns == "cell" and kind != "lstm":
        pytest.skip("only an LSTM has cells")
    shape = {"num_layers": num_layers, "bidirectional": bidirectional, "batch_first": batch_first}
    module = Runs(cls, returns, **shape, **options, bias=bias)
    attributes = {"hidden_size": 4, "returns": returns, **shape, **options}
    assert_agrees(of_module(module, kind, attributes=attributes), module, torch.randn(3, 5, 3))


@pytest.mark.parametrize(("name", "count"), [("lstm", 2), ("gru", 1), ("rnn", 1)])
def test_recurrent_layers_with_first_states(name, count):
    """The first states may be read from other layers or inputs."""
    cls, kind, options = RECURRENT[name]
    shape = {"num_layers": 2, "bidirectional": True, "batch_first": False}
    module = Runs(cls, "sequence", **shape, **options)
    attributes = {"hidden_size": 4, "returns": "sequence", **shape, **options}
    architecture = of_module(module, kind, inputs=range(-1, -2 - count, -1), attributes=attributes)
    # The states have the levels and directions along their first axis, so there are four "examples".
    assert_agrees(architecture, module, torch.randn(4, 4, 3), *[torch.randn(4, 4, 4) for _ in range(count)])


class Steps(nn.Module):
    """One step of a recurrent cell."""

    def __init__(self, cls, returns, **options):
        super().__init__()
        self.cell, self.returns = cls(3, 4, **options), returns

    def forward(self, x, *states):
        made = self.cell(x, states if len(states) == 2 else states[0] if states else None)
        return made if isinstance(made, torch.Tensor) else made[self.returns == "cell"]


@pytest.mark.parametrize(
    ("cls", "kind", "returns", "count", "options"),
    [
        (nn.LSTMCell, "lstm", "state", 2, {}),
        (nn.LSTMCell, "lstm", "cell", 2, {}),
        (nn.LSTMCell, "lstm", "cell", 0, {}),
        (nn.GRUCell, "gru", "state", 1, {}),
        (nn.RNNCell, "rnn", "state", 1, {"nonlinearity": "relu"}),
    ],
)
def test_cells(cls, kind, returns, count, options):
    """A cell computes one step."""
    module = Steps(cls, returns, **options)
    attributes = {"hidden_size": 4, "cell": True, "returns": returns, **options}
    architecture = of_module(module, kind, inputs=range(-1, -2 - count, -1), attributes=attributes)
    assert_agrees(architecture, module, torch.randn(2, 3), *[torch.randn(2, 4) for _ in range(count)])


def test_an_lstm_reads_both_first_states_or_none():
    """One of two states does not say what the other is."""
    shape = {"num_layers": 1, "bidirectional": False, "batch_first": False}
    attributes = {"hidden_size": 4, "returns": "sequence", **shape}
    found = obstacle(of_module(nn.LSTM(3, 4), "lstm", inputs=(-1, -2), attributes=attributes))
    assert "must read both first states or none, but reads one" in found


def test_a_sequence_of_another_width_is_refused():
    """The error names the layer and the columns."""
    module = nn.GRU(3, 4, batch_first=True)
    shape = {"num_layers": 1, "bidirectional": False, "batch_first": True}
    architecture = of_module(module, "gru", attributes={"hidden_size": 4, "returns": "sequence", **shape})
    with pytest.raises(ArchitectureError, match=r"layer 0 \(gru 'weight_ih_l0'\) .* 3 columns, but got 2"):
        evaluate(architecture, torch.zeros(1, architecture.num_weights), torch.zeros(1, 5, 2))
