"""What the tests of NFN share: architectures, networks with random weights, and parts built for them."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sneframe_nfn.tokenizer import NFNChannels
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.parts.part import Spec
from sneframe.testing import mlp


def describe_small_cnn(widths: Sequence[int] = (16, 16, 16), channels: int = 1, outputs: int = 10):
    layers: list[nn.Module] = []
    for before, width in zip((channels, *widths), widths, strict=False):
        layers += [nn.Conv2d(before, width, 3, stride=2), nn.ReLU()]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], outputs))
    return Architecture.from_module(nn.Sequential(*layers, *head), torch.zeros(2, channels, 32, 32))


@pytest.fixture
def small_cnn():
    """Return a function that describes CNNs like those of the Small CNN Zoo.

    They have 3 × 3 convolutions, global pooling and one linear layer.
    """
    return describe_small_cnn


@pytest.fixture
def flat_cnn():
    """Return a CNN whose linear layer reads the 9 positions of each channel of the last convolution."""
    layers = (nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    return Architecture.from_module(nn.Sequential(*layers), torch.zeros(2, 2, 6, 6))


ARCHITECTURES = {
    "MLP of two layers": lambda: mlp(2, 5, 3),
    "MLP of three layers": lambda: mlp(2, 5, 4, 3),
    "MLP of five layers": lambda: mlp(1, 4, 5, 3, 4, 2),
    "CNN of two layers": lambda: describe_small_cnn((4,), channels=2, outputs=3),
    "CNN of four layers": lambda: describe_small_cnn((3, 4, 5), channels=2, outputs=3),
}


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    """Return each architecture; the original can take them all."""
    return ARCHITECTURES[request.param]()


@pytest.fixture
def networks():
    def draw(architecture: Architecture, count: int = 3, dtype: torch.dtype = torch.float64) -> Batch:
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(count, architecture.num_weights, generator=generator, dtype=dtype)
        ids = np.arange(count)
        return Batch(networks=[Networks(architecture=architecture, weights=weights)], order=ids, ids=ids)

    return draw


@pytest.fixture
def build():
    def chain(architecture: Architecture, *parts: object, **tokens: object) -> nn.Sequential:
        """Return a tokenizer with the given options, and parts that follow it.

        A part is a class, or a pair of a class and its options.
        """
        torch.manual_seed(0)
        spec = Spec(carrier=Batch, width=1, architectures=(architecture,))
        built = [NFNChannels(NFNChannels.Config(**tokens), spec)]
        for part in parts:
            cls, options = part if isinstance(part, tuple) else (part, {})
            built.append(cls(cls.Config(**options), built[-1].out))
        return nn.Sequential(*built).double().eval()

    return chain
