"""Doubts: how a network differs from all training networks is named and graded, with the run's test error."""

import json
import math
import re
from itertools import pairwise

import pytest
import torch
from torch import nn

import sneframe
from sneframe import atomic
from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.batch import Batch, join
from sneframe.cli import main
from sneframe.errors import RunError
from sneframe.predict.doubt import Seen, magnitudes, ranges_of
from sneframe.predict.outline import depth, hidden_widths, inputs, outputs
from sneframe.predict.prediction import DoubtWarning
from sneframe.testing import mlp

#: As the zoo of these tests has them, MLPs 1 → 4 → 4 → 1 and 1 → 6 → 1 with ReLU, and others.
SEEN = Seen(architectures=(mlp(1, 4, 4, 1), mlp(1, 6, 1)))


def sequential(*widths, activation=nn.ReLU, last=()):
    """A module of linear layers with an activation between them."""
    layers = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1], *last)


def about(architecture, seen=SEEN, **options):
    """What is doubted, with its grade."""
    return {doubt.about: doubt.grade for doubt in seen.doubts(architecture, **options)}


def of(module, example=None):
    return Architecture.from_module(module, example)


# -- an architecture against those of training ----------------------------------------------------------


def test_an_architecture_of_training_has_no_doubt():
    """Nor has one that differs in the names of its parameters alone."""
    assert about(mlp(1, 4, 4, 1)) == {}
    assert about(of(sequential(1, 4, 4, 1))) == {}


def test_a_width_between_two_that_were_trained_is_mild():
    """The network lies between training networks."""
    assert about(of(sequential(1, 5, 1))) == {"architecture": "mild", "weights": "mild"}


def test_a_width_outside_of_training_is_mild_then_serious():
    """Twice the largest is where it ends."""
    assert about(of(sequential(1, 12, 1)))["widths"] == "mild"
    assert about(of(sequential(1, 13, 1)))["widths"] == "serious"
    assert about(of(sequential(1, 2, 1)))["widths"] == "mild"
    assert about(of(sequential(1, 1, 1)))["widths"] == "serious"


def test_four_times_as_many_weights_are_serious():
    """33 weights are the most in training."""
    assert about(of(sequential(1, 43, 1)))["weights"] == "mild"
    assert about(of(sequential(1, 45, 1)))["weights"] == "serious"


def test_a_deeper_network_is_serious():
    """One layer is enough: networks deeper than those of training are predicted badly."""
    assert about(of(sequential(1, 4, 4, 4, 1)))["depth"] == "serious"


@pytest.mark.parametrize(("widths", "end"), [((2, 4, 4, 1), "inputs"), ((1, 4, 4, 3), "outputs")])
def test_another_number_of_inputs_or_outputs_is_meaningless(widths, end):
    """The network does something else."""
    assert about(of(sequential(*widths)))[end] == "meaningless"


def test_a_digit_classifier_is_unlike_a_function_of_a_number():
    """Inputs and outputs come first."""
    first, second, *_ = SEEN.doubts(of(sequential(64, 16, 10)))
    assert first.line == "it has 64 inputs, but training networks have 1"
    assert second.line == "it has 10 outputs, but training networks have 1"


def test_layers_of_another_kind_are_serious():
    """With linear layers beside them."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
    )
    found = about(of(network, torch.zeros(1, 1, 6, 6)))
    assert found["layers"] == "serious"
    assert found["inputs"] == "serious"


def test_no_layer_of_a_known_kind_is_meaningless():
    """A network of convolutions alone."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3))
    assert about(of(network, torch.zeros(1, 1, 6, 6)))["layers"] == "meaningless"


def test_a_connection_that_skips_layers_is_serious():
    """Where all of training are chains."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(1, 4), nn.Linear(4, 4), nn.Linear(4, 1)

        def forward(self, x):
            x = self.a(x).relu()
            return self.c(x + self.b(x).relu())

    line = next(doubt.line for doubt in SEEN.doubts(of(Residual())) if doubt.about == "layers")
    assert line == "no training network has add between its layers"


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Identity])
def test_another_activation_is_serious(activation):
    """Also that there is none."""
    assert about(of(sequential(1, 4, 4, 1, activation=activation)))["activations"] == "serious"


def test_an_activation_that_is_not_known_is_said():
    """Nothing speaks against what training had, so the doubt is mild."""
    network = mlp(1, 5, 1)
    assert about(network, assumed=True)["activations"] == "mild"
    tanh = Seen(architectures=(mlp(1, 4, 4, 1, activation="tanh"),))
    assert about(network, tanh, assumed=True)["activations"] == "mild"


def test_known_activations_in_another_architecture_are_mild():
    """Each occurs in training, but not together."""
    seen = Seen(architectures=(mlp(1, 4, 4, 1), mlp(1, 6, 1, activation="tanh")))
    assert about(mlp(1, 6, 1), seen) == {"architecture": "mild"}


def test_an_adapter_is_unlike_the_networks_of_training():
    """It consists of layers of a kind that no training network has."""
    state = {
        f"layers.{n}.lora_{ab}.weight": torch.zeros(*shape)
        for n in range(2)
        for ab, shape in (("A", (4, 16)), ("B", (16, 4)))
    }
    found = about(Architecture.from_state_dict(state), assumed=True)
    assert found["layers"] == "meaningless"


def test_of_layers_without_an_order_any_may_be_the_first():
    """Names and shapes alone may come in any order, so 64 inputs may be among the others."""
    state = {
        "hidden.weight": torch.zeros(16, 16),
        "inp.weight": torch.zeros(16, 64),
        "mid.x": torch.zeros(3),
        "out.weight": torch.zeros(10, 16),
    }
    with pytest.warns(UserWarning, match="every axis is taken as fixed"):
        unordered = Architecture.from_state_dict(state)
    seen = Seen(architectures=(mlp(64, 16, 16, 10),))
    assert not {"inputs", "outputs"} & about(unordered, seen).keys()


def fixed(state):
    """The description of names and shapes in which no order of layers is certain; values are shapes."""
    with pytest.warns(UserWarning, match="every axis is taken as fixed"):
        return Architecture.from_state_dict({name: torch.zeros(*shape) for name, shape in state.items()})


def lines(architecture, seen=SEEN):
    return " | ".join(doubt.line for doubt in seen.doubts(architecture))


HEADS = {"body.weight": (8, 64), "body.bias": (8,), "a_head.weight": (10, 8), "a_head.bias": (10,)}


def test_without_an_order_no_number_of_inputs_is_stated():
    """That none of the layers takes as many as training networks do is so in any order."""
    said = lines(fixed(HEADS))
    assert "none of its layers takes 1 inputs, but those of training networks do" in said
    assert "none of its layers gives 1 outputs, but those of training networks do" in said
    assert "it has 8, 64" not in said
    assert about(fixed(HEADS))["inputs"] == "meaningless"


def test_without_an_order_no_depth_and_no_width_is_stated():
    """Layers are counted; their widths are doubted only where none is near those of training networks."""
    said = lines(fixed(HEADS))
    assert "deep" not in said
    assert "wide" not in said
    assert "its activation is none" not in said
    wide = {name: tuple(n * 100 if n > 1 else n for n in shape) for name, shape in HEADS.items()}
    assert "none of its layers is about as wide as in training networks (4 to 6)" in lines(fixed(wide))
    many = {f"{letter}.weight": (4, 4) for letter in "abcd"}
    assert "it has 4 layers with weights, but training networks have 2 to 3" in lines(fixed(many))


def test_a_recurrent_network_read_from_names_has_no_wrong_fact():
    """Its LSTM takes 1 input, and nothing of it is 1 wide but the last layer."""
    module = nn.ModuleDict({"lstm": nn.LSTM(1, 8), "out": nn.Linear(8, 1)})
    found = fixed({name: value.shape for name, value in module.state_dict().items()})
    assert not {"inputs", "outputs", "widths"} & about(found).keys()


def test_a_matrix_that_may_be_stored_either_way_is_not_doubted():
    """A convolution may be transposed or of groups, a matrix without bias an embedding."""
    seen = Seen(architectures=(mlp(6, 4, 3),))
    assert not {"inputs", "outputs"} & about(fixed({"b.weight": (6, 9), "a.weight": (9, 3)}), seen).keys()
    maps = {"b.weight": (6, 2, 3, 3), "b.bias": (6,), "a.weight": (9, 5), "a.bias": (9,), "z.x": (3,)}
    assert "inputs" not in about(fixed(maps), seen)


def test_training_networks_without_order_are_compared_as_sets():
    """Which of their layers is the first is not known of them either."""
    seen = Seen(architectures=(fixed(HEADS),))
    assert about(mlp(8, 5, 10), seen).keys().isdisjoint({"inputs", "outputs"})
    said = lines(mlp(3, 5, 10), seen)
    assert "it has 3 inputs, and no layer of a training network takes as many" in said


def test_norms_and_vectors_count_for_no_depth():
    """Layer norms and a vector of scales between linear layers make no network deeper."""
    network = nn.Sequential(
        nn.Linear(1, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)
    )
    assert "depth" not in about(of(network))
    state = {name: value.shape for name, value in network.state_dict().items()}
    assert not {"depth", "widths"} & about(fixed({**state, "gamma": (4,)})).keys()


@pytest.mark.parametrize(
    ("module", "width", "last"),
    [
        (nn.LSTM(3, 5, batch_first=True), 5, 5),
        (nn.GRU(3, 5, batch_first=True, bidirectional=True), 5, 10),
        (nn.LSTM(3, 5, batch_first=True, proj_size=2), 5, 2),
    ],
    ids=["lstm", "two directions", "projected"],
)
def test_a_recurrent_layer_is_as_wide_as_its_hidden_size(module, width, last):
    """What it gives is twice that in two directions, or its projection."""
    found = of(module, torch.zeros(1, 4, 3))
    assert hidden_widths(found) == [width]
    assert {size for _, size in outputs(found)} == {last}


# -- first and last layers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "example", "first", "last"),
    [
        (sequential(3, 5, 2), None, {("linear", 3)}, {("linear", 2)}),
        (
            nn.Sequential(nn.Embedding(11, 4), nn.Linear(4, 7)),
            torch.zeros(1, 2, dtype=torch.int64),
            {("embedding", 11)},
            {("linear", 7)},
        ),
        (
            nn.Sequential(nn.Conv2d(6, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 5, 1)),
            torch.zeros(1, 6, 5, 5),
            {("conv2d", 6)},
            {("conv2d", 5)},
        ),
        (
            nn.Sequential(nn.ConvTranspose2d(6, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 8, 1, groups=2)),
            torch.zeros(1, 6, 5, 5),
            {("conv_transpose2d", 6)},
            {("conv_transpose2d", 8)},
        ),
        (
            nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
            torch.zeros(1, 3),
            {("layer_norm", 3)},
            {("linear", 2)},
        ),
        (nn.GRU(3, 5, batch_first=True), torch.zeros(1, 4, 3), {("gru", 3)}, {("gru", 5)}),
    ],
    ids=["mlp", "embedding", "groups", "transposed", "norm", "gru"],
)
def test_inputs_and_outputs_are_those_of_the_outer_layers(module, example, first, last):
    """Each with the kind of its layer, for channels and words are no numbers."""
    architecture = of(module, example)
    assert inputs(architecture) == first
    assert outputs(architecture) == last


# -- weights --------------------------------------------------------------------------------------------


def test_weights_of_another_magnitude_are_serious():
    """Ten times the largest root mean square of a training network is where it begins."""
    seen = Seen(architectures=SEEN.architectures, magnitudes={"linear.weight": (0.5, 2.0)})
    assert [
        list(seen.doubts_of_weights({"linear.weight": value})) != [] for value in (0.04, 0.06, 19.0, 21.0)
    ] == [True, False, False, True]
    assert list(seen.doubts_of_weights({"conv2d.weight": 1e9})) == []


def test_magnitudes_are_root_mean_squares_of_each_type():
    """By hand: a weight of 3s and one of 4s have 12.5 as their mean square."""
    architecture = mlp(1, 2, 1)
    network = {
        "0.weight": torch.full((2, 1), 3.0),
        "0.bias": torch.zeros(2),
        "1.weight": torch.full((1, 2), 4.0),
        "1.bias": torch.ones(1),
    }
    found = magnitudes(architecture, network.__getitem__)
    assert found == {
        "linear.weight": pytest.approx(math.sqrt(12.5)),
        "linear.bias": pytest.approx(math.sqrt(1 / 3)),
    }


def test_ranges_go_over_networks_and_architectures():
    """Networks of ones, twos and threes."""
    small, large = mlp(1, 2, 1), mlp(1, 3, 1)
    weights = {
        small: torch.tensor([[1.0], [2.0]]).expand(2, small.num_weights),
        large: torch.full((1, large.num_weights), 3.0),
    }
    batch = join(weights, {small: [0, 1], large: [2]})
    assert isinstance(batch, Batch)
    assert ranges_of(batch.blocks()) == {"linear.weight": (1.0, 3.0), "linear.bias": (1.0, 3.0)}


# -- a run applied to networks -------------------------------------------------------------------------------


def ask(capsys, *arguments):
    """Call the command line."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in arguments])
    out, err = capsys.readouterr()
    return left.value.code, out, err


@pytest.fixture
def digit(tmp_path):
    torch.manual_seed(0)
    torch.save(sequential(64, 16, 10).state_dict(), tmp_path / "digit.pt")
    return tmp_path / "digit.pt"


def test_a_number_without_meaning_is_marked_in_the_table(capsys, finished, digit, file, monkeypatch):
    """The number itself, a line that says why, and the error that holds for others alone."""
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = ask(capsys, "predict", finished, digit, file)
    assert code == 0
    marked, other = [
        next(line for line in out.splitlines() if name in line) for name in ("digit.pt", "net.pt")
    ]
    assert marked.count("(meaningless)") == 2
    assert "±" not in marked
    assert re.search(r"± \d", other)
    assert re.search(r"label \d \(\d+% are right\)", other)
    assert f"warning: {digit}: it has 64 inputs, but training networks have 1; it has 10 outputs" in err
    assert err.count("\n") == 1


def test_the_tables_last_lines_are_the_test_error(capsys, finished, file):
    """Of each property its own, from metrics.json."""
    metrics = json.loads((finished / "metrics.json").read_text())
    _, out, _ = ask(capsys, "predict", finished, file)
    rmse = math.sqrt(metrics["test"]["mse"])
    assert f"scale: RMSE {rmse:.3g} on {metrics['test']['n']} test networks (" in out
    accuracy = metrics["also"]["label"]["test"]["accuracy"]
    assert f"label: accuracy {accuracy:.3g} on {metrics['test']['n']} test networks (" in out
    assert "does not hold" not in out


def test_json_carries_doubts_a_verdict_and_the_test_error(capsys, finished, digit):
    """A program reads one boolean."""
    code, out, _ = ask(capsys, "predict", finished, digit, "--json")
    (found,) = json.loads(out)
    assert code == 0
    assert found["doubtful"] is True
    assert found["verdict"] == "meaningless"
    assert {
        "about": "inputs",
        "grade": "meaningless",
        "line": "it has 64 inputs, but training networks have 1",
    } in found["doubts"]
    assert found["tested"]["scale"]["metric"] == "rmse"
    assert found["tested"]["label"]["metric"] == "accuracy"
    assert found["values"]["scale"] is not None


def test_a_network_of_training_is_like_training(capsys, finished, zoo_path, tmp_path):
    """Nothing is doubted, and nothing is said on standard error."""
    views = sneframe.open_zoo(zoo_path).load().select([17]).networks[0].parameters()
    torch.save({name: value[0].clone() for name, value in views.items()}, tmp_path / "own.pt")
    _, out, err = ask(capsys, "predict", finished, tmp_path / "own.pt", "--json")
    (found,) = json.loads(out)
    assert (found["verdict"], found["doubtful"], found["doubts"], err) == ("like-training", False, [], "")


def test_an_activation_that_is_given_is_compared(capsys, finished, file):
    """Of a file with the names and shapes of training, and another activation."""
    words = ("--activation", "tanh", "--trust-names", "--json")
    _, out, err = ask(capsys, "predict", finished, file, *words)
    (found,) = json.loads(out)
    assert "its activation is tanh, but training networks have relu" in err
    assert found["verdict"] == "doubtful"


def test_a_mild_doubt_is_a_note(capsys, finished, tmp_path):
    """The number keeps its error."""
    torch.manual_seed(0)
    # The weights of the zoo's networks are normal, with factors around 1.
    state = {name: torch.randn_like(value) for name, value in sequential(1, 5, 1).state_dict().items()}
    torch.save(state, tmp_path / "five.pt")
    _, out, err = ask(capsys, "predict", finished, tmp_path / "five.pt")
    assert err.startswith(f"note: {tmp_path}/five.pt: ")
    assert "its activation is not known (state it with --activation), but training networks have relu" in err
    assert "±" in out


@pytest.fixture
def half(finished, tmp_path):
    """The folder of a run that has not finished."""
    for name in ("best.safetensors", "training.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    return tmp_path


@pytest.mark.filterwarnings("default:.*has not finished")
def test_a_run_that_has_not_finished_has_no_error(capsys, half, file):
    """It is said, in the table and in JSON."""
    _, out, err = ask(capsys, "predict", half, file)
    assert "the run has not finished" in err
    assert "(error not known)" in out
    assert "scale: its error on test networks is not known" in out
    _, out, _ = ask(capsys, "predict", half, file, "--json")
    assert json.loads(out)[0]["tested"] == {"scale": None, "label": None}


def test_a_property_without_test_networks_has_no_error(half, finished):
    """Others keep theirs."""
    metrics = json.loads((finished / "metrics.json").read_text())
    metrics["also"]["label"]["test"]["n"] = 0
    atomic.write_text(half / "metrics.json", json.dumps(metrics))
    assert set(sneframe.load(half).tested) == {"scale"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.json", "{", "not JSON"),
        ("metrics.json", "[]", "must be a JSON object"),
        ("metrics.json", '{"property": 3}', "property: must be a string"),
        ("training.json", '{"networks": 3}', "magnitudes is missing"),
        (
            "training.json",
            '{"networks": 3, "magnitudes": {"linear.weight": {"least": 2, "most": 1}}}',
            "'most' (1.0) must not be less than 'least' (2.0)",
        ),
        (
            "training.json",
            '{"networks": 3, "magnitudes": {"linear.weight": {"least": "a", "most": 1}}}',
            "least: must be a finite number",
        ),
    ],
)
def test_a_damaged_record_of_a_run_is_named(half, finished, name, content, said):
    """The file, and what is wrong with it."""
    (half / "metrics.json").write_bytes((finished / "metrics.json").read_bytes())
    atomic.write_text(half / name, content)
    with pytest.raises(RunError, match=rf"{re.escape(name)}: .*{re.escape(said)}"):
        sneframe.load(half)


def test_a_run_without_recorded_magnitudes_still_predicts(half, file):
    """It says nothing of magnitudes."""
    (half / "training.json").unlink()
    with pytest.warns(UserWarning, match="has not finished"):
        predictor = sneframe.load(half)
    weights = {name: value * 1000 for name, value in torch.load(file).items()}
    assert "magnitude" not in {doubt.about for doubt in predictor.predict(weights).doubts}


# -- other networks ------------------------------------------------------------------------------------


def test_an_embedding_of_another_kind_of_network_warns(finished, digit):
    """In Python, as predict does."""
    predictor = sneframe.load(finished)
    for question in (predictor.embed, predictor.predict):
        with pytest.warns(DoubtWarning, match=r"digit\.pt: it has 64 inputs, but training networks have 1; "):
            question(digit)


def test_a_batch_warns_once_for_all_its_networks(finished, zoo_path):
    """And a zoo of training networks does not warn."""
    predictor = sneframe.load(finished)
    torch.manual_seed(0)
    batch = sneframe.from_modules([sequential(2, 4, 1), sequential(2, 4, 1), sequential(1, 6, 1)])
    with pytest.warns(DoubtWarning, match=r"^batch: 2 of 3 networks are unlike .* it has 2 inputs") as caught:
        predictor.embed(batch)
    assert len(caught) == 1
    predictor.embed(sneframe.open_zoo(zoo_path))


@pytest.mark.parametrize("command", ["embed", "similar", "map"])
@pytest.mark.filterwarnings("default::sneframe.predict.prediction.DoubtWarning")
def test_the_other_commands_warn_too(capsys, finished, zoo_path, digit, tmp_path, command):
    """One line for the file."""
    more = {"embed": ["--out", tmp_path / "e.csv"], "map": ["--out", tmp_path / "m.html"], "similar": []}[
        command
    ]
    code, _, err = ask(capsys, command, finished, zoo_path, digit, *more)
    assert code == 0
    assert f"warning: {digit}: it has 64 inputs, but training networks have 1" in err


def test_a_layer_that_reads_the_input_of_the_network_follows_no_layer():
    """The depth counts layers behind each other. An input of the network has none before it."""
    layers = [
        Layer(kind="linear", parameters=[Parameter(name=f"p{n}", shape=(2, 2))], inputs=inputs)
        for n, inputs in enumerate([(), (0,), (1,), (-1,), (3, -1)])
    ]
    assert depth(Architecture(layers=layers)) == 3
    assert depth(Architecture(layers=layers[:1] + layers[3:4])) == 1


def test_a_diverged_training_network_does_not_widen_the_range():
    """The largest size of training is that of the other networks, so larger ones are still doubtful."""
    architecture = mlp(1, 4, 1)
    weights = torch.ones(6, architecture.num_weights) * torch.tensor([1, 1, 2, 2, 3, 1e21])[:, None]
    batch = join({architecture: weights}, {architecture: range(6)})
    assert ranges_of([batch])["linear.weight"] == pytest.approx((1.0, 3.0))
