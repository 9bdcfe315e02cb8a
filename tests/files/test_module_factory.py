"""A module's function gives one architecture for each network that computes something else."""

import contextlib
from pathlib import Path

import factories
import pytest
import torch
from torch import nn

from sneframe.errors import ArchitectureError, ConfigError, FileError
from sneframe.files.module_factory import Factory, ModuleDescriber
from sneframe.files.names import Renaming
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


def tied_chain():
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    return module


def square(value):
    return torch.full((4, 4), value)


def chain_state(first, second):
    return {"0.weight": first, "0.bias": torch.zeros(4), "2.weight": second, "2.bias": torch.zeros(4)}


def test_a_file_that_contradicts_a_tie_is_refused():
    """A file whose two weights differ is not the file of a module that ties these weights."""
    with pytest.raises(FileError, match=r"^'2.weight' differs from '0.weight', but Sequential ties them$"):
        ModuleDescriber().architecture(tied_chain(), chain_state(square(1.0), square(9.0)))


def test_the_prefix_of_a_trainer_does_not_hide_a_tie():
    """Tied names are compared after the prefix of a trainer is removed."""
    state = {f"model.{n}": value for n, value in chain_state(square(1.0), square(9.0)).items()}
    with pytest.raises(FileError, match=r"'2.weight' differs from '0.weight'"):
        ModuleDescriber().architecture(tied_chain(), state)


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_a_file_that_repeats_a_tied_weight_fits(value):
    """A tied weight may be in the file under both names, and NaN equals NaN."""
    state = chain_state(square(value), square(value))
    found = ModuleDescriber().architecture(tied_chain(), state)
    assert [each.name for each in found.parameters] == ["0.weight", "0.bias", "2.bias"]
    assert named(state, found)["0.weight"] is state["0.weight"]


def test_a_renaming_does_not_hide_a_tie():
    """Tied names are compared as the user has renamed them, and the architecture has the new names."""
    renaming = Renaming.parse("", ["s/^/net./"])
    state = renaming.of(chain_state(square(1.0), square(1.0)))
    found = ModuleDescriber().architecture(tied_chain(), state, renaming)
    assert found.layers[0].attributes["tied"] == {"net.2.weight": "net.0.weight"}
    with pytest.raises(FileError, match=r"'2.weight' differs from '0.weight'"):
        ModuleDescriber().architecture(tied_chain(), {**state, "net.2.weight": square(9.0)}, renaming)
    del state["net.0.weight"]
    assert ModuleDescriber().architecture(tied_chain(), state, renaming) == found


def test_each_of_three_tied_names_is_compared():
    """All names of a tensor are compared with its first name, also the names of a shared buffer."""
    module = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(3)))
    module[1].weight = module[2].weight = module[0].weight
    state = {"0.weight": torch.ones(2, 2), "1.weight": torch.zeros(2, 2), "2.weight": torch.ones(2, 2)}
    with pytest.raises(FileError, match=r"'1.weight' differs from '0.weight'"):
        ModuleDescriber().architecture(module, state)
    shared = nn.BatchNorm1d(2)
    norms = nn.Sequential(nn.Linear(2, 2), shared, nn.Linear(2, 2), shared)
    state = {name: value.clone() for name, value in norms.state_dict().items()}
    state["3.running_mean"] += 1
    with pytest.raises(FileError, match=r"'3.running_mean' differs from '1.running_mean'"):
        ModuleDescriber().architecture(norms, state)


def test_an_architecture_knows_its_ties():
    """Tensors that contradict an architecture whose parameters are tied are refused."""
    state = factories.Tied().state_dict()
    found = described("tied", state)
    assert named(state, found)["words.weight"] is state["words.weight"]
    with pytest.raises(FileError, match=r"'read.weight' differs from 'words.weight', but the architecture"):
        named({**state, "read.weight": state["read.weight"] + 1}, found)
