"""An encoder in the user's own training loop has the scales of a run, or warns that it has not."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from attrs import frozen
from torch import nn

import sneframe
from sneframe.batch import Batch
from sneframe.compose import recipe
from sneframe.errors import ConfigError, PartError
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import Spec
from sneframe.run_folder.checkpoint import load_model
from sneframe.zoo import open_zoo

WORDS = ("layer_encoder.width=16",)


@pytest.fixture(scope="module")
def batch(toy_zoo_path):
    return open_zoo(toy_zoo_path).load()


@pytest.fixture
def unfitted(batch):
    return sneframe.encoder("sne", batch.architectures, *WORDS)


def silent(encoder, batch):
    """Encode a batch, and fail on any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return encoder(batch)


def fitted_alone(toy_zoo_path, folder, *words):
    """Return the encoder of an untrained run, and the configuration of the run."""
    words = ("train.epochs=0", "device=cpu", f"zoo.path={toy_zoo_path}", "seed=3", *WORDS, *words)
    config = recipe("sne", *words)
    model, _, _ = load_model(sneframe.run(config, folder, report=False).folder / "best.safetensors")
    return model.encoder, config


@pytest.mark.parametrize("part", ["normalise/fan-in", "normalise/parameter", "normalise/none"])
def test_a_loop_begins_with_the_encoder_of_a_run(toy_zoo_path, tmp_path, part):
    """The same seed and the same training networks give the same embeddings, bit for bit."""
    words = (f"normalise.part={part}",)
    of_run, config = fitted_alone(toy_zoo_path, tmp_path / "run", *words)
    from sneframe.progress import Reporter
    from sneframe.train.data import load_data

    data = load_data(config.zoo, Reporter())
    torch.manual_seed(config.seed)
    own = sneframe.encoder("sne", data.batch.select(data.split.train), *WORDS, *words)
    with torch.no_grad():
        assert torch.equal(silent(own.eval(), data.batch), of_run(data.batch))


def test_a_zoo_is_fitted_to_as_its_batch_is(toy_zoo_path):
    """An encoder can be fitted to a selection of a zoo instead of its batch."""
    zoo = open_zoo(toy_zoo_path).select(range(7))
    torch.manual_seed(0)
    one = sneframe.encoder("sne", zoo, *WORDS)
    torch.manual_seed(0)
    other = sneframe.encoder("sne", zoo.load(), *WORDS)
    assert torch.equal(one.normalise.scale, other.normalise.scale)
    assert not torch.equal(one.normalise.scale, torch.ones_like(one.normalise.scale))


@pytest.mark.parametrize("training", [False, True])
def test_the_first_forward_unfitted_warns_once(batch, unfitted, training):
    """The first use of an unfitted encoder warns how to fit it; the second does not warn."""
    unfitted.train(training)
    with pytest.warns(UserWarning, match=r"was never fitted.*sneframe\.encoder\(NAME, networks\)"):
        unfitted(batch)
    silent(unfitted, batch)


def test_an_encoder_that_was_fitted_later_is_silent(batch, unfitted):
    """An encoder that is fitted as the warning says does not warn."""
    unfitted.normalise.fit(batch.blocks())
    silent(unfitted, batch)


def test_what_learns_nothing_is_never_unfitted(batch):
    """A part without constants never warns."""
    silent(sneframe.encoder("sne", batch.architectures, *WORDS, "normalise.part=normalise/none"), batch)


def saved(encoder):
    """Save an encoder whole, and read it back."""
    file = io.BytesIO()
    torch.save(encoder, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("again", [copy.deepcopy, saved, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_copy_knows_whether_it_was_fitted(batch, unfitted, again):
    """Copies in memory, by torch.save and by pickle know whether the encoder was fitted."""
    with pytest.warns(UserWarning, match="never fitted"):
        again(unfitted)(batch)
    unfitted.normalise.fit(batch.blocks())
    silent(again(unfitted), batch)


def test_a_state_dict_says_whether_it_was_fitted(batch, unfitted):
    """A loaded state dict makes an encoder fitted or unfitted, as the saved one was."""
    fitted = sneframe.encoder("sne", batch, *WORDS)
    before = copy.deepcopy(unfitted.state_dict())
    unfitted.load_state_dict(fitted.state_dict())
    silent(unfitted, batch)
    unfitted.load_state_dict(before)
    with pytest.warns(UserWarning, match="never fitted"):
        unfitted(batch)


class Largest(Normalise):
    """A part of another author: divides by the largest weight."""

    name = "stranger/largest"

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.register_buffer("largest", torch.ones(()))

    def learn(self, batches):
        found = [n.weights.abs().max() for each in batches for n in each.networks]
        self.largest.copy_(torch.stack(found).max() if found else torch.ones(()))

    def forward(self, batch):
        return batch.replace(n.weights / self.largest for n in batch.networks)


@pytest.fixture
def stranger(batch):
    return Largest(Largest.Config(), Spec(carrier=Batch, width=1, architectures=batch.architectures))


def test_a_part_of_another_author_warns_too(batch, stranger):
    """The base class records that a part was fitted, so any part warns."""
    with pytest.warns(UserWarning, match=r"normalise 'stranger/largest' was never fitted"):
        stranger(batch)
    stranger.fit(batch.blocks())
    assert float(silent(stranger, batch).networks[0].weights.abs().max()) == 1


def test_a_part_that_defines_fit_is_refused():
    """A part must define learn instead of fit, which records that the part was fitted."""
    with pytest.raises(TypeError, match=r"Hiding must define learn instead of fit"):
        type("Hiding", (Normalise,), {"fit": lambda self, batches: None})


def test_fitting_to_no_network_is_refused(batch, stranger):
    """Fitting to no network, such as to an iterator that was read before, is an error."""
    blocks = batch.blocks()
    list(blocks)
    with pytest.raises(PartError, match="'stranger/largest' cannot be fitted to 0 networks"):
        stranger.fit(blocks)
    with pytest.warns(UserWarning, match="never fitted"):
        stranger(batch)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (torch.ones(3), "got Tensor;"),
        ("mine.zarr", "got str;"),
        ([nn.Linear(1, 1)], "got Linear;"),
        ([], "got an empty list;"),
        (None, "got NoneType;"),
    ],
)
def test_what_is_no_network_is_named(given, got):
    """The error for other values names their type, and how to make a batch."""
    with pytest.raises(ConfigError, match=f"a Zoo, or a list of architectures, but {got}.*from_modules"):
        sneframe.encoder("sne", given)


def test_one_architecture_is_no_list_of_them(batch):
    """A single architecture is refused by its name."""
    with pytest.raises(ConfigError, match="got Architecture;"):
        sneframe.encoder("sne", batch.architectures[0])


def test_a_batch_of_no_network_is_refused(batch):
    """An encoder cannot be fitted to a batch without networks."""
    with pytest.raises(ConfigError, match="at least one network, but got none"):
        sneframe.encoder("sne", batch.select([]))
