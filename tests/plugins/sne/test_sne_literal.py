"""SNE compared with its equations (1) to (6) written out: outputs and gradients, in float64, to 1e-10.

The equations are computed for one network, one unit, one chunk and one head at a time, without fast forms,
batches or shared passes. They use nothing of the encoder but its weights and options.
"""

import math

import pytest
import torch

import sneframe
from sneframe.batch import join
from sneframe.testing import mlp

# The normalisation is left unfitted on purpose; its scales are set below.
pytestmark = pytest.mark.filterwarnings("ignore:.*was never fitted")

D, HEADS = 8, 2
SEEN, OTHER, UNSEEN = mlp(1, 5, 4, 1), mlp(2, 3, 1), mlp(1, 2, 3, 2, 1)


# -- set attention -------------------------------------------------------------------------------------------


def affine(layer, x):
    bias = torch.zeros(layer.weight.shape[0]) if layer.bias is None else layer.bias
    return x @ layer.weight.T + bias


def layer_norm(norm, x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def mab(block, x, y, mask):
    """MAB(X, Y) = LN(H + ReLU(H W_o)), H = LN(X W_q + concat_h softmax(Q_h K_hᵀ / √d_h) V_h)."""
    q, k, v = affine(block.query, x), affine(block.key, y), affine(block.value, y)
    heads, d = [], q.shape[1] // HEADS
    for h in range(HEADS):
        columns = slice(h * d, (h + 1) * d)
        scores = q[:, columns] @ k[:, columns].T / math.sqrt(d)
        scores = scores.masked_fill(~mask, -math.inf)  # (elements of X, elements of Y)
        heads.append(scores.softmax(-1) @ v[:, columns])
    hidden = layer_norm(block.norm1, q + torch.cat(heads, dim=1))
    return layer_norm(block.norm2, hidden + affine(block.output, hidden).relu())


def whole(x):
    return torch.ones(len(x), dtype=torch.bool)


def set_block(block, x):
    """SAB(X) = MAB(X, X), or ISAB(X) = MAB(X, MAB(I, X))."""
    if hasattr(block, "points"):
        return mab(block.scatter, x, mab(block.gather, block.points, x, whole(x)), whole(block.points))
    return mab(block.mab, x, x, whole(x))


def pma(block, x, mask):
    return mab(block, block.seed, x, mask)[0]


# -- encodings of type and level -----------------------------------------------------------------------------


def waves(position, width):
    return [
        wave(position / 10000 ** (2 * k / width)) for k in range(width // 2) for wave in (math.sin, math.cos)
    ]


def encoding(table, architecture, unit):
    """The mean of the type vectors of a unit's parameters (row 0 for an unseen type), plus its level."""
    known = sorted({*SEEN.types, *OTHER.types})
    vectors = [
        table.weight[1 + known.index(architecture.types[p]) if architecture.types[p] in known else 0]
        for p in unit
    ]
    level, last = unit[0] // 2, len(architecture.parameters) // 2 - 1  # weight, bias, weight, bias, …
    sinusoids = waves(level, D // 2) + waves(100 * level / last, D // 2)
    return torch.stack(vectors).mean(0) + torch.tensor(sinusoids)


# -- the equations -------------------------------------------------------------------------------------------


def chunks(flat, size):
    """(1) Flatten, pad with zeros, and cut; the mask is true for weights."""
    for start in range(0, len(flat), size):
        piece = flat[start : start + size]
        missing = size - len(piece)
        yield torch.cat([piece, torch.zeros(missing)]), torch.arange(size) < len(piece)


def root_mean_square(values):
    """With a millionth added to the mean square, so that zeros have a logarithm."""
    return (sum(value**2 for value in values) / len(values) + 1e-6).sqrt()


def literal(model, architecture, weights):
    parts, aggregator = model.layer_encoder, model.aggregator
    codes, logs, offset = [], [], 0
    for number, parameter in enumerate(architecture.parameters):
        flat = weights[offset : offset + parameter.size]
        offset += parameter.size
        last = len(architecture.parameters) // 2 - 1
        position = {0: "first", last: "last"}.get(number // 2, "hidden")
        key = (architecture.types[number], position)
        flat = flat * math.sqrt(parameter.fan_in) / model.normalise.scale[model.normalise.keys.index(key)]
        logs.append(root_mean_square(flat).log())
        if parts.config.scale_encoding:
            flat = flat / root_mean_square(flat)
        codes.append([])
        for chunk, mask in chunks(flat, model.tokenizer.config.chunk_size):
            x = mab(parts.phi1_scalar, chunk[:, None], chunk[:, None], mask)  # (2)
            for block in parts.phi1:
                x = mab(block.mab, x, x, mask)
            x = x + encoding(parts.chunk_encoding.table, architecture, [number])
            if parts.config.scale_encoding:
                x = x + affine(parts.chunk_scale, root_mean_square(chunk[mask]).log()[None])
            codes[-1].append(pma(parts.psi2, x, mask))  # (3)
    count = len(architecture.parameters)
    units = [[p] for p in range(count)]
    if parts.config.unit == "layer":
        units = [[p, p + 1] for p in range(0, count, 2)]
    vectors = []
    for unit in units:
        z = torch.stack([code for p in unit for code in codes[p]])
        for block in parts.phi3:
            z = set_block(block, z)  # (4)
        z = z + encoding(parts.unit_encoding.table, architecture, unit)
        if parts.config.scale_encoding:
            mean = sum(logs[p] for p in unit) / len(unit)
            z = z + affine(parts.unit_scale, mean[None])
        vectors.append(pma(parts.psi4, z, whole(z)))  # (5)
    u = torch.stack(vectors)
    for block in aggregator.phi5:
        u = set_block(block, u)
    return pma(aggregator.psi6, u, whole(u))  # (6)


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def encoder(*words):
    torch.manual_seed(0)
    small = (f"layer_encoder.width={D}", f"layer_encoder.heads={HEADS}", f"aggregator.heads={HEADS}")
    built = sneframe.encoder("sne", (SEEN, OTHER), *small, "layer_encoder.points=3", *words)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        built.normalise.scale.uniform_(0.5, 2.0)
    return built


def mixed_batch(architectures):
    """Two networks of each architecture, which alternate."""
    generator = torch.Generator().manual_seed(1)
    weights = {a: torch.randn(2, a.num_weights, generator=generator) for a in architectures}
    return join(weights, {a: [n, n + len(weights)] for n, a in enumerate(weights)})


def networks_of(batch):
    """Yield architecture and weights of each network, in the order of the batch."""
    for position in range(len(batch)):
        (networks,) = batch.select([position]).networks
        yield networks.architecture, networks.weights[0]


@pytest.mark.parametrize("unit", ["parameter", "layer"])
@pytest.mark.parametrize("attention", ["isab", "sab"])
# 5 · 4 weights give 7 or 3 chunks, of which the last is padded; so is every bias.
@pytest.mark.parametrize("size", [3, 7])
def test_the_encoder_equals_its_equations(unit, attention, size):
    """Embeddings and gradients of all trainable weights are those of the equations, for each setting."""
    words = (f"layer_encoder.unit={unit}", f"layer_encoder.attention={attention}")
    model = encoder(*words, f"tokenizer.chunk_size={size}", "layer_encoder.chunks_per_pass=4")
    batch = mixed_batch((SEEN, OTHER))
    weight = torch.randn(len(batch), D)

    actual = model(batch)
    (actual * weight).sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    expected = torch.stack([literal(model, *network) for network in networks_of(batch)])
    (expected * weight).sum().backward()

    assert torch.allclose(actual, expected, atol=1e-10, rtol=0)
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0 or name.endswith("key.bias"), name
        assert torch.allclose(found[name], parameter.grad, atol=1e-10, rtol=1e-10), name


@pytest.mark.parametrize(
    "options",
    [
        ("blocks=2", "scale_encoding=false"),
        ("blocks=3",),
        ("blocks=1", "scale_encoding=false"),
    ],
    ids="+".join,
)
def test_each_option_of_the_encoder_equals_its_equations(options):
    """One or three blocks in Φ1, and encoded scales: outputs, and gradients of all trainable weights."""
    words = (f"layer_encoder.{option}" for option in options)
    model, batch = encoder(*words, "tokenizer.chunk_size=3"), mixed_batch((SEEN, OTHER))
    weight, leaves = torch.randn(len(batch), D), list(model.parameters())
    actual = model(batch)
    expected = torch.stack([literal(model, *network) for network in networks_of(batch)])
    assert torch.allclose(actual, expected, atol=1e-10, rtol=0)
    pairs = [torch.autograd.grad((output * weight).sum(), leaves) for output in (actual, expected)]
    for one, other in zip(*pairs, strict=True):
        assert torch.allclose(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("unit", ["parameter", "layer"])
def test_unseen_depths_follow_the_same_equations(unit):
    """A deeper network with types of the training networks is encoded alike."""
    model = encoder(f"layer_encoder.unit={unit}", "tokenizer.chunk_size=3")
    batch = mixed_batch((UNSEEN, SEEN))
    expected = torch.stack([literal(model, *network) for network in networks_of(batch)])
    assert torch.allclose(model(batch), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("scale", ["false", "true"])
def test_weights_of_a_network_get_the_right_gradient(scale):
    """The gradient for a network's own weights is that of the equations."""
    model = encoder("tokenizer.chunk_size=3", f"layer_encoder.scale_encoding={scale}")
    batch = mixed_batch((SEEN,))
    weights = batch.networks[0].weights.requires_grad_()
    factor = torch.randn(len(batch), D)
    (actual,) = torch.autograd.grad((model(batch) * factor).sum(), weights)
    embeddings = torch.stack([literal(model, SEEN, row) for row in weights])
    (expected,) = torch.autograd.grad((embeddings * factor).sum(), weights)
    assert torch.allclose(actual, expected, atol=1e-10, rtol=1e-10)
