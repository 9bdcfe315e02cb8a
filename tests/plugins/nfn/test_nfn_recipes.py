"""The recipes of NFN: their sizes, and runs from zoo to metrics."""

import numpy as np
import pytest
import torch
from sneframe_nfn import sneframe_recipes

import sneframe
from sneframe.batch import join
from sneframe.errors import PartError
from sneframe.model import build_model
from sneframe.testing import mlp, toy_zoo

# The normalisation is left unfitted on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*was never fitted")

SMALL = {
    "nfn/default": "layer_encoder.widths=[8,4]",
    "nfn/hnp": "layer_encoder.widths=[8,4]",
    "nfn/np": "layer_encoder.widths=[8,4]",
    "nfn/nft": "layer_encoder.width=8",
}
SINE = mlp(1, 32, 32, 1, activation="sine")


def model_of(name, architecture, *words):
    config = sneframe.recipe(name, *words)
    return build_model(config, [architecture])


def size(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", sneframe_recipes())
def test_a_recipe_records_its_name(name):
    """The configuration holds the recipe's name."""
    assert sneframe_recipes()[name]().recipe == name


@pytest.mark.parametrize(
    ("name", "published", "more"),
    [
        # The sizes of the package's NPLinear and HNPLinear layers and of a head 250 → 1000 → 1000 → 1.
        pytest.param("nfn/np-paper", 2_031_390, 0, id="NP-PosEmb, 2.03 M"),
        # Three layers map the last hidden bias to the last weight: 10 · (1 · 16 + 16 · 16 + 16 · 5) weights.
        pytest.param("nfn/hnp-paper", 2_811_743, 3_520, id="HNP, 2.81 M"),
    ],
)
def test_the_paper_recipes_have_the_published_size(small_cnn, name, published, more):
    """The HNP recipe has the published size and the one map more that the original lacks."""
    architecture = small_cnn()

    assert architecture.num_weights == 4970
    assert size(model_of(name, architecture)) == published + more


@pytest.mark.parametrize("name", ["nfn/hnp-fair", "nfn/np-fair", "nfn/nft-fair"])
def test_the_fair_recipes_have_150_000_trainable_weights(name):
    """On sine INRs 1 → 32 → 32 → 1 the size is right within 10 %."""
    assert size(model_of(name, SINE)) == pytest.approx(150_000, rel=0.1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nfn/hnp-paper", ()),
        ("nfn/np-paper", ()),
        # At full width a step would take seconds and test nothing more.
        ("nfn/nft-paper", ("tokenizer.frequencies=8", "layer_encoder.width=16")),
    ],
)
def test_the_paper_recipes_can_be_trained(small_cnn, name, words):
    """A step of the optimiser lowers the loss."""
    architecture = mlp(1, 8, 8, 1) if "nft" in name else small_cnn()
    torch.manual_seed(0)
    model = model_of(name, architecture, *words).train()
    batch = join({architecture: torch.randn(8, architecture.num_weights)}, {architecture: np.arange(8)})
    target = torch.randn(8, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=sneframe.recipe(name).train.lr / 10)

    def loss():
        return (model(batch).value - target).square().mean()

    before = loss()
    before.backward()
    optimiser.step()

    assert loss() < before


def test_the_transformer_has_the_blocks_of_inr2array():
    """A block has 3 attention matrices of 256², and 2 feed-forward ones of 4 · 256² for each of 6 tensors."""
    encoder = model_of("nfn/nft-paper", mlp(2, 32, 32, 1)).encoder.layer_encoder

    matrices = 6 * (3 + 2 * 4 * 6) * 256**2
    assert sum(p.numel() for p in encoder.parameters() if p.ndim == 2 and min(p.shape) >= 256) == matrices


@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_beats_the_mean(name, tmp_path):
    """A short run predicts better than the mean."""
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=60)
    settings = (f"zoo.path={zoo}", "zoo.property=scale", "train.batch_size=8", "train.epochs=8", SMALL[name])

    result = sneframe.run(sneframe.recipe(name, *settings), tmp_path / "run", report=False)

    assert result.metrics["test"]["mse"] < result.metrics["baseline"]["test"]["mse"]


def test_a_mixed_zoo_is_refused_before_training(tmp_path):
    """The error says how many layouts the zoo has."""
    zoo = toy_zoo(tmp_path / "toy.zarr", hidden=((4, 4), (3, 3)))

    with pytest.raises(PartError, match="one layout, but the zoo has 2 layouts"):
        sneframe.run(sneframe.recipe("nfn/default", f"zoo.path={zoo}"), tmp_path / "run", report=False)
