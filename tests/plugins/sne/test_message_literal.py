"""``sne/message`` against its equations, written out in loops over nodes and weights; places and edges by hand."""

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
class Place:
    """The nodes (space, number) that stand at a place, and its coordinates by their axis."""

    nodes: tuple
    at: dict = field(factory=dict)


@frozen(kw_only=True)
class Edges:
    """What leads where: ``weight(p, i, j)`` of the j-th place that the i-th place written reads."""

    written: list
    read: list  #: or for each place written a list of its own
    weight: object = None
    own: bool = False
    vectors: tuple = ()
    activation: str = "none"


def centred(number, size):
    return (2 * number + 1) / size - 1


def kernel(*shape):
    """The positions of a kernel, and the coordinates of each."""
    for position in product(*map(range, shape)):
        at = {
            KERNEL + k: centred(p, n) for k, (p, n) in enumerate(zip(position, shape, strict=True)) if n > 1
        }
        yield position, at


def told(linear, at):
    """1 + a linear map of the sines and cosines of a place's coordinates, three waves each."""
    features = []
    for axis in range(6):
        angles = [at[axis] * wave * math.pi / 2 for wave in (1, 2, 4)] if axis in at else []
        features += [math.sin(a) for a in angles] + [math.cos(a) for a in angles] if angles else [0.0] * 6
    return 1 + linear(torch.tensor(features, dtype=torch.float64))


def literal(part, networks, spaces, steps):  # noqa: PLR0912, PLR0915  # the equations, from first to last
    """Return ``(L, D)``, the codes of one network, as the docstrings have it.

    Args:
        part: with the parameters.
        networks: one network.
        spaces: by name the size, whether its nodes have positions, and the number of the first parameter that writes it.
        steps: in the order of the layers.
    """
    architecture, w = networks.architecture, {n: p[0] for n, p in networks.parameters().items()}
    number = {p.name: index for index, p in enumerate(architecture.parameters)}
    codes = {}
    for name, (size, has_positions, first) in spaces.items():
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

    def leaving(messages, place):
        nodes = [codes[node] for node in place.nodes] or [part.input]
        return sum(messages.source(messages.norm(code)) for code in nodes) * told(
            messages.read_waves, place.at
        )

    def phi(messages, x, activation):
        mixture = messages.mixture
        if mixture.recorded and activation != "none":
            return {"relu": F.relu, "sine": torch.sin, "tanh": torch.tanh}[activation](x)
        return sum(share * f(x) for share, f in zip(mixture.logits.softmax(0), MIXED, strict=True))

    def write(messages, places, arrived):
        """H ← Block(H + Σ arrived ⊙ e' / √k), space by space."""
        stands = {}
        for place, value in zip(places, arrived, strict=True):
            for node in place.nodes:
                stands.setdefault(node, []).append(value * told(messages.written_waves, place.at))
        for space in {space for space, _ in stands}:
            for node in [key for key in codes if key[0] == space]:
                own = stands.get(node, [])
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

    for each in part.rounds:
        for step in steps:
            arrived = []
            for i, _ in enumerate(step.written):
                sources = step.read[i] if step.own else step.read
                edges = [
                    (step.weight(w, i, j), leaving(each.forth, place)) for j, place in enumerate(sources)
                ]
                vector = None
                for name in step.vectors:
                    direction = part.vectors(architecture, ((number[name],),), networks.weights)[0]
                    vector = (0 if vector is None else vector) + w[name].flatten()[i] * direction
                arrived.append(arriving(each.forth, edges, vector, step.activation))
            write(each.forth, step.written, arrived)
        for step in reversed(steps):
            sources = [place for own in step.read for place in own] if step.own else step.read
            ends = {space for place in sources for space, _ in place.nodes}
            to_input = all(spaces[space][2] is None for space in ends)
            if not ends or (to_input and each is part.rounds[-1]):
                continue
            arrived, codes_written = [], [leaving(each.back, place) for place in step.written]
            if step.own:
                for i, own in enumerate(step.read):
                    arrived += [
                        arriving(each.back, [(step.weight(w, i, j), codes_written[i])], None, step.activation)
                        for j, _ in enumerate(own)
                    ]
            else:
                for j, _ in enumerate(step.read):
                    edges = [(step.weight(w, i, j), code) for i, code in enumerate(codes_written)]
                    arrived.append(arriving(each.back, edges, None, step.activation))
            write(each.back, sources, arrived)
    found = []
    for name, (size, _, first) in spaces.items():
        if first is not None:
            nodes = torch.stack([part.norm(codes[name, node]) for node in range(size)])
            found.append(part.pool(nodes[None])[0])
    return torch.stack(found)


def nodes(space, size):
    return [Place(nodes=((space, n),)) for n in range(size)]


def linear(name, written, read, activation="none", *, bias=True):
    """A linear layer between two spaces."""
    return Edges(
        written=written,
        read=read,
        weight=lambda p, i, j: p[f"{name}.weight"][i, j],
        vectors=(f"{name}.bias",) if bias else (),
        activation=activation,
    )


def an_mlp():
    spaces = {
        "x": (2, True, None),
        "a": (3, False, "0.weight"),
        "b": (2, False, "1.weight"),
        "y": (2, True, "2.weight"),
    }
    steps = [
        linear("0", nodes("a", 3), nodes("x", 2), "sine"),
        linear("1", nodes("b", 2), nodes("a", 3), "sine"),
        linear("2", nodes("y", 2), nodes("b", 2)),
    ]
    return mlp(2, 3, 2, 2, activation="sine"), spaces, steps


def a_cnn():
    """Conv 1 → 2, conv 2 → 3, maps of 2 × 2 flattened, linear 12 → 2: one grey image holds no node."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, (2, 1)), nn.ReLU(), nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)
    )
    architecture = Architecture.from_module(net, torch.randn(2, 1, 4, 3))
    spaces = {"a": (2, False, "0.weight"), "b": (3, False, "2.weight"), "y": (2, True, "5.weight")}
    steps = [
        Edges(
            written=nodes("a", 2),
            read=[Place(nodes=(), at=at) for _, at in kernel(2, 1)],
            weight=lambda p, i, j: p["0.weight"][i, 0, j, 0],
            vectors=("0.bias",),
            activation="relu",
        ),
        Edges(
            written=nodes("b", 3),
            read=[Place(nodes=(("a", c),), at=at) for c in range(2) for _, at in kernel(2, 2)],
            weight=lambda p, i, j: p["2.weight"][i, j // 4, j % 4 // 2, j % 2],
            vectors=("2.bias",),
            activation="relu",
        ),
        linear(
            "5",
            nodes("y", 2),
            [Place(nodes=(("b", c),), at={BEHIND: centred(k, 4)}) for c in range(3) for k in range(4)],
        ),
    ]
    return architecture, spaces, steps


def a_depthwise_net():
    """Each channel of the depthwise convolution reads itself, at both positions of its kernel."""
    net = nn.Sequential(
        nn.Conv1d(2, 3, 1), nn.Tanh(), nn.Conv1d(3, 3, 2, groups=3), nn.Tanh(), nn.Conv1d(3, 2, 1, bias=False)
    )
    architecture = Architecture.from_module(net, torch.randn(2, 2, 4))
    spaces = {"x": (2, True, None), "a": (3, False, "0.weight"), "y": (2, True, "4.weight")}
    steps = [
        Edges(
            written=nodes("a", 3),
            read=nodes("x", 2),
            weight=lambda p, i, j: p["0.weight"][i, j, 0],
            vectors=("0.bias",),
            activation="tanh",
        ),
        Edges(
            written=nodes("a", 3),
            read=[[Place(nodes=(("a", c),), at=at) for _, at in kernel(2)] for c in range(3)],
            weight=lambda p, i, j: p["2.weight"][i, 0, j],
            own=True,
            vectors=("2.bias",),
            activation="tanh",
        ),
        Edges(written=nodes("y", 2), read=nodes("a", 3), weight=lambda p, i, j: p["4.weight"][i, j, 0]),
    ]
    return architecture, spaces, steps


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))


def a_gru():
    """The three gates of a neuron are three places of one node."""
    architecture = Architecture.from_module(Gated(), torch.randn(2, 4, 2))
    gates = [Place(nodes=(("h", n),), at={SEGMENT: centred(g, 3)}) for g in range(3) for n in range(3)]
    spaces = {"x": (2, True, None), "h": (3, False, "rnn.weight_ih_l0"), "y": (2, True, "head.weight")}
    steps = [
        Edges(
            written=gates,
            read=nodes("x", 2),
            weight=lambda p, i, j: p["rnn.weight_ih_l0"][i, j],
            vectors=("rnn.bias_ih_l0", "rnn.bias_hh_l0"),
        ),
        Edges(written=gates, read=nodes("h", 3), weight=lambda p, i, j: p["rnn.weight_hh_l0"][i, j]),
        linear("head", nodes("y", 2), nodes("h", 3)),
    ]
    return architecture, spaces, steps


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
    """A place of queries, keys or values holds a node of the head, and one of the neuron within it.

    Queries and keys share their neurons; the map behind the values writes the stream once more.
    """
    architecture = Architecture.from_module(Attends(), torch.randn(2, 5, 3))
    spaces = {
        "x": (3, True, None),
        "stream": (4, False, "first.weight"),
        "heads": (2, False, "qkv.weight"),
        "qk": (4, False, "qkv.weight"),
        "v": (4, False, "qkv.weight"),
        "y": (2, True, "head.weight"),
    }
    rows = [
        Place(nodes=(("heads", h), (inner, 2 * h + d)), at={SEGMENT: centred(s, 3)})
        for s, inner in enumerate(("qk", "qk", "v"))
        for h in range(2)
        for d in range(2)
    ]
    values = [Place(nodes=(("heads", h), ("v", 2 * h + d))) for h in range(2) for d in range(2)]
    steps = [
        linear("first", nodes("stream", 4), nodes("x", 3)),
        Edges(written=nodes("stream", 4), read=[], vectors=("norm.weight", "norm.bias")),
        linear("qkv", rows, nodes("stream", 4)),
        linear("proj", nodes("stream", 4), values),
        linear("head", nodes("y", 2), nodes("stream", 4)),
    ]
    return architecture, spaces, steps


CASES = {"mlp": an_mlp, "cnn": a_cnn, "depthwise": a_depthwise_net, "gru": a_gru, "attention": an_attention}


@pytest.mark.parametrize("activation", ["mixture", "recorded"])
@pytest.mark.parametrize("name", CASES)
def test_the_codes_are_those_of_the_equations(name, activation):
    architecture, spaces, steps = CASES[name]()
    torch.manual_seed(0)
    spec = Spec(carrier=Networks, width=1, architectures=(architecture,))
    part = Message(Message.Config(width=8, heads=2, activation=activation), spec).double()
    with torch.no_grad():
        for parameter in part.parameters():  # none that is zero or one, as it is at first
            parameter.add_(0.2 * torch.randn_like(parameter))
        networks = Networks(
            architecture=architecture, weights=torch.randn(3, architecture.num_weights, dtype=torch.float64)
        )
        (found,) = part((networks,))
        for row in range(3):
            one = Networks(architecture=architecture, weights=networks.weights[row : row + 1])
            assert torch.allclose(found.codes[row], literal(part, one, spaces, steps), rtol=1e-10, atol=1e-10)
