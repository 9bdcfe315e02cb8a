"""The recipes of NFN: their sizes, and a run from zoo to report."""

import numpy as np
import pytest
import torch
from sneframe_nfn import sneframe_recipes

import sneframe
from sneframe import plugins
from sneframe.batch import join
from sneframe.config.schema import plugins_named
from sneframe.config.structure import unstructure
from sneframe.errors import PartError
from sneframe.model import build_model
from sneframe.testing import mlp, toy_zoo

# The constants of an untrained encoder are 1 here, on purpose.
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
    return build_model(config, plugins.load(plugins_named(unstructure(config))), [architecture])


def size(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", sneframe_recipes())
def test_a_recipe_records_its_name(name):
    assert sneframe_recipes()[name]().recipe == name


@pytest.mark.parametrize(
    ("name", "published", "more"),
    [
        # What the package's NPLinear and HNPLinear and a head 250 → 1000 → 1000 → 1 come to.
        pytest.param("nfn/np-paper", 2_031_390, 0, id="NP-PosEmb, 2.03 M"),
        # In each of three layers the last hidden bias reaches the last weight: 10 · (1 · 16 + 16 · 16 + 16 · 5).
        pytest.param("nfn/hnp-paper", 2_811_743, 3_520, id="HNP, 2.81 M"),
    ],
)
def test_the_published_setting_has_the_published_size(small_cnn, name, published, more):
    architecture = small_cnn()

    assert architecture.num_weights == 4970
    assert size(model_of(name, architecture)) == published + more


@pytest.mark.parametrize("name", ["nfn/hnp-fair", "nfn/np-fair", "nfn/nft-fair"])
def test_the_fair_setting_has_150_000_parameters(name):
    assert size(model_of(name, SINE)) == pytest.approx(150_000, rel=0.1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nfn/hnp-paper", ()),
        ("nfn/np-paper", ()),
        # At its full width a step takes seconds, and tests nothing more.
        ("nfn/nft-paper", ("tokenizer.frequencies=8", "layer_encoder.width=16")),
    ],
)
def test_the_published_setting_takes_a_step(small_cnn, name, words):
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


def test_the_transformer_of_inr2array_has_256_channels_and_6_blocks():
    """Per block and width 256: 4 attention maps of 256², 2 feed-forward maps of 4 · 256² on each of 6 tensors."""
    encoder = model_of("nfn/nft-paper", mlp(2, 32, 32, 1)).encoder.layer_encoder

    matrices = 6 * (3 + 2 * 4 * 6) * 256**2
    assert sum(p.numel() for p in encoder.parameters() if p.ndim == 2 and min(p.shape) >= 256) == matrices


@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_runs(name, tmp_path):
    zoo = toy_zoo(tmp_path / "toy.zarr", networks=60)
    settings = (f"zoo.path={zoo}", "zoo.property=scale", "train.batch_size=8", "train.epochs=8", SMALL[name])

    result = sneframe.run(sneframe.recipe(name, *settings), tmp_path / "run", report=False)

    assert result.metrics["test"]["mse"] < result.metrics["baseline"]["test"]["mse"]


def test_a_mixed_zoo_is_refused_before_training(tmp_path):
    zoo = toy_zoo(tmp_path / "toy.zarr", hidden=((4, 4), (3, 3)))

    with pytest.raises(PartError, match="built for one architecture, the zoo holds 2"):
        sneframe.run(sneframe.recipe("nfn/default", f"zoo.path={zoo}"), tmp_path / "run", report=False)
