"""A finished run, asked about modules, state dicts, files and zoos."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import sneframe
from sneframe import atomic
from sneframe.compose import recipe
from sneframe.errors import ArchitectureError, ConfigError, FileError, PartError, RunError
from sneframe.predict.distance import Reference
from sneframe.predict.lazy_network import Describer
from sneframe.run_folder import tensor_files
from sneframe.run_folder.checkpoint import load_model
from sneframe.zoo import open_zoo

pytestmark = pytest.mark.filterwarnings("ignore:.*far from all training networks")


@pytest.fixture(scope="module")
def predictor(finished):
    return sneframe.load(finished)


def written(zoo, position, path):
    """Write a network of a zoo as a file."""
    weights = zoo.load().select([position]).networks[0].parameters()
    save_file({name: value[0].contiguous() for name, value in weights.items()}, path)
    return path


def copied(folder, target, *names):
    """Copy files of a run."""
    for name in names:
        (target / name).write_bytes((folder / name).read_bytes())


# -- what is predicted ----------------------------------------------------------------------------------


def test_a_file_gets_the_prediction_of_the_run(finished, predictor, zoo_path, tmp_path):
    """A network read from a file gets the prediction that the run wrote for it."""
    model, tasks, _ = load_model(finished / "best.safetensors")
    zoo = open_zoo(zoo_path)
    output = model(zoo.load())
    for position in (0, 70):
        found = predictor.predict(written(zoo, position, tmp_path / f"{position}.safetensors"))
        own = {task.name: task.predict(value)[position] for task, value in tasks.split(output.value)}
        assert found.values["scale"] == pytest.approx(own["scale"], rel=1e-5)
        assert found.values["label"] == own["label"]
        np.testing.assert_allclose(found.embedding, output.embedding[position].detach(), rtol=1e-4, atol=1e-5)
        assert found.source == str(tmp_path / f"{position}.safetensors")


def test_module_state_dict_and_file_are_one_network(predictor, file, network):
    """A module, its state dict and its file get the same prediction."""
    layers = nn.Sequential(network["0"], nn.ReLU(), network["1"], nn.ReLU(), network["2"])
    of_module = predictor.predict(layers)
    of_state, of_file = predictor.predict(network.state_dict()), predictor.predict(str(file))
    assert of_module.values["scale"] == pytest.approx(of_file.values["scale"], rel=1e-5)
    assert of_state.values == of_file.values
    assert [each.source for each in (of_module, of_state, of_file)] == ["Sequential", "state dict", str(file)]


def test_predictions_do_not_depend_on_the_batch(predictor, network, zoo_path, tmp_path):
    """Several networks get the predictions that each gets alone."""
    zoo = open_zoo(zoo_path)
    files = [written(zoo, position, tmp_path / f"{position}.safetensors") for position in (3, 70, 5, 90)]
    together = predictor.predict_all([*files, network.state_dict()] * 8)
    assert len(together) == 40
    for number, each in enumerate([*files, network.state_dict()]):
        alone = predictor.predict(each)
        assert together[number].values["scale"] == pytest.approx(alone.values["scale"], rel=1e-5)
        assert together[number + 35].values["label"] == alone.values["label"]


def test_a_zoo_is_embedded_in_its_order(finished, predictor, zoo_path):
    """The rows of a zoo's embedding are in the order of its networks."""
    zoo = open_zoo(zoo_path)
    values = predictor.embed(zoo)
    assert values.shape == (120, predictor.model.encoder.width)
    kept = tensor_files.read_tensors(finished / "embeddings.safetensors")[0]
    np.testing.assert_allclose(values[kept["ids"].numpy()], kept["values"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(values[kept["train_ids"].numpy()], kept["train_values"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        predictor.embed(zoo.select([7, 3])), predictor.embed(zoo.load().select([7, 3]))
    )
    np.testing.assert_allclose(predictor.embed(zoo.select([7, 3])), values[[7, 3]], rtol=1e-4, atol=1e-5)


def test_an_architecture_of_the_zoo_is_recognised(predictor, network):
    """A state dict with the names and shapes of a training architecture gets that architecture."""
    describer = Describer(predictor.reader, predictor.architectures)
    found = describer.of(dict(reversed(network.state_dict().items())))
    assert found.architecture in predictor.architectures


def test_unseen_types_of_parameters_are_named(predictor):
    """A network of an unseen architecture is predicted, and its unseen types of parameters are named."""
    torch.manual_seed(0)
    unseen = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    with pytest.warns(
        UserWarning, match=r"^Sequential: .*; no training network has conv2d\.weight, conv2d\.bias;"
    ):
        found = predictor.predict(unseen)
    assert found.unseen == ("conv2d.weight", "conv2d.bias")
    assert np.isfinite(found.values["scale"])


def test_a_module_that_needs_an_example_is_given_one(predictor):
    """A module is described with the example input that is given."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x, y):
            return self.layer(torch.cat([x, y], -1))

    with pytest.raises(ArchitectureError, match="pass example_input"):
        predictor.predict(Two())
    torch.manual_seed(0)
    network, example = Two(), (torch.randn(4, 1), torch.randn(4, 2))
    found = predictor.predict(network, example)
    assert found.source == "Two"
    np.testing.assert_array_equal(predictor.embed(network, example), found.embedding)


def test_a_network_far_from_training_is_marked(predictor, network, zoo_path):
    """A network far from all training networks is marked as far."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1000)
    with pytest.warns(UserWarning, match="state dict: .* far from all training networks"):
        found = predictor.predict(network.state_dict())
    assert found.far
    zoo = open_zoo(zoo_path)
    near = predictor.predict_all(
        [{n: v[0] for n, v in zoo.load().select([p]).networks[0].parameters().items()} for p in range(20)]
    )
    assert sum(each.far for each in near) <= 2


def test_a_run_without_embeddings_of_training_has_no_distances(finished, network, tmp_path):
    """A run without embeddings of training networks gives no distances."""
    copied(finished, tmp_path, "best.safetensors", "metrics.json")
    found = sneframe.load(tmp_path).predict(network.state_dict())
    assert found.distance is None
    assert not found.far


def test_a_run_that_has_not_finished_says_so(finished, network, tmp_path):
    """Loading a run that has not finished warns."""
    copied(finished, tmp_path, "best.safetensors")
    with pytest.warns(UserWarning, match="the run has not finished: this is its best model so far"):
        predictor = sneframe.load(tmp_path)
    assert predictor.predict(network.state_dict()).distance is None


def test_a_network_with_a_scalar_parameter_is_predicted(zoo_path, tmp_path):
    """Such as a temperature that is learnt."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.scale = nn.Linear(1, 4), nn.Parameter(torch.tensor(2.0))

        def forward(self, x):
            return self.layer(x) * self.scale

    config = recipe(
        "sne/message", "train.epochs=1", f"zoo.path={zoo_path}", "zoo.property=scale", "device=cpu"
    )
    predictor = sneframe.load(sneframe.run(config, tmp_path / "run", report=False).folder)
    with pytest.warns(UserWarning, match="no training network has"):
        assert np.isfinite(predictor.predict(Scaled()).values["scale"])


@pytest.mark.parametrize("networks", ["net.pt", {"a": torch.ones(1)}, nn.Linear(1, 1)])
def test_one_network_in_the_place_of_several_is_refused(predictor, networks):
    """predict_all refuses a single network."""
    with pytest.raises(
        ArchitectureError, match="predict_all takes several networks, such as a list, but got one"
    ):
        predictor.predict_all(networks)


def test_several_may_come_one_after_the_other(predictor, file):
    """predict_all takes an iterator."""
    assert len(predictor.predict_all(each for each in [file, file, file])) == 3


def test_a_linear_network_is_not_taken_for_one_with_activations(finished, network):
    """A linear network is not taken for one with activations of the same shapes."""
    linear = sneframe.load(finished, activation="none", trust_names=True)
    found = linear._describer.of(network.state_dict()).architecture
    assert {layer.activation for layer in found.layers} == {"none"}


def test_a_module_of_the_user_describes_files(finished, file, tmp_path, monkeypatch):
    """The user's module function describes the networks of files."""
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        for i, (a, b) in enumerate([(1, 4), (4, 4), (4, 1)]):\n"
        "            self.add_module(str(i), nn.Linear(a, b))\n"
        "    def forward(self, x):\n"
        "        a, b, c = self.children()\n"
        "        x = a(x)\n"
        "        return c(x + b(x).tanh())\n"
    )
    monkeypatch.chdir(tmp_path)
    predictor = sneframe.load(finished, module="mine:Net")
    found = Describer(predictor.reader, predictor.architectures).of(file)
    assert len(found.architecture.groups) == 1
    for pattern, groups in ((f"*{file.name}", 1), ("*.other", 2)):
        predictor = sneframe.load(finished, module={pattern: "mine:Net"}, trust_names=True)
        assert len(predictor.describe(file).groups) == groups


# -- what is refused ------------------------------------------------------------------------------------


def test_unusable_networks_are_named(predictor, tmp_path):
    """Networks that cannot be read or described are refused with their names."""
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(FileError, match=r"a\.pt: the file is empty"):
        predictor.predict(tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"^state dict: holds no floating-point tensor"):
        predictor.predict({"a": torch.zeros(3, dtype=torch.int64)})


@pytest.mark.parametrize(
    ("network", "error", "reason"),
    [
        (None, ArchitectureError, "got NoneType"),
        (3, ArchitectureError, "got int"),
        (nn.Linear, ArchitectureError, "got the class Linear"),
        ({}, FileError, "state dict: holds no named tensors"),
        ({"a": None}, FileError, "state dict: holds no named tensors"),
        ({"a": np.zeros(3)}, FileError, "state dict: holds no named tensors"),
        ({0: torch.zeros(3)}, FileError, "state dict: holds no named tensors"),
        ({"a": torch.eye(3).to_sparse()}, FileError, "state dict: 'a' is a sparse tensor"),
        ({"a": {"w": torch.ones(1)}, "b": {"w": torch.ones(1)}}, FileError, "several state dicts, a, b"),
        (nn.LazyLinear(2), ArchitectureError, "LazyLinear: 'weight' has no shape yet"),
        (
            nn.Linear(1, 2, device="meta"),
            ArchitectureError,
            "Linear: 'weight' is on the meta device and has no",
        ),
        (nn.ReLU(), FileError, "ReLU: holds no floating-point tensor"),
    ],
)
def test_other_objects_are_refused(predictor, network, error, reason):
    """Objects that are no networks are refused with one line."""
    for ask in (predictor.predict, predictor.embed):
        with pytest.raises(error, match=reason):
            ask(network)


def test_a_checkpoint_that_was_loaded_is_taken_as_its_file_is(finished, predictor, network, tmp_path):
    """A loaded checkpoint gives the prediction of its file."""
    state = network.state_dict()
    wrapped = {f"module.{name}": value for name, value in state.items()}
    checkpoint = {"epoch": 3, "model": wrapped, "ema": state}
    torch.save(checkpoint, tmp_path / "c.pt")
    for asked in (wrapped, checkpoint, tmp_path / "c.pt"):
        assert predictor.predict(asked).values == predictor.predict(state).values
    ema = sneframe.load(finished, key="ema")
    assert ema.predict(checkpoint).values == predictor.predict(state).values


def test_several_networks_are_embedded_in_their_order(predictor, network, file):
    """The rows of several networks' embeddings are in their order."""
    rows = predictor.embed([network.state_dict(), file] * 20)
    assert rows.shape == (40, predictor.model.encoder.width)
    np.testing.assert_allclose(rows[39], predictor.embed(file), rtol=1e-4, atol=1e-5)
    assert predictor.embed([]).shape == (0, predictor.model.encoder.width)


def test_no_networks_give_no_rows(predictor, zoo_path):
    """Embedding no networks gives an array without rows."""
    none = open_zoo(zoo_path).load().select(np.array([], dtype=int))
    assert predictor.embed(none).shape == (0, predictor.model.encoder.width)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"activation": "rleu"}, "there is no activation 'rleu', did you mean 'relu'"),
        ({"flatten": "first"}, "there is no flatten 'first'"),
        ({"memory": "2GB"}, "memory must be a number of bytes, but got '2GB'"),
        ({"memory": 0}, "memory must be a number of bytes, but got 0"),
        ({"memory": 1}, "memory: 1 B is too little; this model needs at least 20 MiB"),
    ],
)
def test_impossible_options_are_refused(finished, options, reason):
    """Impossible options of load are refused."""
    with pytest.raises(ConfigError, match=reason):
        sneframe.load(finished, **options)


def test_a_method_for_one_architecture_says_what_it_cannot_take(toy_zoo_path, tmp_path):
    """A method for one architecture refuses another with the reason."""
    config = recipe(
        "dwsnet", "train.epochs=1", f"zoo.path={toy_zoo_path}", "zoo.property=scale", "device=cpu"
    )
    folder = sneframe.run(config, tmp_path / "run", report=False).folder
    with pytest.raises(PartError, match=r"was built for linear 1×4.* but got linear 1×9"):
        sneframe.load(folder).predict(nn.Sequential(nn.Linear(1, 9), nn.ReLU(), nn.Linear(9, 1)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda header: header.pop("config"),
        lambda header: header.pop("architectures"),
        lambda header: header.update(architectures=3),
        lambda header: header.update(architectures=[{"layers": []}]),
        lambda header: header.update(tasks=[{"kind": "none"}]),
        lambda header: header.update(tasks=[{"kind": "regression", "colour": 1}]),
        lambda header: header.update(config=[1]),
    ],
)
def test_a_damaged_header_of_a_model_is_named(finished, tmp_path, damage):
    """A damaged header of the model file is named."""
    tensors, header = tensor_files.read_tensors(finished / "best.safetensors")
    damage(header)
    copied(finished, tmp_path, "metrics.json")
    tensor_files.write_tensors(tmp_path / "best.safetensors", tensors, header)
    with pytest.raises(RunError, match=r"best\.safetensors: the header is damaged"):
        sneframe.load(tmp_path)


def test_embeddings_of_another_run_are_refused(finished, tmp_path):
    """Embeddings of another width than the run's are refused."""
    copied(finished, tmp_path, "best.safetensors", "metrics.json")
    for values in (torch.zeros(20), torch.zeros(20, 3), torch.zeros(20, 64, dtype=torch.int64)):
        tensor_files.write_tensors(tmp_path / "embeddings.safetensors", {"train_values": values}, {})
        with pytest.raises(RunError, match=r"embeddings\.safetensors: damaged: train_values has shape \(20"):
            sneframe.load(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path, finished):
    """A folder without a model is refused."""
    with pytest.raises(RunError, match=r"the folder holds no model: best\.safetensors is missing"):
        sneframe.load(tmp_path)
    copied(finished, tmp_path, "metrics.json")
    atomic.write_bytes(tmp_path / "best.safetensors", b"x" * 20)
    with pytest.raises(RunError, match=r"best\.safetensors: damaged"):
        sneframe.load(tmp_path)
    for word in ("mine", nn.Linear):
        with pytest.raises(ConfigError, match="a module factory must be given as"):
            sneframe.load(finished, module=word)


# -- near and far ---------------------------------------------------------------------------------------


def test_distances_are_those_of_the_fifth_neighbour():
    """Points on a line: the fifth neighbour of an inner point is three steps away, in standard deviations."""
    line = np.stack([np.arange(100.0), np.zeros(100)], 1)
    reference = Reference.of(line)
    step = 1 / np.arange(100).std()
    # The farthest fifth neighbours are those of the two ends, 5 steps; the 99th percentile lies between 4 and
    # 5.
    assert 4 * step <= reference.usual <= 5 * step
    found = reference.distance(np.array([[50.0, 0.0], [109.0, 0.0]]))
    assert found == pytest.approx(np.array([2, 14]) * step / reference.usual)


def test_columns_of_other_units_count_alike():
    """The unit of a column does not change the distance."""
    points = np.random.default_rng(0).standard_normal((200, 3))
    one, other = Reference.of(points), Reference.of(points * [1, 1000, 1e-3])
    asked = np.array([[0.5, -2.0, 3.0]])
    assert one.distance(asked) == pytest.approx(other.distance(asked * [1, 1000, 1e-3]))


@pytest.mark.parametrize("points", [np.zeros((50, 3)), np.ones((3, 2)), np.zeros((0, 2))])
def test_too_few_or_equal_networks_are_no_reference(points):
    """Too few networks, or equal ones, give no reference for distances."""
    assert Reference.of(points) is None


# -- large networks -------------------------------------------------------------------------------------


def test_encoding_layer_by_layer_gives_the_same_embedding(finished, file, network, monkeypatch):
    """A large network encoded layer by layer gets the same embedding."""
    predictor = sneframe.load(finished)
    expected = predictor.predict(file)
    monkeypatch.setattr("sneframe.predict.encoding.LARGE", 10)
    whole = type(predictor.model.encoder)
    monkeypatch.setattr(whole, "forward", lambda *_: pytest.fail("all at once"))
    for asked in (file, network.state_dict()):
        found = predictor.predict(asked)
        np.testing.assert_allclose(found.embedding, expected.embedding, rtol=1e-4, atol=1e-5)
        assert found.values["scale"] == pytest.approx(expected.values["scale"], rel=1e-4)


@pytest.mark.filterwarnings("ignore::sneframe.predict.prediction.DoubtWarning")
def test_of_a_very_large_network_a_sample_is_encoded_and_said(finished, monkeypatch):
    """The embedding is near that of all weights, which one may ask for."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    monkeypatch.setattr("sneframe.predict.encoding.LARGE", 10)
    monkeypatch.setattr("sneframe.predict.encoding.SAMPLED", 20)
    monkeypatch.setattr("sneframe.predict.encoding.CHUNKS", 9)
    whole = sneframe.load(finished, all_weights=True)
    expected = whole.embed(network)
    said = r"Sequential: of 4,353 weights, at most 9 chunks of each parameter are encoded; --all-weights"
    with pytest.warns(UserWarning, match=said):
        prediction = sneframe.load(finished).predict(network)
    assert (prediction.sampled, whole.predict(network).sampled) == (True, False)
    found = prediction.embedding
    assert 0 < np.linalg.norm(found - expected) < 0.5 * np.linalg.norm(expected)


def test_large_and_small_networks_keep_their_order(finished, network, monkeypatch):
    """Large and small networks keep their order."""
    torch.manual_seed(0)
    small = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    predictor = sneframe.load(finished)
    alone = [predictor.embed(each) for each in (small, network.state_dict())]
    monkeypatch.setattr("sneframe.predict.encoding.LARGE", 20)
    found = predictor.predict_all([small, network.state_dict(), small])
    for each, expected in zip(found, (alone[0], alone[1], alone[0]), strict=True):
        np.testing.assert_allclose(each.embedding, expected, rtol=1e-4, atol=1e-5)


def test_a_method_that_needs_all_layers_warns_about_memory(zoo_path, network, monkeypatch, tmp_path):
    """A method that needs all layers at once warns that memory is not bounded."""
    config = recipe("deepsets", "train.epochs=1", f"zoo.path={zoo_path}", "zoo.property=scale", "device=cpu")
    predictor = sneframe.load(sneframe.run(config, tmp_path / "run", report=False).folder)
    monkeypatch.setattr("sneframe.predict.encoding.LARGE", 20)
    with pytest.warns(UserWarning, match="state dict: all weights are encoded at once"):
        predictor.embed(network.state_dict())


def test_a_memory_bound_below_the_weights_is_refused(zoo_path, network, tmp_path):
    """A bound that was asked for and has no room for the weights is refused, in whichever way one asks."""
    config = recipe("stats", "head.trees=2", f"zoo.path={zoo_path}", "zoo.property=scale", "device=cpu")
    predictor = sneframe.load(sneframe.run(config, tmp_path / "run", report=False).folder, memory=8)
    for asked in (network.state_dict(), open_zoo(zoo_path)):
        with pytest.raises(PartError, match="memory: 8 B is too little for the weights, which take"):
            predictor.embed(asked)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_an_embedding_that_is_not_finite_is_refused(predictor, network, value, tmp_path):
    """A network whose embedding is not finite is refused with its name."""
    save_file({name: each * value for name, each in network.state_dict().items()}, tmp_path / "n.safetensors")
    with pytest.raises(PartError, match=r"n\.safetensors: its embedding is not finite"):
        predictor.predict(tmp_path / "n.safetensors")


def test_a_large_network_with_too_large_weights_is_refused(predictor, network, monkeypatch):
    """So is a network that is encoded in pieces, although the pieces are cut to finite values."""
    monkeypatch.setattr("sneframe.predict.encoding.LARGE", 20)
    with pytest.raises(PartError, match="state dict: its embedding is not finite"):
        predictor.predict({name: each * 1e30 for name, each in network.state_dict().items()})


@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_outputs_that_were_cut_give_no_embedding(zoo_path, tmp_path, value):
    """A method that reads outputs has finite numbers for such networks, and yet their rows are not finite."""
    config = recipe("probe", "train.epochs=1", f"zoo.path={zoo_path}", "zoo.property=scale", "device=cpu")
    predictor, zoo = (
        sneframe.load(sneframe.run(config, tmp_path / "run", report=False).folder),
        open_zoo(zoo_path),
    )
    batch = zoo.load()
    changed = batch.replace(
        [torch.cat([each.weights[:1] * value, each.weights[1:]]) for each in batch.networks]
    )
    finite = np.isfinite(predictor.embed(changed)).all(1)
    place = changed.restore([torch.arange(len(each))[:, None] for each in changed.networks])[:, 0].numpy()
    assert np.array_equal(~finite, place == 0)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.eye(4, 1).to_sparse(), "is a sparse tensor"),
        (torch.ones(4, 1, device="meta"), "is a tensor on the meta device"),
        (torch.ones(4, 1).to(torch.float8_e4m3fn), "is of type float8_e4m3fn"),
    ],
)
def test_a_tensor_that_cannot_be_weights_is_named(predictor, network, tensor, reason, tmp_path):
    """A tensor that cannot be weights is refused with its name."""
    torch.save({**network.state_dict(), "0.weight": tensor}, tmp_path / "n.pt")
    with pytest.raises(FileError, match=rf"n\.pt: '0.weight' {reason}"):
        predictor.predict(tmp_path / "n.pt")


def test_a_module_that_exits_is_an_error_with_its_name(finished, tmp_path, monkeypatch):
    """A module function that calls sys.exit is an error with its name."""
    (tmp_path / "ends_the_process.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"ends_the_process:make: SystemExit: 0"):
        sneframe.load(finished, module="ends_the_process:make")


def test_an_embedding_that_is_not_finite_is_not_returned(predictor, network):
    """embed refuses to return an embedding that is not finite."""
    with pytest.raises(PartError, match="state dict: its embedding is not finite"):
        predictor.embed({name: each * float("nan") for name, each in network.state_dict().items()})


def test_a_module_is_verified_before_it_is_predicted(predictor):
    """A prediction says where the symmetry of its network comes from."""
    module = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    assert predictor.predict(module).symmetry == "verified"
