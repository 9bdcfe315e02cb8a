"""What the tests of DWSNet share: a small model on an architecture, and networks with random weights."""

import numpy as np
import pytest
import torch
from sneframe_dwsnet.aggregator import InvariantPooling
from sneframe_dwsnet.layer_encoder import DWSLayers
from sneframe_dwsnet.tokenizer import DWSChannels
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.parts.part import Spec


class Model(nn.Module):
    """Tokenizer, layer encoder and aggregator, built for one architecture."""

    def __init__(self, architecture: Architecture, reduction: str = "max", **options: object) -> None:
        super().__init__()
        spec = Spec(carrier=Batch, width=1, architectures=(architecture,))
        self.tokenizer = DWSChannels(DWSChannels.Config(), spec)
        self.encoder = DWSLayers(DWSLayers.Config(reduction=reduction, **options), self.tokenizer.out)
        self.pooling = InvariantPooling(InvariantPooling.Config(reduction=reduction), self.encoder.out)

    def features(self, batch: Batch):
        (features,) = self.encoder(self.tokenizer(batch))
        return features

    def forward(self, batch: Batch):
        (embedding,) = self.pooling((self.features(batch),))
        return embedding.values


@pytest.fixture
def model():
    def build(architecture: Architecture, **options: object) -> Model:
        """Return a model in evaluation mode, with random batch norms and biases."""
        torch.manual_seed(0)
        built = Model(architecture, **options).double().eval()
        with torch.no_grad():
            for name, tensor in (*built.named_parameters(), *built.named_buffers()):
                if name.endswith(("bias", "running_mean")):
                    tensor.normal_(0, 0.5)
                elif "norms" in name and name.endswith(("weight", "running_var")):
                    tensor.uniform_(0.5, 2)
        return built

    return build


@pytest.fixture
def networks():
    def draw(architecture: Architecture, count: int = 3, dtype: torch.dtype = torch.float64) -> Batch:
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(count, architecture.num_weights, generator=generator, dtype=dtype)
        ids = np.arange(count)
        return Batch(networks=[Networks(architecture=architecture, weights=weights)], order=ids, ids=ids)

    return draw
