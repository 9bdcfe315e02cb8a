"""``stats/features``: concatenation for one architecture, pooling for many."""

import pytest
import torch
from sneframe_stats import StatFeatures

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.errors import PartError
from sneframe.parts.carriers import LayerCodes
from sneframe.parts.part import Spec
from sneframe.testing import mlp

TWO, THREE = mlp(1, 4, 1), mlp(1, 4, 4, 1)  # named for their number of layers


def build(*architectures, width=2, **options):
    spec = Spec(carrier=LayerCodes, width=width, architectures=architectures)
    return StatFeatures(StatFeatures.Config(**options), spec)


def codes_of(architecture, rows):
    codes = torch.tensor([rows], dtype=torch.float64)
    units = tuple((number,) for number in range(codes.shape[1]))
    return LayerCodes(architecture=architecture, codes=codes, units=units)


def numbered(architecture, start=1.0):
    """Give parameter i the code (start + i, -(start + i))."""
    return codes_of(architecture, [[start + i, -start - i] for i in range(len(architecture.parameters))])


def test_one_architecture_is_concatenated_in_order():
    """The embedding is the codes of the parameters, one after the other."""
    part = build(TWO)
    (embedding,) = part((numbered(TWO),))
    assert part.out.width == 8
    assert embedding.values.tolist() == [[1, -1, 2, -2, 3, -3, 4, -4]]


def test_a_mixed_zoo_is_pooled():
    """Each bin has the mean code of its parameters and a 1, or zeros."""
    # The parameters are weight and bias of each layer. The bins are biases at depths 0, ½, 1, then weights.
    # With two layers, the bins at depth ½ are empty.
    part = build(TWO, THREE)
    shallow, deep = part((numbered(TWO), numbered(THREE)))
    assert part.out.width == 2 * 3 * 3
    assert shallow.values.tolist() == [[2, -2, 1, 0, 0, 0, 4, -4, 1, 1, -1, 1, 0, 0, 0, 3, -3, 1]]
    assert deep.values.tolist() == [[2, -2, 1, 4, -4, 1, 6, -6, 1, 1, -1, 1, 3, -3, 1, 5, -5, 1]]


def test_parameters_in_one_bin_are_averaged():
    """With one depth, all weights share a bin, and all biases."""
    part = build(THREE, pool="always", depth_bins=1)
    (embedding,) = part((numbered(THREE),))
    expected = [[4, -4, 1, 3, -3, 1]]  # biases 2, 4, 6; weights 1, 3, 5
    torch.testing.assert_close(embedding.values, torch.tensor(expected, dtype=torch.float64))


def test_a_depth_half_way_takes_the_later_bin():
    """The middle of three layers is as near to depth 0 as to depth 1."""
    part = build(THREE, pool="always", depth_bins=2)
    (embedding,) = part((numbered(THREE),))
    assert embedding.values.tolist() == [[2, -2, 1, 5, -5, 1, 1, -1, 1, 4, -4, 1]]


def test_an_unseen_architecture_has_the_same_width():
    """A deeper network fills all bins of the training networks."""
    deeper = mlp(1, 2, 2, 2, 2, 2, 1)
    part = build(TWO, THREE)
    (embedding,) = part((numbered(deeper),))
    assert embedding.values.shape == (1, part.out.width)
    assert (embedding.values.unflatten(1, (6, 3))[..., 2] == 1).all()


def test_a_single_layer_has_depth_zero():
    """A network with one level fills the first bin of each type."""
    part = build(TWO, THREE)
    (embedding,) = part((numbered(mlp(1, 1)),))
    assert embedding.values.tolist() == [[2, -2, 1] + [0] * 6 + [1, -1, 1] + [0] * 6]


def test_an_unseen_type_is_left_out():
    """A parameter type that the training networks lack has no bin."""
    shape = (2, 1, 3, 3)
    conv = Architecture(layers=[Layer(kind="conv2d", parameters=[Parameter(name="w", shape=shape)])])
    (embedding,) = build(TWO, THREE)((numbered(conv),))
    assert not embedding.values.any()


def test_parallel_layers_share_a_depth():
    """Two branches from one layer have the same level."""
    branches = Architecture(
        layers=[
            Layer(kind="linear", parameters=[Parameter(name="a", shape=(2, 2))]),
            Layer(kind="linear", parameters=[Parameter(name="b", shape=(2, 2))], inputs=[0]),
            Layer(kind="linear", parameters=[Parameter(name="c", shape=(2, 2))], inputs=[0]),
            Layer(kind="add", inputs=[1, 2]),
        ]
    )
    (embedding,) = build(branches, pool="always", depth_bins=2)((numbered(branches),))
    assert embedding.values.tolist() == [[1, -1, 1, 2.5, -2.5, 1]]


def test_a_network_is_the_same_alone_and_in_a_batch():
    """The embedding does not depend on the other networks."""
    part = build(TWO, THREE)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(5, 6, 2, generator=generator, dtype=torch.float64)
    units = tuple((number,) for number in range(6))
    (together,) = part((LayerCodes(architecture=THREE, codes=codes, units=units),))
    (alone,) = part((LayerCodes(architecture=THREE, codes=codes[2:3], units=units),))
    torch.testing.assert_close(alone.values, together.values[2:3], rtol=0, atol=0)


def test_never_pooling_refuses_a_mixed_zoo():
    """``pool="never"`` takes one architecture only."""
    with pytest.raises(
        PartError, match=r"'stats/features' takes networks of one layout, but the zoo has 2 layouts \(linear"
    ):
        build(TWO, THREE, pool="never")


def test_concatenation_refuses_another_architecture():
    """The error says how to train a model that takes unseen architectures."""
    with pytest.raises(PartError, match=r"was built for .* train with aggregator.pool = 'always'"):
        build(TWO)((numbered(THREE),))


def test_codes_of_several_parameters_are_refused():
    """The part takes one code for each parameter."""
    entry = LayerCodes(architecture=TWO, codes=torch.zeros(1, 2, 2), units=((0, 1), (2, 3)))
    with pytest.raises(PartError, match="one code for each parameter, but got 2 codes for 4 parameters"):
        build(TWO)((entry,))


def test_zero_depths_are_refused():
    """The error names the option."""
    with pytest.raises(ValueError, match="'depth_bins' must be >= 1: 0"):
        StatFeatures.Config(depth_bins=0)
