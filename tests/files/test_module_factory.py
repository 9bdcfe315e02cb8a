"""A module's function gives one architecture for each network that computes something else."""

import contextlib
from pathlib import Path

import factories
import pytest
import torch

from sneframe.errors import ArchitectureError, ConfigError, FileError
from sneframe.files.module_factory import Factory
from sneframe.files.network_reader import named


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1] / "plugins" / "importers")


def described(word, tensors, **properties):
    return Factory(f"factories:{word}").architecture(tensors, properties)


@pytest.mark.filterwarnings("ignore:.*cumsum:UserWarning")
def test_networks_of_one_local_class_are_told_apart():
    """Three activations in the closure of one class are three architectures, each with its own symmetry."""
    factory = Factory("factories:local")
    found = {}
    for act in ("relu", "tanh", "cumsum", "relu"):
        module, _ = factories.local({"activation": act})
        found[act] = factory.architecture(module.state_dict(), {"activation": act})
    actions = {act: [group.actions for group in each.groups] for act, each in found.items()}
    assert actions == {"relu": [("permute", "scale")], "tanh": [("permute", "sign")], "cumsum": []}
    assert {each.symmetry for each in found.values()} == {"verified"}


def test_the_mask_of_a_file_is_loaded(monkeypatch):
    """The mask of the file is loaded before the module is described, so another mask is another network."""
    seen = []
    original = factories.Masked.forward
    monkeypatch.setattr(
        factories.Masked, "forward", lambda self, x: (seen.append(self.mask.tolist()), original(self, x))[1]
    )
    factory = Factory("factories:masked")
    state = factories.Masked().state_dict()
    for value in (False, True):
        state["mask"] = torch.tensor([value] * 8)
        with contextlib.suppress(ConfigError):  # a group that the mask forbids is refused
            factory.architecture(state, {})
    assert [False] * 8 in seen
    assert [True] * 8 in seen


@pytest.mark.filterwarnings("ignore:the buffer 'mask' holds integers or booleans")
def test_a_file_without_the_mask_leaves_the_modules_own():
    """A file of weights alone is described with the buffers that the module makes."""
    state = {name: value for name, value in factories.Masked().state_dict().items() if name != "mask"}
    assert described("masked", state).num_weights == 8 * 4 + 8 + 3 * 8 + 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"mask": torch.ones(7, dtype=torch.bool)},
            r"'mask' has shape \(7,\) in the file, and \(8,\) in " r"Masked",
        ),
        ({"more": torch.ones(2, dtype=torch.int64)}, "holds 'more', which Masked does not have"),
    ],
)
def test_a_file_of_another_module_is_refused(change, said):
    """Integers and truth values of a file must have their place in the module, as weights do."""
    with pytest.raises(FileError, match=said):
        described("masked", {**factories.Masked().state_dict(), **change})


def test_the_counter_of_a_batch_norm_may_be_missing_or_more():
    """Counters of batch norms are no reason to refuse a file."""
    state = factories.cnn().state_dict()
    counter = state.pop("1.num_batches_tracked")
    described_without = Factory("factories:of_row").architecture(state, {"kind": "cnn"})
    more = {**state, "9.num_batches_tracked": counter}
    assert Factory("factories:of_row").architecture(more, {"kind": "cnn"}) == described_without


def test_a_module_without_an_example_input_is_verified():
    """An input that is made up for the first layer serves to verify."""
    assert described("always_mlp", factories.mlp().state_dict()).symmetry == "verified"


def test_a_module_without_a_usable_input_is_one_line():
    """Where no input can be made up the error says so, and names the function."""
    with pytest.raises(
        ConfigError,
        match="factories:pair: Bilinear: found no input that the module accepts; pass example_input",
    ):
        described("pair", factories.pair().state_dict())


def test_a_false_group_is_one_line(monkeypatch):
    """A module whose group is refuted by running it ends the import with one line."""

    def refuse(*args):
        raise ArchitectureError("group 'hidden0' is no symmetry")

    monkeypatch.setattr("sneframe.symmetry.describe.verify", refuse)
    with pytest.raises(ConfigError, match="factories:always_mlp: group 'hidden0' is no symmetry"):
        described("always_mlp", factories.mlp().state_dict())


def test_a_file_with_another_name_of_a_tied_tensor_fits():
    """Of two names of one table a file of safetensors has either."""
    for left_out in ("words.weight", "read.weight"):
        state = {name: value for name, value in factories.Tied().state_dict().items() if name != left_out}
        found = described("tied", state)
        assert [parameter.name for parameter in found.parameters] == ["words.weight"]
        assert named(state, found).keys() == {"words.weight"}
