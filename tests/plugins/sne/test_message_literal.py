"""``sne/message`` compared with its equations, in loops over nodes and weights, with slots by hand."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from attrs import field, frozen
from sneframe_sne.message.layer_encoder import Message
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.parts.part import Spec
from sneframe.testing import mlp

SEGMENT, BEFORE, BEHIND, KERNEL = range(4)
MIXED = (F.relu, torch.tanh, torch.sin, F.gelu)


@frozen(kw_only=True)
class Slot:
    """A slot: the nodes (node set, number) that it holds, and its coordinates by their kind."""

    nodes: tuple
    at: dict = field(factory=dict)


@frozen(kw_only=True)
class Edges:
    """Edges: ``weight(p, i, j)`` leads from the j-th source of the i-th target to this target."""

    targets: list
    sources: list  #: or a list of its own for each target
    weight: object = None
    own: bool = False
    vectors: tuple = ()
    activation: str = "none"


def centred(number, size):
    return (2 * number + 1) / size - 1


def kernel(*shape):
    """Yield each position of a kernel and its coordinates."""
    for position in product(*map(range, shape)):
        at = {
            KERNEL + k: centred(p, n) for k, (p, n) in enumerate(zip(position, shape, strict=True)) if n > 1
        }
        yield position, at


def scale(linear, at):
    """Return 1 + a linear map of the sines and cosines of a slot's coordinates, three waves each."""
    features = []
    for axis in range(6):
        angles = [at[axis] * wave * math.pi / 2 for wave in (1, 2, 4)] if axis in at else []
        features += [math.sin(a) for a in angles] + [math.cos(a) for a in angles] if angles else [0.0] * 6
    return 1 + linear(torch.tensor(features, dtype=torch.float64))


def literal(part, networks, node_sets, all_edges):  # noqa: PLR0912, PLR0915  # all equations in one place
    """Return the codes ``(L, D)`` of one network, as the equations in the docstrings give them.

    Args:
        part: the encoder.
        networks: one network.
        node_sets: by name the size, whether nodes have positions, and the first parameter that leads to it.
        all_edges: the edges in the order of the layers.
    """
    architecture, w = networks.architecture, {n: p[0] for n, p in networks.parameters().items()}
    number = {p.name: index for index, p in enumerate(architecture.parameters)}
    codes = {}
    for name, (size, has_positions, first) in node_sets.items():
        start = (
            part.input
            if first is None
            else part.encoding(architecture, ((number[first],),), networks.weights)[0]
        )
        for node in range(size):
            code = start
            if has_positions:
                c = centred(node, size)
                angles = [c * wave * math.pi / 2 for wave in (1, 2, 4)]
                values = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
                code = code + part.position(torch.tensor(values, dtype=torch.float64))
            codes[name, node] = code

    def leaving(messages, slot):
        nodes = [codes[node] for node in slot.nodes] or [part.input]
        return sum(messages.source(messages.norm(code)) for code in nodes) * scale(
            messages.read_waves, slot.at
        )

    def phi(messages, x, activation):
        mixture = messages.mixture
        if mixture.recorded and activation != "none":
            return {"relu": F.relu, "sine": torch.sin, "tanh": torch.tanh}[activation](x)
        return sum(fraction * f(x) for fraction, f in zip(mixture.logits.softmax(0), MIXED, strict=True))

    def write(messages, slots, arrived):
        """H ← Block(H + Σ arrived ⊙ e' / √k), one node set at a time."""
        received = {}
        for slot, value in zip(slots, arrived, strict=True):
            for node in slot.nodes:
                received.setdefault(node, []).append(value * scale(messages.written_waves, slot.at))
        for node_set in {node_set for node_set, _ in received}:
            for node in [key for key in codes if key[0] == node_set]:
                own = received.get(node, [])
                x = codes[node] + (sum(own) / len(own) ** 0.5 if own else 0)
                codes[node] = x + messages.block(x)

    def arriving(messages, edges, vector, activation):
        n = len(edges)
        m = sum(weight * code for weight, code in edges) / n**0.5 if n else torch.zeros_like(part.input)
        size = (
            sum(abs(weight) * code for weight, code in edges) / n**0.5 if n else torch.zeros_like(part.input)
        )
        inner = m if vector is None else m + vector
        value = messages.out(torch.cat([m, size, phi(messages, inner, activation)]))
        return value if vector is None else value + vector

    for each_round in part.rounds:
        for own_edges in all_edges:
            arrived = []
            for i, _ in enumerate(own_edges.targets):
                sources = own_edges.sources[i] if own_edges.own else own_edges.sources
                edges = [
                    (own_edges.weight(w, i, j), leaving(each_round.forth, slot))
                    for j, slot in enumerate(sources)
                ]
                vector = None
                for name in own_edges.vectors:
                    direction = part.vectors(architecture, ((number[name],),), networks.weights)[0]
                    vector = (0 if vector is None else vector) + w[name].flatten()[i] * direction
                arrived.append(arriving(each_round.forth, edges, vector, own_edges.activation))
            write(each_round.forth, own_edges.targets, arrived)
        for own_edges in reversed(all_edges):
            sources = (
                [slot for own in own_edges.sources for slot in own] if own_edges.own else own_edges.sources
            )
            ends = {node_set for slot in sources for node_set, _ in slot.nodes}
            to_input = all(node_sets[node_set][2] is None for node_set in ends)
            if not ends or (to_input and each_round is part.rounds[-1]):
                continue
            arrived, sent = [], [leaving(each_round.back, slot) for slot in own_edges.targets]
            if own_edges.own:
                for i, own in enumerate(own_edges.sources):
                    arrived += [
                        arriving(
                            each_round.back,
                            [(own_edges.weight(w, i, j), sent[i])],
                            None,
                            own_edges.activation,
                        )
                        for j, _ in enumerate(own)
                    ]
            else:
                for j, _ in enumerate(own_edges.sources):
                    edges = [(own_edges.weight(w, i, j), code) for i, code in enumerate(sent)]
                    arrived.append(arriving(each_round.back, edges, None, own_edges.activation))
            write(each_round.back, sources, arrived)
    pooled = []
    for name, (size, _, first) in node_sets.items():
        if first is not None:
            nodes = torch.stack([part.norm(codes[name, node]) for node in range(size)])
            pooled.append(part.pool(nodes[None])[0])
    return torch.stack(pooled)


def nodes(node_set, size):
    return [Slot(nodes=((node_set, n),)) for n in range(size)]


def linear(name, targets, sources, activation="none", *, bias=True):
    """The edges of a linear layer."""
    return Edges(
        targets=targets,
        sources=sources,
        weight=lambda p, i, j: p[f"{name}.weight"][i, j],
        vectors=(f"{name}.bias",) if bias else (),
        activation=activation,
    )


def an_mlp():
    node_sets = {
        "x": (2, True, None),
        "a": (3, False, "0.weight"),
        "b": (2, False, "1.weight"),
        "y": (2, True, "2.weight"),
    }
    all_edges = [
        linear("0", nodes("a", 3), nodes("x", 2), "sine"),
        linear("1", nodes("b", 2), nodes("a", 3), "sine"),
        linear("2", nodes("y", 2), nodes("b", 2)),
    ]
    return mlp(2, 3, 2, 2, activation="sine"), node_sets, all_edges


def a_cnn():
    """Convolutions 1 → 2 and 2 → 3, maps of 2 × 2 flattened, linear 12 → 2. A grey image has no node."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, (2, 1)), nn.ReLU(), nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)
    )
    architecture = Architecture.from_module(net, torch.randn(2, 1, 4, 3))
    node_sets = {"a": (2, False, "0.weight"), "b": (3, False, "2.weight"), "y": (2, True, "5.weight")}
    all_edges = [
        Edges(
            targets=nodes("a", 2),
            sources=[Slot(nodes=(), at=at) for _, at in kernel(2, 1)],
            weight=lambda p, i, j: p["0.weight"][i, 0, j, 0],
            vectors=("0.bias",),
            activation="relu",
        ),
        Edges(
            targets=nodes("b", 3),
            sources=[Slot(nodes=(("a", c),), at=at) for c in range(2) for _, at in kernel(2, 2)],
            weight=lambda p, i, j: p["2.weight"][i, j // 4, j % 4 // 2, j % 2],
            vectors=("2.bias",),
            activation="relu",
        ),
        linear(
            "5",
            nodes("y", 2),
            [Slot(nodes=(("b", c),), at={BEHIND: centred(k, 4)}) for c in range(3) for k in range(4)],
        ),
    ]
    return architecture, node_sets, all_edges


def a_depthwise_net():
    """Each channel of the depthwise convolution reads itself, at both positions of its kernel."""
    net = nn.Sequential(
        nn.Conv1d(2, 3, 1), nn.Tanh(), nn.Conv1d(3, 3, 2, groups=3), nn.Tanh(), nn.Conv1d(3, 2, 1, bias=False)
    )
    architecture = Architecture.from_module(net, torch.randn(2, 2, 4))
    node_sets = {"x": (2, True, None), "a": (3, False, "0.weight"), "y": (2, True, "4.weight")}
    all_edges = [
        Edges(
            targets=nodes("a", 3),
            sources=nodes("x", 2),
            weight=lambda p, i, j: p["0.weight"][i, j, 0],
            vectors=("0.bias",),
            activation="tanh",
        ),
        Edges(
            targets=nodes("a", 3),
            sources=[[Slot(nodes=(("a", c),), at=at) for _, at in kernel(2)] for c in range(3)],
            weight=lambda p, i, j: p["2.weight"][i, 0, j],
            own=True,
            vectors=("2.bias",),
            activation="tanh",
        ),
        Edges(targets=nodes("y", 2), sources=nodes("a", 3), weight=lambda p, i, j: p["4.weight"][i, j, 0]),
    ]
    return architecture, node_sets, all_edges


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))


def a_gru():
    """The three gates of a neuron are three slots of one node."""
    architecture = Architecture.from_module(Gated(), torch.randn(2, 4, 2))
    gates = [Slot(nodes=(("h", n),), at={SEGMENT: centred(g, 3)}) for g in range(3) for n in range(3)]
    node_sets = {"x": (2, True, None), "h": (3, False, "rnn.weight_ih_l0"), "y": (2, True, "head.weight")}
    all_edges = [
        Edges(
            targets=gates,
            sources=nodes("x", 2),
            weight=lambda p, i, j: p["rnn.weight_ih_l0"][i, j],
            vectors=("rnn.bias_ih_l0", "rnn.bias_hh_l0"),
        ),
        Edges(targets=gates, sources=nodes("h", 3), weight=lambda p, i, j: p["rnn.weight_hh_l0"][i, j]),
        linear("head", nodes("y", 2), nodes("h", 3)),
    ]
    return architecture, node_sets, all_edges


class Attends(nn.Module):
    """A stream of 4, two heads of 2, one fused map for queries, keys and values."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(3, 4), nn.LayerNorm(4)
        self.qkv, self.proj, self.head = nn.Linear(4, 12), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x)
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, tokens, 3, 2, 2).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.head((x + self.proj(y.transpose(1, 2).reshape(batch, tokens, width))).mean(1))


def an_attention():
    """A slot of queries, keys or values holds the node of a head, and that of a neuron within it.

    Queries and keys share their neurons. The map after the values leads to the stream again.
    """
    architecture = Architecture.from_module(Attends(), torch.randn(2, 5, 3))
    node_sets = {
        "x": (3, True, None),
        "stream": (4, False, "first.weight"),
        "heads": (2, False, "qkv.weight"),
        "qk": (4, False, "qkv.weight"),
        "v": (4, False, "qkv.weight"),
        "y": (2, True, "head.weight"),
    }
    rows = [
        Slot(nodes=(("heads", h), (inner, 2 * h + d)), at={SEGMENT: centred(s, 3)})
        for s, inner in enumerate(("qk", "qk", "v"))
        for h in range(2)
        for d in range(2)
    ]
    values = [Slot(nodes=(("heads", h), ("v", 2 * h + d))) for h in range(2) for d in range(2)]
    all_edges = [
        linear("first", nodes("stream", 4), nodes("x", 3)),
        Edges(targets=nodes("stream", 4), sources=[], vectors=("norm.weight", "norm.bias")),
        linear("qkv", rows, nodes("stream", 4)),
        linear("proj", nodes("stream", 4), values),
        linear("head", nodes("y", 2), nodes("stream", 4)),
    ]
    return architecture, node_sets, all_edges


CASES = {"mlp": an_mlp, "cnn": a_cnn, "depthwise": a_depthwise_net, "gru": a_gru, "attention": an_attention}


@pytest.mark.parametrize("activation", ["mixture", "recorded"])
@pytest.mark.parametrize("name", CASES)
def test_the_codes_are_those_of_the_equations(name, activation):
    """The encoder gives the same codes as the loops, to 1e-10."""
    architecture, node_sets, all_edges = CASES[name]()
    torch.manual_seed(0)
    spec = Spec(carrier=Networks, width=1, architectures=(architecture,))
    part = Message(Message.Config(width=8, heads=2, activation=activation), spec).double()
    with torch.no_grad():
        for parameter in part.parameters():  # some are 0 or 1 at initialisation
            parameter.add_(0.2 * torch.randn_like(parameter))
        networks = Networks(
            architecture=architecture, weights=torch.randn(3, architecture.num_weights, dtype=torch.float64)
        )
        (actual,) = part((networks,))
        for row in range(3):
            one = Networks(architecture=architecture, weights=networks.weights[row : row + 1])
            expected = literal(part, one, node_sets, all_edges)
            assert torch.allclose(actual.codes[row], expected, rtol=1e-10, atol=1e-10)
