"""Parts of DWSNet and NFN combined: each takes the features that the other gives."""

import pytest
import torch
from torch import nn

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.compose import recipe
from sneframe.config.structure import structure, unstructure
from sneframe.model import build_model
from sneframe.symmetry import apply, sample
from sneframe.testing.case import toy_batch
from sneframe.testing.compare import difference

TOKENIZERS = ("dwsnet/weight-features", "nfn/weight-features")
LAYERS = {
    "dwsnet/dws-layers": {"width": 4, "heads": 2, "hidden_layers": 1},
    "nfn/np-layers": {"widths": (4, 3)},
    "nfn/hnp-layers": {"widths": (4, 3)},
    "nfn/attention-blocks": {"width": 4, "blocks": 1, "heads": 2},
}
POOLS = ("dwsnet/invariant-pooling", "nfn/hnp-pool", "nfn/np-pool")


@pytest.fixture(scope="module")
def cnn():
    layers = (nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    return Architecture.from_module(nn.Sequential(*layers), torch.zeros(2, 2, 6, 6))


def model(architecture, tokenizer, layers, pool):
    data = unstructure(recipe("dwsnet"))
    data |= {"tokenizer": {"part": tokenizer}, "aggregator": {"part": pool}}
    data["layer_encoder"] = {"part": layers, **LAYERS[layers]}
    torch.manual_seed(0)
    built = build_model(structure(data, plugins.part), (architecture,)).double().eval()
    built.encoder.normalise.fit([toy_batch((architecture,))])
    return built.encoder


@torch.no_grad()
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_every_combination_is_invariant_on_a_cnn(cnn, tokenizer, layers, pool):
    """Each tokenizer, layers and pool of the two plugins fit together, and permutations change nothing."""
    encoder = model(cnn, tokenizer, layers, pool)
    batch = toy_batch((cnn,), networks=3)

    embedding = encoder(batch)
    moved = apply(batch, sample(batch, seed=0, step=0))

    assert embedding.shape == (3, encoder.aggregator.out.width)
    assert difference(embedding[:1], embedding[1:2]) > 1e-3
    assert difference(moved, batch) > 0.1
    assert difference(encoder(moved), embedding) < 1e-9


def test_both_tokenizers_give_the_same(cnn):
    """Without Fourier features and encodings, both tokenizers give the weights and biases themselves."""
    one, other = (
        model(cnn, tokenizer, "nfn/hnp-layers", "nfn/hnp-pool").tokenizer for tokenizer in TOKENIZERS
    )
    batch = toy_batch((cnn,), networks=3)

    assert difference(one(batch), other(batch)) == 0
