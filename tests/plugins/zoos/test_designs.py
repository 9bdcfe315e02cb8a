"""Designs: the modules they build, the smallest image they take, and the symmetry of the modules."""

import numpy as np
import pytest
import torch
from sneframe_zoos.classifiers import convnet, mlp, transformer
from sneframe_zoos.classifiers.convnet import Conv, ConvNet
from sneframe_zoos.classifiers.options import CNNs, Transformers

from sneframe.architecture import Architecture
from sneframe.errors import ZooError
from sneframe.symmetry import verify

NAMES = ("relu", "tanh", "selu")
DESIGNS = {
    "small-cnn": (convnet.SMALL_CNN, 3),
    "arch1": (convnet.ARCH1, 4),
    "arch2": (convnet.ARCH2, 3),
    "mlp": (mlp.MLPDesign(widths=(32, 16)), 2),
    "vit": (transformer.VisionTransformer(), None),
    **{f"wild-{seed}": (convnet.wild(np.random.default_rng(seed), NAMES, "tanh"), None) for seed in range(4)},
    "wild-mlp": (mlp.wild(np.random.default_rng(0), "relu"), None),
    "wild-vit": (transformer.wild(np.random.default_rng(0), "relu"), None),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_every_group_of_a_design_is_a_symmetry(name):
    """Moving the neuron groups of a design changes its weights, but not its outputs."""
    design, groups = DESIGNS[name]
    module = design.module((1, 28, 28), 10, dropout=0.1).eval()
    example = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    architecture = Architecture.from_module(module, example)
    verified = verify(module, architecture, example)
    assert verified.groups == (len(architecture.groups) if groups is None else groups)
    assert verified.moved > 0.9


def test_the_small_cnn_has_4970_weights():
    """The network of the Small CNN Zoo has the published shapes and 4970 weights."""
    module = convnet.SMALL_CNN.module((1, 28, 28), 10)
    shapes = [tuple(parameter.shape) for parameter in module.parameters()]
    assert shapes == [(16, 1, 3, 3), (16,), (16, 16, 3, 3), (16,), (16, 16, 3, 3), (16,), (10, 16), (10,)]
    assert sum(parameter.numel() for parameter in module.parameters()) == 4970


@pytest.mark.parametrize("name", ["small-cnn", "arch1", "arch2", "vit", "wild-1", "wild-vit"])
def test_the_smallest_image_is_accepted(name):
    """Images of the smallest size are accepted, and smaller images are refused."""
    design, _ = DESIGNS[name]
    least = design.smallest()
    assert design.module((1, least, least), 3)(torch.zeros(2, 1, least, least)).shape == (2, 3)
    if least > 1:
        with pytest.raises(ZooError, match=f"at least {least} × {least} pixels, but got 40 × {least - 1}"):
            design.module((1, 40, least - 1), 3)


def test_the_smallest_image_of_the_small_cnn_is_15_pixels():
    """Three strided convolutions reduce 15 pixels to 1."""
    assert convnet.SMALL_CNN.smallest() == 15  # 15 → 7 → 3 → 1


def test_a_residual_adds_the_input():
    """A residual connection adds the input of the convolution before the activation."""
    design = ConvNet(convs=(Conv(width=2), Conv(width=2, padding=1, residual=True)), activation="tanh")
    module = design.module((1, 6, 6), 3).double()
    images = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    first, second = module.convs
    read = torch.tanh(first.conv(images))
    expected = module.head(torch.tanh(second.conv(read) + read).mean((2, 3)))
    torch.testing.assert_close(module(images), expected)


def test_wild_networks_are_determined_by_the_seed():
    """Seeds give different designs, equal seeds equal ones, and all choices occur."""
    drawn = [convnet.wild(np.random.default_rng(seed), NAMES, "relu") for seed in range(20)]
    assert len(set(drawn)) == 20
    assert drawn[3] == convnet.wild(np.random.default_rng(3), NAMES, "relu")
    convs = [conv for design in drawn for conv in design.convs]
    assert {conv.kernel for conv in convs} == {3, 5, 7}
    assert {conv.residual for conv in convs} == {True, False}
    assert {len(design.convs) for design in drawn} == {2, 3, 4, 5}


def test_heads_divide_the_width():
    """A width that is not a multiple of the heads is refused."""
    with pytest.raises(ZooError, match="multiple of its heads, but got width 10 and 4 heads"):
        transformer.VisionTransformer(width=10, heads=4).module((1, 28, 28), 10)


def test_the_drawn_activation_is_used():
    """The design of a run gets the activation that was drawn for it."""
    hyper = type("Hyper", (), {"activation": "selu"})
    generator = np.random.default_rng(0)
    assert CNNs(arch="arch2").design(hyper, generator) == ConvNet(
        convs=convnet.ARCH2.convs, features="flatten", hidden=(24,), activation="selu"
    )
    assert Transformers(width=24, heads=3).design(hyper, generator).activation == "selu"
