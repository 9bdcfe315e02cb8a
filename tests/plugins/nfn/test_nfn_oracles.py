"""Layers, pools and encodings compared with the authors' package ``nfn``, whose parameters are copied.

Gradients are compared, too. Our parameters are computed from the original's, so that both have the same
leaves. The number of maps that a layer spans is compared with the number of linear maps that commute with all
permutations.
"""

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from einops import rearrange
from nfn.common import WeightSpaceFeatures, network_spec_from_wsfeat
from nfn.layers import (
    GaussianFourierFeatureTransform,
    HNPLinear,
    HNPPool,
    IOSinusoidalEncoding,
    NPAttention,
    NPLinear,
    NPPool,
)
from sneframe_nfn.aggregator import HNPPool as OurHNPPool
from sneframe_nfn.aggregator import NPPool as OurNPPool
from sneframe_nfn.attention_block import WeightAttention
from sneframe_nfn.encoding import GaussianFourier, PositionEmbedding, Sinusoids
from sneframe_nfn.equivariant_layer import EquivariantLayer, Source
from torch.func import functional_call

from sneframe.architecture.chain import read_chain
from sneframe.nn.chain_tensors import members_of
from sneframe.parts.carriers import WeightFeatures
from sneframe.parts.part import Spec
from sneframe.testing import mlp

INPUTS, OUTPUTS = 4, 6
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def draw(links, channels=INPUTS, count=3):
    """Return random features on each weight and bias, in the original's order of axes."""
    torch.manual_seed(2)
    weights = [torch.randn(count, channels, *link.weight.shape, dtype=torch.float64) for link in links]
    biases = [torch.randn(count, channels, link.outputs, dtype=torch.float64) for link in links]
    return [x.requires_grad_() for pair in zip(weights, biases, strict=True) for x in pair]


def theirs_of(tensors):
    """Return the original's features on these tensors, and their specification."""
    features = WeightSpaceFeatures(tuple(tensors[::2]), tuple(tensors[1::2]))
    return features, network_spec_from_wsfeat(features, set_all_dims=True)


def flat(features):
    return [x for pair in features for x in pair]


def compare(theirs, ours, leaves, tolerance=TOLERANCE):
    """Compare two lists of tensors, and their gradients for the same leaves."""
    for expected, actual in zip(theirs, ours, strict=True):
        torch.testing.assert_close(actual, expected, **tolerance)
    torch.manual_seed(3)
    probes = [torch.randn_like(tensor) for tensor in theirs]
    expected, actual = (
        torch.autograd.grad(
            sum((x * probe).sum() for x, probe in zip(tensors, probes, strict=True)),
            leaves,
            retain_graph=True,
            materialize_grads=True,
        )
        for tensors in (theirs, ours)
    )
    for one, other in zip(expected, actual, strict=True):
        torch.testing.assert_close(other, one, **tolerance)


# -- NP and HNP layers ---------------------------------------------------------------------------------------


def np_maps(layer, depth):
    """Return the original's map for each target and set of axes, and its sources in their order."""
    means = [Source(member=2 * i) for i in range(depth)] + [Source(member=2 * i + 1) for i in range(depth)]
    found = {}
    for i in range(depth):
        own, bias = Source(member=2 * i), Source(member=2 * i + 1)
        rows = [own, *([Source(member=2 * i - 2), Source(member=2 * i - 1)] if i else [])]
        columns = [own, bias, *([Source(member=2 * i + 2)] if i < depth - 1 else [])]
        found |= {
            (2 * i, ()): (layer.get_submodule(f"layer_{i}_rc"), means),
            (2 * i, (i,)): (layer.get_submodule(f"layer_{i}_r"), rows),
            (2 * i, (i + 1,)): (layer.get_submodule(f"layer_{i}_c"), columns),
            (2 * i, (i + 1, i)): (layer.get_submodule(f"layer_{i}"), [own]),
            (2 * i + 1, ()): (layer.get_submodule(f"bias_{i}_rc"), means),
            (2 * i + 1, (i + 1,)): (layer.get_submodule(f"bias_{i}"), columns),
        }
    return found


def hnp_maps(layer, depth):
    """Return the same as :func:`np_maps` for an HNP layer."""
    last = depth - 1

    def weight(i, *, average=True):
        return Source(member=2 * i, average=average and i in {0, last})

    def bias(i, *, average=True):
        return Source(member=2 * i + 1, average=average and i == last)

    means = [*map(weight, range(depth)), *map(bias, range(depth))]
    means += [weight(0, average=False), weight(last, average=False), bias(last, average=False)]
    first, final = weight(0, average=False), weight(last, average=False)
    ends = [first, weight(1), bias(0), *([final] if depth == 2 else [])]
    found = {
        (0, ()): (layer.w0_rbdcst, means),
        (0, (1,)): (layer.w0_rpt, ends),
        (1, ()): (layer.bias_0_rc, means),
        (1, (1,)): (layer.bias_0, ends),
        (2 * last, ()): (layer.wfin_cbdcst, means),
        (2 * last, (last,)): (
            layer.wfin_cpt,
            [final, weight(last - 1), *([first] if depth == 2 else [])],
        ),
        (2 * last + 1, ()): (layer.bias_fin_rc, means),
    }
    for i in range(1, last):
        rows = [weight(i), weight(i - 1), bias(i - 1), *([first] if i == 1 else [])]
        columns = [weight(i), bias(i), weight(i + 1), *([final] if i == last - 1 else [])]
        found |= {
            (2 * i, ()): (layer.get_submodule(f"layer_{i}_rc"), means),
            (2 * i, (i,)): (layer.get_submodule(f"layer_{i}_r"), rows),
            (2 * i, (i + 1,)): (layer.get_submodule(f"layer_{i}_c"), columns),
            (2 * i, (i + 1, i)): (layer.get_submodule(f"layer_{i}"), [weight(i)]),
            (2 * i + 1, ()): (layer.get_submodule(f"bias_{i}_rc"), means),
            (2 * i + 1, (i + 1,)): (layer.get_submodule(f"bias_{i}"), columns),
        }
    return found


def copied(ours, maps, inputs, outputs):
    """Return our parameters, computed from the original's, and the blocks that the original lacks."""
    state, missing = {}, []
    for number, route in enumerate(ours.routes):
        rows, biases = [], []
        for target in route.targets:
            module, sources = maps[target, route.along]
            size = ours.members[target].folded
            matrix = module.weight.flatten(1)
            assert len(matrix) == size * outputs
            blocks = dict(
                zip(sources, matrix.split([inputs * folded(ours, s) for s in sources], 1), strict=True)
            )
            missing += [(source, target) for source in route.sources if source not in blocks]
            row = [
                rearrange(
                    blocks.get(source, matrix.new_zeros(len(matrix), inputs * folded(ours, source))),
                    "(d g) (c f) -> (g d) (f c)",
                    d=outputs,
                    c=inputs,
                )
                for source in route.sources
            ]
            assert not blocks.keys() - set(route.sources)
            rows.append(torch.cat(row, 1))
            biases.append(rearrange(module.bias, "(d g) -> (g d)", d=outputs))
        state[f"maps.{number}.weight"] = torch.cat(rows)
        state[f"maps.{number}.bias"] = torch.cat(biases)
    return state, missing


def folded(ours, source):
    member = ours.members[source.member]
    return member.positions if source.average else member.folded


def both(kind, links):
    """Return the original's outputs and ours, the leaves of both, and the blocks that the original lacks."""
    tensors = draw(links)
    features, spec = theirs_of(tensors)
    torch.manual_seed(0)
    original = {"np": NPLinear, "hnp": HNPLinear}[kind](spec, INPUTS, OUTPUTS).double()
    members = members_of(links, exchangeable="all" if kind == "np" else "hidden")
    ours = EquivariantLayer(members, INPUTS, OUTPUTS).double()
    maps = {"np": np_maps, "hnp": hnp_maps}[kind](original, len(links))
    state, missing = copied(ours, maps, INPUTS, OUTPUTS)
    given = [member.fold(x) for member, x in zip(members, tensors, strict=True)]
    outputs = functional_call(ours, state, (given,))
    outputs = [member.unfold(x) for member, x in zip(members, outputs, strict=True)]
    return flat(original(features)), outputs, [*tensors, *original.parameters()], missing


@pytest.fixture
def links(architecture):
    return read_chain(architecture)


def test_an_np_layer_equals_the_original(links):
    """Outputs and gradients are those of the authors' layer, which has all blocks that ours has."""
    theirs, ours, leaves, missing = both("np", links)

    assert missing == []
    compare(theirs, ours, leaves)


def test_an_hnp_layer_equals_the_original_but_for_one_map(links):
    """The original has no map from the last hidden bias to the last weight."""
    theirs, ours, leaves, missing = both("hnp", links)

    last = len(links) - 1
    assert missing == [(Source(member=2 * last - 1), 2 * last)]
    compare(theirs, ours, leaves)


def test_position_embeddings_equal_the_original(links):
    """An NP layer after our embedding equals the original with ``io_embed``."""
    tensors = draw(links)
    features, spec = theirs_of(tensors)
    torch.manual_seed(0)
    embedded = NPLinear(spec, INPUTS, OUTPUTS, io_embed=True).double()
    members = members_of(links, exchangeable="all")
    ours = PositionEmbedding(links, INPUTS).double()
    with torch.no_grad():
        ours.inputs.copy_(rearrange(embedded.in_embed, "1 (c k) 1 i -> i (k c)", c=INPUTS))
        ours.outputs.copy_(rearrange(embedded.out_embed, "1 (c k) o 1 -> o (k c)", c=INPUTS))
        ours.output_biases.copy_(rearrange(embedded.out_bias_embed, "1 c o -> o c"))
    given = ours([member.fold(x) for member, x in zip(members, tensors, strict=True)])
    layer = EquivariantLayer(members, INPUTS, OUTPUTS).double()
    state, _ = copied(layer, np_maps(embedded, len(links)), INPUTS, OUTPUTS)
    outputs = [m.unfold(x) for m, x in zip(members, functional_call(layer, state, (given,)), strict=True)]

    maps = [p for name, p in embedded.named_parameters() if "embed" not in name]
    compare(flat(embedded(features)), outputs, [*tensors, *maps])


def test_initial_weights_have_the_bounds_of_the_original():
    """Among thousands of draws from U(±1 / √n), the largest of both are close to the same 1 / √n."""
    torch.manual_seed(0)
    links = read_chain(mlp(2, 32, 32, 3))
    _, spec = theirs_of(draw(links, 8))
    ours = EquivariantLayer(members_of(links, exchangeable="hidden"), 8, 64)
    torch.manual_seed(0)
    theirs = HNPLinear(spec, 8, 64)
    middle = [theirs.layer_1_rc.weight, theirs.bias_1_rc.weight]
    (everything,) = [m for m, route in zip(ours.maps, ours.routes, strict=True) if not route.along]
    sizes = [member.folded * 64 for member in ours.members]
    mine = [everything.weight.split(sizes)[number] for number in (2, 3)]

    for one, other in zip(middle, mine, strict=True):
        assert other.abs().max().item() == pytest.approx(one.abs().max().item(), rel=1e-3)


# -- all linear maps that commute with permutations ----------------------------------------------------------


def rank(layer, given):
    """Return the dimension of the space of linear maps that a layer spans over all its weights."""
    names = [name for name, _ in layer.named_parameters()]
    maps = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        state = {
            name: torch.randn(p.shape, generator=generator, dtype=torch.float64)
            if name.endswith("weight")
            else torch.zeros_like(p)
            for name, p in zip(names, layer.parameters(), strict=True)
        }
        outputs = functional_call(layer, state, (given,))
        outputs = outputs if isinstance(outputs, list) else flat(outputs)
        maps.append(torch.cat([x.flatten(1) for x in outputs], 1).flatten())
    return int(torch.linalg.matrix_rank(torch.stack(maps), rtol=1e-9))


def basis(links):
    """Return each unit vector of weight space as a network with one channel."""
    sizes = [size for link in links for size in (link.outputs * link.inputs, link.outputs)]
    pieces = torch.eye(sum(sizes), dtype=torch.float64).split(sizes, 1)
    shapes = [shape for link in links for shape in (link.weight.shape, link.bias.shape)]
    return [piece.unflatten(1, (1, *shape)) for piece, shape in zip(pieces, shapes, strict=True)]


def dimension(widths, *, moved):
    """Return the number of linear maps that commute with all permutations of the axes ``moved``.

    By Burnside's lemma, it is the mean over permutations of the squared number of weights that stay in place.
    """
    axes = [permutations(range(n)) if axis in moved else [tuple(range(n))] for axis, n in enumerate(widths)]
    fixed = [[sum(image == i for i, image in enumerate(g)) for g in axis] for axis in axes]
    grids = np.meshgrid(*fixed, indexing="ij")
    counts = sum(rows * columns + rows for columns, rows in pairwise(grids))
    return round(float((counts.astype(float) ** 2).mean()))


def spanned(kind, widths):
    """Return the number of independent maps that the original's layer spans, and that of ours."""
    links = read_chain(mlp(*widths))
    members = members_of(links, exchangeable="all" if kind is NPLinear else "hidden")
    tensors = basis(links)
    features, spec = theirs_of(tensors)
    given = [member.fold(x) for member, x in zip(members, tensors, strict=True)]
    return rank(kind(spec, 1, 1).double(), features), rank(EquivariantLayer(members, 1, 1).double(), given)


def test_an_np_layer_spans_all_equivariant_maps():
    """The original's NP layer and ours span all linear maps that commute with permutations."""
    expected = dimension((4, 4, 4, 4), moved=(0, 1, 2, 3))

    assert spanned(NPLinear, (4, 4, 4, 4)) == (expected, expected)


def test_an_hnp_layer_spans_all_equivariant_maps():
    """The original's HNP layer lacks one map for each of three outputs."""
    expected = dimension((2, 4, 4, 3), moved=(1, 2))

    assert spanned(HNPLinear, (2, 4, 4, 3)) == (expected - 3, expected)


# -- pools ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("theirs", "ours"), [(NPPool, OurNPPool), (HNPPool, OurHNPPool)])
def test_a_pool_equals_the_original(architecture, links, theirs, ours):
    """Embeddings and gradients are those of the authors' pools, up to the order of values."""
    tensors = draw(links)
    features, spec = theirs_of(tensors)
    given = WeightFeatures(architecture=architecture, weights=tensors[::2], biases=tensors[1::2])
    pool = ours(ours.Config(), Spec(carrier=WeightFeatures, width=INPUTS, architectures=(architecture,)))

    (embedding,) = pool((given,))
    # The original's axes are channels, then inputs or outputs, then positions.
    pieces = theirs(spec)(features).split([m.folded for m in pool.members], dim=2)
    expected = [
        rearrange(piece, "b c (f k) -> b (k f c)", k=m.positions)
        for piece, m in zip(pieces, pool.members, strict=True)
    ]

    assert pool.out.width == INPUTS * theirs.get_num_outs(spec)
    compare([torch.cat(expected, 1)], [embedding.values], tensors)


# -- attention -----------------------------------------------------------------------------------------------


def test_attention_equals_the_original(links):
    """Outputs and gradients are those of the authors' attention."""
    compare(*attention(links, shared=False))


def test_attention_with_shared_projections_equals_the_original():
    """The same holds for one map to queries, keys and values."""
    compare(*attention(read_chain(mlp(2, 5, 4, 3)), shared=True))


def attention(links, *, shared):
    """Return the original's outputs, ours, and the leaves of both."""
    width, heads = 6, 2
    tensors = draw(links, width)
    features, spec = theirs_of(tensors)
    torch.manual_seed(0)
    original = NPAttention(spec, width, heads, share_projections=shared).double()
    members = members_of(links, exchangeable="all")
    ours = WeightAttention(members, width, heads=heads, shared=shared, dropout=0.0).double()
    given = [member.fold(x) for member, x in zip(members, tensors, strict=True)]
    outputs = functional_call(ours, attention_state(original, links, width, shared=shared), (given,))
    outputs = [member.unfold(x) for member, x in zip(members, outputs, strict=True)]
    return flat(original(features)), outputs, [*tensors, *original.parameters()]


def attention_state(original, links, width, *, shared):
    """Return our parameters, computed from the original's."""
    if shared:
        linear = original.to_qkv.linear
        return {"project.0.weight": linear.weight, "project.0.bias": linear.bias}
    state = {}
    for i in range(len(links)):
        weight, bias, back = (
            module[i].linear
            for module in (original.weight_to_qkv, original.bias_to_qkv, original.unproject_weight)
        )
        state |= {
            f"project.{2 * i}.weight": rearrange(weight.weight, "d (c k) -> d (k c)", c=width),
            f"project.{2 * i}.bias": weight.bias,
            f"project.{2 * i + 1}.weight": bias.weight,
            f"project.{2 * i + 1}.bias": bias.bias,
            f"unproject.{i}.weight": rearrange(back.weight, "(c k) d -> (k c) d", c=width),
            # The original maps the three terms of a weight separately, and so adds the bias three times.
            f"unproject.{i}.bias": 3 * rearrange(back.bias, "(c k) -> (k c)", c=width),
        }
    return state


def test_the_original_cannot_share_on_convolutions(small_cnn):
    """If a release of the authors' package mends this, our recipes for CNNs can share projections, too."""
    features, spec = theirs_of(draw(read_chain(small_cnn((3, 4))), 6))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        NPAttention(spec, 6, 2, share_projections=True).double()(features)


# -- encodings -----------------------------------------------------------------------------------------------


def test_fourier_features_equal_the_original(links):
    """With the same frequencies, the features are the same."""
    tensors = draw(links, 1)
    features, spec = theirs_of(tensors)
    original = GaussianFourierFeatureTransform(spec, 1, mapping_size=5, scale=3).double()
    ours = GaussianFourier(5, 3.0).double()
    ours.frequency.copy_(original._B[0])

    compare(flat(original(features)), [ours(x) for x in tensors], tensors)


def test_sinusoids_equal_the_original(links):
    """The last layers here are linear: on a convolution the original encodes the wrong axis."""
    tensors = draw(links, 2)
    features, spec = theirs_of(tensors)
    ours = Sinusoids(links, bands=3).double()
    encoded = [ours(x, "bias" if n % 2 else "weight", n // 2) for n, x in enumerate(tensors)]
    original = IOSinusoidalEncoding(spec, num_bands=3)

    assert encoded[0].shape[1] == original.num_out_chan(2)
    # The buffers are computed in single precision.
    compare(flat(original(features)), encoded, tensors, {"rtol": 1e-5, "atol": 1e-5})
