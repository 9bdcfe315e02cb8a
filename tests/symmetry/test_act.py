"""Group elements are drawn for each network alone, and applied to every axis of a group."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from sneframe.architecture import Architecture, Layer, NeuronGroup, Parameter
from sneframe.batch import Batch, join
from sneframe.symmetry import Element, apply, compose, inverse, sample


def mlp(*widths: int) -> Architecture:
    groups = [NeuronGroup(name=f"h{i}", size=size) for i, size in enumerate(widths[1:-1])]
    factors = [widths[0], *(group.name for group in groups), widths[-1]]
    layers = [
        Layer(
            kind="linear",
            inputs=(i - 1,) if i else (),
            parameters=(
                Parameter(
                    name=f"{i}.weight",
                    shape=(widths[i + 1], widths[i]),
                    axes=(((factors[i + 1],),), ((factors[i],),)),
                ),
                Parameter(
                    name=f"{i}.bias", role="bias", shape=(widths[i + 1],), axes=(((factors[i + 1],),),)
                ),
            ),
        )
        for i in range(len(widths) - 1)
    ]
    return Architecture(layers=layers, groups=groups)


def batch_of(architecture: Architecture, ids, seed=0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(len(ids), architecture.num_weights, generator=generator, dtype=torch.float64)
    return join({architecture: weights}, {architecture: list(ids)})


def forward(parameters, x):
    names = list(parameters)
    for number, (weight, bias) in enumerate(zip(names[::2], names[1::2], strict=True)):
        x = F.linear(x, parameters[weight][0], parameters[bias][0])
        if number < len(names) // 2 - 1:
            x = torch.tanh(x)
    return x


@settings(max_examples=20, deadline=None)
@given(
    widths=st.lists(st.integers(1, 6), min_size=3, max_size=5),
    seed=st.integers(0, 2**31),
    step=st.integers(-1, 10**6),
)
def test_permuted_mlp_computes_the_same(widths, seed, step):
    """A permuted MLP computes the same function."""
    batch = batch_of(mlp(*widths), [7])
    moved = apply(batch, sample(batch, seed=seed, step=step))
    x = torch.randn(3, widths[0], dtype=torch.float64)
    outputs = [forward(b.networks[0].parameters(), x) for b in (batch, moved)]
    assert torch.allclose(*outputs, atol=1e-12)


def test_permutation_of_rows_and_columns_by_hand():
    """A permutation moves rows, bias and columns as a calculation by hand does."""
    architecture = mlp(1, 3, 2)
    batch = join({architecture: torch.arange(14.0)[None]}, {architecture: [0]})
    element = Element(architecture=architecture, permutations={"h0": torch.tensor([[2, 0, 1]])})
    # first weight (3, 1): 0 1 2 · bias 3 4 5 · second weight (2, 3): 6 7 8 | 9 10 11 · bias 12 13
    expected = [2, 0, 1, 5, 3, 4, 8, 6, 7, 11, 9, 10, 12, 13]
    assert apply(batch, (element,)).networks[0].weights[0].tolist() == expected


def test_blocks_and_segments_move_as_wholes():
    """Columns of a flattened channel move together, and a fixed extra input stays."""
    architecture = Architecture(
        groups=[NeuronGroup(name="g", size=3)],
        layers=[
            Layer(
                kind="linear",
                parameters=[Parameter(name="w", shape=(1, 7), axes=(((1,),), (("g", 2), (1,))))],
            ),
        ],
    )
    batch = join({architecture: torch.arange(7.0)[None]}, {architecture: [0]})
    element = Element(architecture=architecture, permutations={"g": torch.tensor([[1, 2, 0]])})
    assert apply(batch, (element,)).networks[0].weights[0].tolist() == [2, 3, 4, 5, 0, 1, 6]


def test_nested_group_moves_within_each_head_and_with_it():
    """Heads move as blocks, queries and keys are permuted within each head, and the outputs stay."""
    heads, inner, width = 3, 4, 5
    rows = (("heads", "qk"),)
    architecture = Architecture(
        groups=[NeuronGroup(name="heads", size=heads), NeuronGroup(name="qk", size=inner, parent="heads")],
        layers=[
            Layer(
                kind="attention",
                parameters=[
                    Parameter(name="q", shape=(heads * inner, width), axes=(rows, ((width,),))),
                    Parameter(name="k", shape=(heads * inner, width), axes=(rows, ((width,),))),
                    Parameter(name="v", shape=(heads * 2, width), axes=((("heads", 2),), ((width,),))),
                    Parameter(name="o", shape=(width, heads * 2), axes=(((width,),), (("heads", 2),))),
                ],
            )
        ],
    )
    batch = batch_of(architecture, [3])
    moved = apply(batch, sample(batch, seed=0, step=0))
    x = torch.randn(6, width, dtype=torch.float64)

    def attend(parameters):
        q, k, v = (
            F.linear(x, parameters[name][0]).unflatten(1, (heads, -1)).transpose(0, 1) for name in "qkv"
        )
        mixed = (q @ k.transpose(1, 2)).softmax(-1) @ v
        return F.linear(mixed.transpose(0, 1).flatten(1), parameters["o"][0])

    before, after = batch.networks[0].parameters(), moved.networks[0].parameters()
    assert not torch.equal(before["q"], after["q"])
    assert torch.allclose(attend(before), attend(after), atol=1e-12)


def test_element_does_not_depend_on_the_batch():
    """A network gets the same element alone and in any batch."""
    architecture = mlp(1, 8, 8, 1)
    together = sample(batch_of(architecture, [3, 5, 11]), seed=1, step=2)[0].permutations
    alone = sample(batch_of(architecture, [5]), seed=1, step=2)[0].permutations
    for name, permutation in alone.items():
        assert torch.equal(permutation[0], together[name][1])


@pytest.mark.parametrize("other", [{"seed": 2, "step": 2}, {"seed": 1, "step": 3}])
def test_another_seed_or_step_draws_another_element(other):
    """Another seed or step draws another element."""
    batch = batch_of(mlp(1, 16, 16, 1), [0])
    first, second = sample(batch, seed=1, step=2)[0], sample(batch, **other)[0]
    assert not torch.equal(first.permutations["h0"], second.permutations["h0"])


def test_groups_of_a_network_draw_different_permutations():
    """Two groups of the same size get different permutations."""
    element = sample(batch_of(mlp(1, 16, 16, 1), [0]), seed=1, step=2)[0]
    assert not torch.equal(element.permutations["h0"], element.permutations["h1"])


def test_every_permutation_of_three_neurons_is_equally_likely():
    """Every permutation of three neurons is equally likely."""
    element = sample(batch_of(mlp(1, 3, 1), range(6000)), seed=0, step=0)[0]
    codes = (element.permutations["h0"] * torch.tensor([9, 3, 1])).sum(1)
    counts = np.unique(codes.numpy(), return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


def test_group_without_permute_is_left_alone():
    """A group that may not be permuted is not moved."""
    architecture = Architecture(
        groups=[NeuronGroup(name="g", size=4, actions=("scale",))],
        layers=[Layer(kind="linear", parameters=[Parameter(name="w", shape=(4,), axes=((("g",),),))])],
    )
    batch = batch_of(architecture, [0, 1])
    assert torch.equal(
        apply(batch, sample(batch, seed=0, step=0)).networks[0].weights, batch.networks[0].weights
    )


def test_each_architecture_moves_by_its_own_groups():
    """In a mixed batch, each network is permuted by the groups of its architecture."""
    one, two = mlp(1, 3, 1), mlp(2, 5, 4, 1)
    batch = join(
        {one: torch.randn(2, one.num_weights), two: torch.randn(1, two.num_weights)}, {one: [4, 0], two: [2]}
    )
    moved = apply(batch, sample(batch, seed=0, step=0))
    for before, after in zip(batch.networks, moved.networks, strict=True):
        assert torch.equal(before.weights.sort(1).values, after.weights.sort(1).values)


# -- products, inverses, scale and sign ----------------------------------------------------------------------

ALL = ("permute", "scale", "sign")


def described(name):
    """Return an architecture with nested groups, a grouped convolution, or scales and signs."""
    torch.manual_seed(0)
    if name == "attention":
        layer = nn.TransformerEncoderLayer(12, 3, 16, batch_first=True)
        return Architecture.from_module(
            nn.Sequential(nn.Linear(4, 12), layer, nn.Linear(12, 3)), torch.randn(2, 5, 4)
        )
    if name == "grouped":
        return Architecture.from_module(
            nn.Sequential(
                nn.Conv1d(2, 12, 3), nn.GELU(), nn.Conv1d(12, 6, 3, groups=3), nn.ReLU(), nn.Conv1d(6, 1, 1)
            )
        )
    linear = nn.Linear(5, 5)
    return Architecture.from_module(
        nn.Sequential(nn.Linear(3, 5), nn.Tanh(), linear, nn.ReLU(), nn.Linear(5, 2))
    )


@pytest.mark.parametrize("name", ["attention", "grouped", "plain"])
def test_acting_twice_is_acting_once_by_the_product(name):
    """Two elements one after the other have the effect of their composition."""
    batch = batch_of(described(name), range(4))
    first, second = (sample(batch, seed=seed, step=0, actions=ALL) for seed in (1, 2))
    twice = apply(apply(batch, first), second).networks[0].weights
    once = apply(batch, compose(second, first)).networks[0].weights
    assert torch.allclose(twice, once, atol=1e-12)
    assert not torch.allclose(once, apply(batch, compose(first, second)).networks[0].weights)


@pytest.mark.parametrize("name", ["attention", "grouped", "plain"])
def test_inverse_undoes_an_element(name):
    """The inverse undoes an element."""
    batch = batch_of(described(name), range(4))
    element = sample(batch, seed=1, step=0, actions=ALL)
    moved = apply(batch, element)
    assert not torch.allclose(moved.networks[0].weights, batch.networks[0].weights)
    back = apply(moved, inverse(element))
    assert torch.allclose(back.networks[0].weights, batch.networks[0].weights, atol=1e-12)


def test_scales_of_rows_and_columns_by_hand():
    """Scales multiply rows and divide columns, as a calculation by hand does."""
    architecture = Architecture.from_module(nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)))
    batch = join({architecture: torch.tensor([[1.0, 2, 3, 4, 5, 6, 7]])}, {architecture: [0]})
    scales = {"hidden0": torch.tensor([[10.0, 0.5]])}
    moved = apply(batch, (Element(architecture=architecture, permutations={}, scales=scales),))
    assert moved.networks[0].weights[0].tolist() == [10, 1, 30, 2, 0.5, 12, 7]


def test_signs_of_rows_and_columns_by_hand():
    """Signs flip rows and columns, as a calculation by hand does."""
    architecture = Architecture.from_module(nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1)))
    batch = join({architecture: torch.tensor([[1.0, 2, 3, 4, 5, 6, 7]])}, {architecture: [0]})
    signs = {"hidden0": torch.tensor([[-1.0, 1]])}
    moved = apply(batch, (Element(architecture=architecture, permutations={}, signs=signs),))
    assert moved.networks[0].weights[0].tolist() == [-1, 2, -3, 4, -5, 6, 7]


def test_distribution_of_scales_and_signs():
    """Logarithms of scales are uniform in [−1, 1], and both signs are equally likely."""
    batch = batch_of(
        Architecture.from_module(nn.Sequential(nn.Linear(1, 64), nn.Identity(), nn.Linear(64, 1))), range(64)
    )
    element = sample(batch, seed=0, step=0, actions=ALL)[0]
    scales, signs = element.scales["hidden0"], element.signs["hidden0"]
    assert stats.kstest(torch.log2(scales).flatten(), "uniform", (-1, 2)).pvalue > 1e-3
    assert stats.binomtest(int((signs > 0).sum()), signs.numel()).pvalue > 1e-3
    assert set(signs.unique().tolist()) == {-1, 1}


def test_only_requested_actions_are_drawn():
    """Only the requested actions are drawn."""
    batch = batch_of(described("plain"), range(2))
    element = sample(batch, seed=0, step=0)[0]
    assert (set(element.permutations), element.scales, element.signs) == ({"hidden0", "hidden1"}, {}, {})
    flipped = sample(batch, seed=0, step=0, actions=("sign",))[0]
    assert (flipped.permutations, set(flipped.signs)) == ({}, {"hidden0"})


def test_applying_leaves_the_original_batch_unchanged():
    """Applying an element does not change the original batch."""
    batch = batch_of(described("plain"), range(2))
    before = batch.networks[0].weights.clone()
    apply(batch, sample(batch, seed=0, step=0, actions=("scale", "sign")))
    assert torch.equal(batch.networks[0].weights, before)


def test_gradient_flows_back_to_the_moved_weights():
    """The derivative of ⟨c, g·x⟩ is g⁻¹·c, and g·x is the same with and without a gradient."""
    architecture = mlp(2, 5, 4, 1)
    weights = torch.randn(3, architecture.num_weights)
    batch = join({architecture: weights}, {architecture: range(3)})
    elements = sample(batch, seed=0, step=0)
    with_gradient = batch.replace([weights.clone().requires_grad_()])
    moved = apply(with_gradient, elements)
    assert torch.equal(moved.networks[0].weights, apply(batch, elements).networks[0].weights)
    factors = torch.randn_like(weights)
    (moved.networks[0].weights * factors).sum().backward()
    back = apply(batch.replace([factors]), inverse(elements))
    assert torch.equal(with_gradient.networks[0].weights.grad, back.networks[0].weights)
