"""Learned inputs: their shapes, what is assumed, and what a generator shares between sizes and channels."""

import math

import pytest
import torch

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.errors import ArchitectureError
from sneframe.nn.input_shape import InputShape, shapes_of_inputs
from sneframe.nn.probe_inputs import ProbeInputs
from sneframe.testing import mlp


def network(*layers):
    return Architecture(layers=layers)


def layer(kind, *shape, inputs=(), **attributes):
    parameters = [Parameter(name=f"{kind}.weight", shape=shape)] if shape else []
    return Layer(kind=kind, parameters=parameters, inputs=inputs, attributes=attributes)


def cnn(channels=1, width=4):
    return network(
        layer("conv2d", width, channels, 3, 3), layer("global_average_pool", inputs=(0,)), linear(2, width, 1)
    )


def linear(outputs, inputs, source):
    return layer("linear", outputs, inputs, inputs=(source,))


GREY, COLOUR = cnn(), cnn(3)
TEXT = network(layer("embedding", 7, 3), layer("mean", inputs=(0,)), linear(1, 3, 1))


def test_columns_of_the_first_linear_layer_are_the_input():
    """An MLP on three numbers has probes (K, 3)."""
    assert shapes_of_inputs(mlp(3, 8, 1)) == (InputShape(kind="vector", shape=(3,)),)
    (found,) = ProbeInputs([mlp(3, 8, 1)], probes=5)(mlp(3, 8, 1))
    assert found.shape == (5, 3)


def test_flattening_leads_to_the_layer_behind_it():
    """A layer that only flattens its input does not hide the columns of the linear layer behind it."""
    described = network(layer("flatten"), linear(2, 12, 0))
    assert shapes_of_inputs(described)[0].shape == (12,)


def test_grouped_and_transposed_convolutions_tell_their_channels():
    """The weight has in/groups columns, or its rows are the input channels if it is transposed."""
    assert shapes_of_inputs(network(layer("conv2d", 8, 2, 3, 3, groups=4)))[0].shape == (8, -1, -1)
    assert shapes_of_inputs(network(layer("conv_transpose1d", 5, 2, 3)))[0].shape == (5, -1)


def test_a_size_that_no_network_tells_must_be_given():
    """The error names the layer, and with the option the probes have the size."""
    assert "layer 0 (conv2d 'conv2d.weight')" in ProbeInputs([GREY], probes=2).lacks(GREY)
    made = ProbeInputs([GREY], probes=2, size=[9])
    assert made(GREY)[0].shape == (2, 1, 9, 9)
    assert made.assumed == [
        "the input of layer 0 (conv2d 'conv2d.weight') is taken to be image 1×9×9, as the option says"
    ]
    assert ProbeInputs([GREY], probes=2, size=[9, 7])(GREY)[0].shape == (2, 1, 9, 7)


def test_a_size_of_the_wrong_length_is_refused():
    """Three numbers are no height and width."""
    assert "1 or 2 numbers, but got [1, 2, 3]" in ProbeInputs([GREY], probes=2, size=[1, 2, 3]).lacks(GREY)


def test_grey_images_are_the_mean_of_colour_images():
    """One generator serves both, up to a factor that keeps the variance."""
    made = ProbeInputs([GREY], probes=3, size=[6])
    assert torch.allclose(made(GREY)[0], made(COLOUR)[0].mean(dim=1, keepdim=True) * math.sqrt(3))


def test_an_image_is_the_same_picture_in_every_size():
    """The mean over blocks of a larger image is close to the smaller image."""
    torch.manual_seed(0)
    small, large = ProbeInputs([GREY], probes=64, size=[16]), ProbeInputs([GREY], probes=64, size=[48])
    large.load_state_dict(small.state_dict())
    shrunk = torch.nn.functional.avg_pool2d(large(GREY)[0], 3)
    picture = small(GREY)[0]
    assert float(((shrunk - picture).square().mean() / picture.square().mean()).detach()) < 0.02


def test_images_start_with_unit_variance():
    """A value is drawn like a standardised pixel, over many probes."""
    torch.manual_seed(0)
    (found,) = ProbeInputs([COLOUR], probes=4000, size=[8], latent=512, width=512)(COLOUR)
    assert float(found.detach().square().mean()) == pytest.approx(1, abs=0.1)


def test_an_image_shorter_than_its_cosines_is_finite():
    """A 2 × 2 image uses only the cosines that it can show."""
    (found,) = ProbeInputs([GREY], probes=3, size=[2])(GREY)
    assert found.shape == (3, 1, 2, 2)
    assert found.isfinite().all()


def test_soft_tokens_are_mixtures_of_rows():
    """The weights of the rows are positive and their sum is 1."""
    (found,) = ProbeInputs([TEXT], probes=3, size=[4])(TEXT)
    assert found.shape == (3, 4, 7)
    assert (found > 0).all()
    assert torch.allclose(found.sum(dim=-1), torch.ones(3, 4))


def test_a_large_vector_comes_from_the_generator():
    """Its K × n numbers are not free: there are fewer trainable weights."""
    described = mlp(5000, 2, 1)
    made = ProbeInputs([described], probes=1000)
    assert made(described)[0].shape == (1000, 5000)
    assert sum(p.numel() for p in made.parameters()) < 1000 * 5000 / 10


def test_a_shape_without_probe_is_named():
    """A network whose input no training network has, and what there is."""
    made = ProbeInputs([mlp(2, 4, 1)], probes=3)
    with pytest.raises(ArchitectureError, match=r"no probe has .* input 1 .* vector 3; .*: vector 2"):
        made(mlp(3, 4, 1))


def test_every_probe_gets_a_gradient():
    """All trainable weights of a mixed zoo are reached."""
    zoo = [mlp(2, 4, 1), mlp(100, 4, 1), TEXT, GREY, cnn(4)]
    made = ProbeInputs(zoo, probes=3, size=[6])
    sum((value * torch.randn_like(value)).sum() for a in zoo for value in made(a)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


def test_other_types_and_reloading():
    """Probes follow the type of the module, and the state dict holds all of them."""
    made, again = (ProbeInputs([GREY, TEXT], probes=2, size=[5]).double() for _ in range(2))
    again.load_state_dict(made.state_dict())
    for architecture in (GREY, TEXT):
        assert made(architecture)[0].dtype == torch.float64
        assert torch.equal(again(architecture)[0], made(architecture)[0])
