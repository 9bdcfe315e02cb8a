"""Methods for one architecture take networks that differ in their activations only."""

import numpy as np
import pytest
import torch

import sneframe
from sneframe.batch import Batch, Networks, join
from sneframe.errors import PartError
from sneframe.testing import mlp
from sneframe.zoo import create

# The encoders here are not fitted on purpose, so their constants are 1.
pytestmark = pytest.mark.filterwarnings("ignore:.*was never fitted")

RELU, TANH = mlp(1, 5, 4, 1), mlp(1, 5, 4, 1, activation="tanh")
RECIPES = {
    "nfn/default": ("layer_encoder.widths=[4,4]",),
    "nfn/np": ("layer_encoder.widths=[4,4]",),
    "nfn/nft": ("layer_encoder.width=8", "layer_encoder.blocks=1"),
    "dwsnet/default": ("layer_encoder.width=8", "layer_encoder.hidden_layers=1"),
    "mlp/default": ("layer_encoder.width=8",),
    "stats/mlp": ("head.hidden=[8]",),
}


def mixed(count=6):
    """Networks 0, 2, 4, … with ReLU, 1, 3, 5, … with tanh."""
    weights = torch.randn(count, RELU.num_weights, generator=torch.Generator().manual_seed(0))
    return join(
        {RELU: weights[::2], TANH: weights[1::2]}, {RELU: range(0, count, 2), TANH: range(1, count, 2)}
    )


def as_one(batch, architecture):
    """Return a batch of the same weights in which all networks have one activation."""
    weights = torch.cat([batch.select([row]).networks[0].weights for row in range(len(batch))])
    networks = (Networks(architecture=architecture, weights=weights),)
    return Batch(networks=networks, order=np.arange(len(batch)), ids=batch.ids)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("training", [False, True])
def test_activations_do_not_change_the_encoding(recipe, training):
    """A batch of two activations is encoded as if all networks had the same one."""
    batch = mixed()
    torch.manual_seed(0)
    encoder = sneframe.encoder(recipe, batch.architectures, *RECIPES[recipe]).train(training)
    torch.manual_seed(0)
    alone = sneframe.encoder(recipe, [RELU], *RECIPES[recipe]).train(training)
    torch.testing.assert_close(encoder(batch), alone(as_one(batch, RELU)))


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_unseen_activation_is_encoded(recipe):
    """An encoder built for ReLU networks takes tanh networks of the same layout."""
    encoder = sneframe.encoder(recipe, [RELU], *RECIPES[recipe]).eval()
    batch = mixed()
    torch.testing.assert_close(encoder(batch), encoder(as_one(batch, TANH)))


@pytest.mark.parametrize("recipe", RECIPES)
def test_another_layout_is_refused_in_one_line(recipe):
    """Networks of other shapes are refused; the error says which were expected and given."""
    encoder = sneframe.encoder(recipe, [RELU, TANH], *RECIPES[recipe]).eval()
    other = mlp(1, 5, 5, 1)
    batch = join({other: torch.zeros(2, other.num_weights)}, {other: range(2)})
    with pytest.raises(
        PartError, match=r"was built for linear 1×5 · linear 5×4 .*, but got linear 1×5 · linear 5×5"
    ):
        encoder(batch)


@pytest.mark.parametrize("recipe", ["nfn/default", "dwsnet/default", "mlp/default"])
def test_a_zoo_of_two_activations_is_trained_on(recipe, tmp_path):
    """A run on a zoo of two activations scores networks of both."""
    generator = np.random.default_rng(0)
    with create(tmp_path / "two.zarr", name="two") as writer:
        for architecture in (RELU, TANH):
            scale = generator.uniform(0.5, 2.0, 20)
            weights = {
                p.name: (generator.standard_normal((20, *p.shape)).T * scale).T
                for p in architecture.parameters
            }
            writer.append(architecture, weights, {"scale": scale})
    config = sneframe.recipe(
        recipe, f"zoo.path={tmp_path / 'two.zarr'}", "train.epochs=1", "train.batch_size=8", *RECIPES[recipe]
    )
    assert sneframe.run(config, tmp_path / "run", report=False).metrics["test"]["n"] == 6
