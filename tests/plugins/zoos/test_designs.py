"""Designs: what they build, how small an image may be, and the symmetry that is read off them."""

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
    "mlp": (mlp.MLP(widths=(32, 16)), 2),
    "vit": (transformer.VisionTransformer(), None),
    **{f"wild-{seed}": (convnet.wild(np.random.default_rng(seed), NAMES, "tanh"), None) for seed in range(4)},
    "wild-mlp": (mlp.wild(np.random.default_rng(0), "relu"), None),
    "wild-vit": (transformer.wild(np.random.default_rng(0), "relu"), None),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_every_group_of_a_design_is_a_symmetry(name):
    design, groups = DESIGNS[name]
    module = design.module((1, 28, 28), 10, dropout=0.1).eval()
    example = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    architecture = Architecture.from_module(module, example)
    verified = verify(module, architecture, example)
    assert verified.groups == (len(architecture.groups) if groups is None else groups)
    assert verified.moved > 0.9


def test_the_small_cnn_has_the_4970_parameters_of_its_zoo():
    module = convnet.SMALL_CNN.module((1, 28, 28), 10)
    shapes = [tuple(parameter.shape) for parameter in module.parameters()]
    assert shapes == [(16, 1, 3, 3), (16,), (16, 16, 3, 3), (16,), (16, 16, 3, 3), (16,), (10, 16), (10,)]
    assert sum(parameter.numel() for parameter in module.parameters()) == 4970


@pytest.mark.parametrize("name", ["small-cnn", "arch1", "arch2", "vit", "wild-1", "wild-vit"])
def test_the_smallest_image_is_taken_and_a_smaller_one_is_not(name):
    design, _ = DESIGNS[name]
    least = design.smallest()
    assert design.module((1, least, least), 3)(torch.zeros(2, 1, least, least)).shape == (2, 3)
    if least > 1:
        with pytest.raises(ZooError, match=f"at least {least} × {least} pixels, these have 40 × {least - 1}"):
            design.module((1, 40, least - 1), 3)


def test_the_smallest_image_of_the_small_cnn_is_15_pixels():
    assert convnet.SMALL_CNN.smallest() == 15  # 15 → 7 → 3 → 1


def test_a_residual_adds_what_the_convolution_read():
    design = ConvNet(convs=(Conv(width=2), Conv(width=2, padding=1, residual=True)), activation="tanh")
    module = design.module((1, 6, 6), 3).double()
    images = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    first, second = module.convs
    read = torch.tanh(first.conv(images))
    expected = module.head(torch.tanh(second.conv(read) + read).mean((2, 3)))
    torch.testing.assert_close(module(images), expected)


def test_wild_networks_differ_and_are_drawn_again_from_the_same_seed():
    drawn = [convnet.wild(np.random.default_rng(seed), NAMES, "relu") for seed in range(20)]
    assert len(set(drawn)) == 20
    assert drawn[3] == convnet.wild(np.random.default_rng(3), NAMES, "relu")
    convs = [conv for design in drawn for conv in design.convs]
    assert {conv.kernel for conv in convs} == {3, 5, 7}
    assert {conv.residual for conv in convs} == {True, False}
    assert {len(design.convs) for design in drawn} == {2, 3, 4, 5}


def test_heads_divide_the_width():
    with pytest.raises(ZooError, match="multiple of its heads, got 10 and 4"):
        transformer.VisionTransformer(width=10, heads=4).module((1, 28, 28), 10)


def test_the_activation_of_a_run_becomes_that_of_its_network():
    hyper = type("Hyper", (), {"activation": "selu"})
    generator = np.random.default_rng(0)
    assert CNNs(arch="arch2").design(hyper, generator) == ConvNet(
        convs=convnet.ARCH2.convs, features="flatten", hidden=(24,), activation="selu"
    )
    assert Transformers(width=24, heads=3).design(hyper, generator).activation == "selu"
