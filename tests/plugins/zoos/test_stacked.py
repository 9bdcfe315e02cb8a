"""Every way of computing many networks at once equals the module of each network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sneframe_zoos.classifiers import convnet
from sneframe_zoos.classifiers.design import Design
from sneframe_zoos.classifiers.mlp import MLPDesign
from sneframe_zoos.classifiers.patches import ImagePatches, MapPatches, Window
from sneframe_zoos.classifiers.stacked import Stacked
from sneframe_zoos.classifiers.stacked_convs import CACHE, Grouped, Patched
from sneframe_zoos.classifiers.transformer import VisionTransformer
from sneframe_zoos.classifiers.vectorised import Vectorised
from sneframe_zoos.classifiers.ways import stacked
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

IMAGE, CLASSES, NETWORKS, BATCH = (2, 18, 19), 3, 3, 4
CNNS = {
    "small-cnn": convnet.SMALL_CNN,
    "arch1": convnet.ARCH1,
    "arch2": convnet.ARCH2,
    "wild": convnet.wild(np.random.default_rng(4), ("relu", "tanh"), "silu"),
}
OTHERS = {
    "mlp": MLPDesign(widths=(12, 8), activation="tanh"),
    "vit": VisionTransformer(patch=5, width=12, mlp=16),
}


def ways_of(network: nn.Module) -> list[Stacked]:
    ways: list[Stacked] = [Vectorised(network, NETWORKS)]
    if isinstance(network, convnet.ConvClassifier):
        ways += [Grouped(network, NETWORKS), Patched(network, IMAGE, BATCH, NETWORKS)]
    return ways


@pytest.mark.parametrize("design", [*CNNS.values(), *OTHERS.values()], ids=[*CNNS, *OTHERS])
def test_every_way_equals_the_module(design: Design) -> None:
    """Logits and gradients equal those of the module of each network, computed alone."""
    torch.manual_seed(0)
    network = design.module(IMAGE, CLASSES).double()
    modules = [design.module(IMAGE, CLASSES).double() for _ in range(NETWORKS)]
    states = [dict(module.named_parameters()) for module in modules]
    parameters = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
    images = torch.randn(NETWORKS, BATCH, *IMAGE, dtype=torch.float64)
    labels = torch.randint(CLASSES, (NETWORKS, BATCH))
    for way in ways_of(network):
        logits = way.logits(parameters, {}, images)
        gradients = way.gradients(parameters, {}, images, labels)
        for number, state in enumerate(states):
            alone = functional_call(network, state, (images[number],))
            torch.testing.assert_close(logits[number], alone, atol=1e-12, rtol=1e-10)
            wanted = torch.autograd.grad(F.cross_entropy(alone, labels[number]), list(state.values()))
            for name, gradient in zip(state, wanted, strict=True):
                torch.testing.assert_close(gradients[name][number], gradient, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("batch", [1, BATCH - 1])
def test_a_call_may_have_fewer_images_and_networks(batch: int) -> None:
    """A call may have fewer images and networks than the largest that it was built for."""
    torch.manual_seed(0)
    network = convnet.SMALL_CNN.module(IMAGE, CLASSES).double()
    way = Patched(network, IMAGE, BATCH, NETWORKS)
    parameters = {name: value.detach()[None] for name, value in network.named_parameters()}
    images = torch.randn(1, batch, *IMAGE, dtype=torch.float64)
    torch.testing.assert_close(way.logits(parameters, {}, images)[0], network(images[0]))


@pytest.mark.parametrize(
    ("design", "way"),
    [
        (convnet.SMALL_CNN, "patched"),
        (convnet.ARCH1, "grouped"),
        (convnet.ARCH2, "grouped"),
        (OTHERS["mlp"], "vectorised"),
        (OTHERS["vit"], "vectorised"),
    ],
)
def test_the_way_depends_on_the_layers_alone(design: Design, way: str) -> None:
    """Convolutions whose patches hardly overlap are products of matrices, others are grouped."""
    network = design.module(IMAGE, CLASSES)
    assert stacked(network, IMAGE, BATCH, NETWORKS).name == way


def test_patches_of_one_call_stay_in_the_cache() -> None:
    """One call takes as many networks as have their patches in the cache, and at least one."""
    network = convnet.SMALL_CNN.module((1, 28, 28), 10)
    patches = 4 * 16 * 9 * 6 * 6  # of an image, in bytes: the second convolution sees 6 x 6 patches
    way = Patched(network, (1, 28, 28), 64, 16)
    assert way.networks == CACHE // (64 * patches)
    assert Patched(network, (1, 28, 28), 10_000, 16).networks == 1


windows = st.builds(
    Window, kernel=st.integers(1, 4), stride=st.integers(1, 3), padding=st.integers(0, 2)
).filter(lambda window: window.padding < window.kernel)


@given(window=windows, height=st.integers(4, 7), width=st.integers(4, 7), channels=st.integers(1, 3))
def test_patches_are_those_of_unfold(window: Window, height: int, width: int, channels: int) -> None:
    """Patches, and the gradients that go back through them, equal those of PyTorch's unfold."""
    group, batch = 2, 3
    images = torch.randn(group, batch, channels, height, width, dtype=torch.float64, requires_grad=True)
    unfolded = F.unfold(
        images.flatten(0, 1), window.kernel, padding=window.padding, stride=window.stride
    )  # (G · B, C · k · k, H' · W')
    wanted = unfolded.mT.reshape(group, -1, channels * window.kernel**2)
    of_images = ImagePatches(window, (channels, height, width))
    torch.testing.assert_close(of_images(images.detach()), wanted.detach(), rtol=0, atol=0)

    of_maps = MapPatches(window, height, width, group * batch)
    maps = images.movedim(2, -1)
    found = of_maps(maps).unflatten(2, (window.kernel**2, channels)).mT.flatten(2)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    weights = torch.randn_like(wanted)
    ours, theirs = (
        torch.autograd.grad((each * weights).sum(), images, retain_graph=True)[0] for each in (found, wanted)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
