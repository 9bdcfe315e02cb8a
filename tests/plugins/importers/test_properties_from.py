"""Properties of imported networks from checkpoints, tables and names, and their run groups."""

import csv
import math
import warnings
from functools import partial

import factories
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sneframe_importers import flatten
from sneframe_importers.flatten import DEEPEST, LONGEST, MOST, CheckpointValues, flattened

from sneframe.cli import sneframe_command
from sneframe.errors import FileError, ZooError
from sneframe.files.network_reader import NetworkReader
from sneframe.zoo import open_zoo


def save(path, **beside):
    """Write a checkpoint: a state dict with values beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": factories.mlp().state_dict(), **beside}, path)


@pytest.fixture
def imported(imported, tmp_path_factory):
    """Return the function that imports networks. The zoo lies outside the folder of the networks."""
    return partial(imported, base=tmp_path_factory.mktemp("zoos"))


def table(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


# -- checkpoints --------------------------------------------------------------------------------------------


def test_values_beside_the_weights_are_properties(tmp_path, imported):
    """Numbers, texts and booleans beside the weights are properties; nested names have dots."""
    beside = {
        "epoch": 3,
        "global_step": 1200,
        "best": True,
        "accuracy": torch.tensor(0.5),
        "hyper_parameters": {"lr": 0.01, "optimiser": {"name": "adam"}, "seed": torch.tensor([7])},
        "label": torch.tensor(True),
    }
    save(tmp_path / "a.ckpt", **beside)
    save(tmp_path / "b.ckpt", **beside | {"epoch": 4, "accuracy": 1})
    zoo, skipped = imported("files", tmp_path, properties_from=("checkpoint",))
    assert skipped == {}
    found = {name: zoo.typed_column(name).objects() for name in zoo.properties}
    assert found == {
        "source": ["a.ckpt", "b.ckpt"],
        "epoch": [3, 4],
        "global_step": [1200, 1200],
        "best": [True, True],
        "accuracy": [0.5, 1.0],
        "hyper_parameters.lr": [0.01, 0.01],
        "hyper_parameters.optimiser.name": ["adam", "adam"],
        "hyper_parameters.seed": [7, 7],
        "label": [True, True],
    }


def test_state_and_weights_are_no_properties(tmp_path, imported):
    """Weights, states of trainers, bytes, lists, long texts and private keys are left out."""
    network = factories.cnn()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    checkpoint = {
        "model": network.state_dict(),  # with num_batches_tracked, which has one element
        "ema": {**network.state_dict(), "decay": 0.9},
        "optimizer": optimiser.state_dict(),
        "optimizer_states": [optimiser.state_dict()],
        "scheduler": torch.optim.lr_scheduler.StepLR(optimiser, 1).state_dict(),
        "loops": {"fit_loop": {"epoch": 3}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "/home/me/a.ckpt"}},
        "_private": 1,
        "bytes": b"x",
        "list": [1, 2],
        "history": torch.zeros(0),
        "long": "x" * (LONGEST + 1),
        "short": "x" * LONGEST,
        "surrogate": "\ud800",
        "": 1,
        "x" * 300: 1,
        ("a", "b"): 1,
        3: "three",
    }
    torch.save(checkpoint, tmp_path / "a.pt")
    zoo, skipped = imported("files", tmp_path, properties_from=("checkpoint",))
    assert skipped == {}
    assert set(zoo.properties) == {"source", "short", "3"}


def test_a_state_dict_alone_has_no_properties(tmp_path, imported):
    """Tensors with one element in a state dict are weights, whatever their names."""
    torch.save(factories.cnn().state_dict() | {"temperature": torch.tensor(2.0)}, tmp_path / "a.pt")
    torch.save({"0.weight": torch.ones(1, 1), "0.bias": torch.ones(1)}, tmp_path / "b.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zoo, skipped = imported("files", tmp_path, properties_from=("checkpoint",))
    assert skipped == {}
    assert zoo.properties == ("source",)


def test_values_that_are_not_finite_are_missing(tmp_path, imported):
    """NaN, infinity and None beside the weights are missing values."""
    save(tmp_path / "a.pt", loss=math.nan, best=math.inf, note=None, never=None)
    save(tmp_path / "b.pt", loss=0.5, best=0.25, note="x", never=None)
    zoo, _ = imported("files", tmp_path, properties_from=("checkpoint",))
    found = {name: zoo.typed_column(name).objects() for name in zoo.properties}
    assert found == {
        "source": ["a.pt", "b.pt"],
        "loss": [None, 0.5],
        "best": [None, 0.25],
        "note": [None, "x"],
    }


def test_values_of_other_kinds_make_a_column_text(tmp_path, imported):
    """If one checkpoint has a text where others have numbers, all values are text, with a warning."""
    for name, value in (("a", 0.5), ("b", 1), ("c", "auto"), ("d", True)):
        save(tmp_path / f"{name}.pt", dropout=value)
    save(tmp_path / "e.pt")
    with pytest.warns(UserWarning, match=r"'dropout' is stored as text: 1 bool .*1 float .*1 int .*'auto'"):
        zoo, skipped = imported("files", tmp_path, properties_from=("checkpoint",))
    assert skipped == {}
    assert zoo.typed_column("dropout").objects() == ["0.5", "1", "auto", "true", None]
    zoo.verify()


def test_large_ints_do_not_lose_digits(tmp_path, imported):
    """Ints beyond 64 bits, and ints beyond 2**53 beside floats, become text."""
    save(tmp_path / "a.pt", seed=2**64, step=2**53 + 1, fits=2**62)
    save(tmp_path / "b.pt", seed=1, step=0.5, fits=2)
    with pytest.warns(UserWarning, match="is stored as text"):
        zoo, skipped = imported("files", tmp_path, properties_from=("checkpoint",))
    assert skipped == {}
    assert zoo.typed_column("seed").objects() == [str(2**64), "1"]
    assert zoo.typed_column("step").objects() == [str(2**53 + 1), "0.5"]
    assert zoo.typed_column("fits").objects() == [2**62, 2]


def test_reserved_names_get_an_underscore(tmp_path, imported):
    """A property whose name another column has is renamed with a note, and the import goes on."""
    for name in "ab":
        save(tmp_path / f"{name}.pt", source="cifar", group=3, split="train", row=1, metrics={"valid": 0.5})
    with pytest.warns(UserWarning, match="its name is reserved") as caught:
        zoo, skipped = imported("files", tmp_path, properties_from=("checkpoint",))
    assert skipped == {}
    assert set(zoo.properties) == {"source", "source_", "group_", "split_", "row_", "metrics.valid_"}
    assert zoo.column("source_").tolist() == ["cifar", "cifar"]
    said = [str(each.message) for each in caught]
    assert said[0] == "the property 'source' is named 'source_', because its name is reserved"
    assert len(said) == 5  # once for each name, not for each file


def nested(levels):
    found = {"x": 1}
    for _ in range(levels):
        found = {"d": found}
    return found


def test_too_many_or_too_deep_values_skip_a_file(tmp_path, imported, monkeypatch):
    """A checkpoint with too many values or levels is skipped with the reason."""
    monkeypatch.setattr(flatten, "NODES", 2000)
    save(tmp_path / "good.pt", epoch=1)
    save(tmp_path / "deep.pt", config=nested(DEEPEST))
    save(tmp_path / "many.pt", config={f"k{i}": i for i in range(MOST + 1)})
    save(tmp_path / "lists.pt", config={f"k{i}": [] for i in range(2001)})
    zoo, skipped = imported("files", tmp_path, properties_from=("checkpoint",))
    assert len(zoo) == 1
    assert skipped == {
        "deep.pt": f"is nested more than {DEEPEST} levels deep",
        "lists.pt": "holds more than 2000 values, too many for properties",
        "many.pt": f"holds more than {MOST} numbers, texts and booleans",
    }


@pytest.mark.parametrize("checkpoint", [None, CheckpointValues(weights=())])
def test_values_that_repeat_are_counted_each_time(checkpoint):
    """Mappings that hold each other are refused after a bounded number of values."""
    shared = {}
    for _ in range(12):
        shared = {f"k{i}": shared for i in range(12)}
    cycle = {}
    cycle |= {f"k{i}": cycle for i in range(12)}
    for value, said in (
        (shared, "holds more than 100000 values"),
        (cycle, "is nested more than 16 levels deep"),
    ):
        with pytest.raises(FileError, match=f"x: {said}"):
            flattened(value, "x", checkpoint)


def test_what_a_reader_states_is_a_property(tmp_path, imported, monkeypatch):
    """The properties that a file reader finds in its format are read with `checkpoint`."""
    from attrs import evolve

    read = NetworkReader.read

    def stating(self, path):
        found = read(self, path)
        return evolve(found, content=evolve(found.content, properties={"opset": 17, "meta": {"row": "x"}}))

    monkeypatch.setattr(NetworkReader, "read", stating)
    save(tmp_path / "a.pt", opset=1)
    zoo, _ = imported("files", tmp_path, properties_from=("checkpoint",))
    assert zoo.column("opset").tolist() == [17]
    assert zoo.column("meta.row").tolist() == ["x"]


# -- several sources ----------------------------------------------------------------------------------------


def test_later_sources_win(tmp_path, imported):
    """The value of a later source replaces an earlier one, unless the later value is missing."""
    source = tmp_path / "nets"
    save(source / "a.pt", accuracy=0.1, lr=1.0)
    save(source / "b.pt", accuracy=0.2, lr=2.0)
    rows = table(tmp_path / "t.csv", ("file", "accuracy"), ("a.pt", "0.9"), ("b.pt", ""))
    zoo, _ = imported("files", source, properties_from=("checkpoint", rows))
    assert zoo.column("accuracy").tolist() == [0.9, 0.2]
    assert zoo.column("lr").tolist() == [1.0, 2.0]
    zoo, _ = imported("files", source, out="two.zarr", properties_from=(rows, "checkpoint"))
    assert zoo.column("accuracy").tolist() == [0.1, 0.2]


def test_several_tables_are_joined(tmp_path, imported):
    """Two tables give columns of the same networks; a network of either table is imported."""
    source = tmp_path / "nets"
    for name in "abcd":
        save(source / f"{name}.pt")
    one = table(
        tmp_path / "1.csv",
        ("file", "group", "split", "x"),
        ("a.pt", "g", "train", 1),
        ("b.pt", "h", "val", 2),
    )
    two = table(tmp_path / "2.csv", ("file", "y"), ("a.pt", 3), ("c.pt", 4))
    zoo, skipped = imported("files", source, properties_from=(one, two))
    assert skipped == {"d.pt": "not listed in 1.csv or 2.csv"}
    assert zoo.column("source").tolist() == ["a.pt", "b.pt", "c.pt"]
    assert zoo.typed_column("x").objects() == [1, 2, None]
    assert zoo.typed_column("y").objects() == [3, None, 4]
    assert zoo.group.tolist() == ["g", "h", "c.pt"]
    assert zoo.split("table").tolist() == [0, 1, -1]


def test_a_module_factory_receives_all_properties(tmp_path, imported, monkeypatch):
    """The module factory receives the properties of all sources; missing values are None."""
    seen = []

    def make(row):
        seen.append(dict(row))
        return factories.mlp()

    monkeypatch.setattr(factories, "recording", make, raising=False)
    save(tmp_path / "run4" / "a.pt", epoch=3, note=None)
    words = ("checkpoint", r"name:run(?P<run>\d+)")
    imported("files", tmp_path, properties_from=words, module="factories:recording")
    assert seen[0] == {"epoch": 3, "note": None, "run": 4}
    assert all(each == seen[0] for each in seen)  # a file is imported by two engines


def test_folders_of_tables_are_not_stored(tmp_path, imported):
    """The zoo stores the name of a table without its folder, and other sources as they are."""
    save(tmp_path / "nets" / "a.pt")
    rows = table(tmp_path / "t.csv", ("file", "x"), ("a.pt", 1))
    words = (str(rows), "checkpoint", r"name:(?P<letter>\w)\.pt")
    zoo, _ = imported("files", tmp_path / "nets", properties_from=words)
    assert zoo.attributes["builder"]["config"]["properties_from"] == [
        "t.csv",
        "checkpoint",
        r"name:(?P<letter>\w)\.pt",
    ]


def test_the_option_is_repeated_on_the_command_line(tmp_path):
    """`--properties-from` is repeated; a comma in a regular expression does not divide it."""
    save(tmp_path / "nets" / "run12" / "a.pt", epoch=3)
    words = ["zoo", "import", "files", str(tmp_path / "nets"), "--out", str(tmp_path / "z.zarr")]
    words += ["--properties-from", "checkpoint", "--properties-from", r"name:run(?P<run>\d{1,3})/"]
    done = CliRunner().invoke(sneframe_command, [*words, "--group-from", "folder"])
    assert done.exit_code == 0, done.output
    zoo = open_zoo(tmp_path / "z.zarr")
    assert (zoo.column("epoch").tolist(), zoo.column("run").tolist()) == ([3], [12])
    assert zoo.group.tolist() == ["run12"]


@pytest.mark.parametrize("word", ["", "checkpoints", "config", "t.xlsx", "config.toml"])
def test_an_unknown_source_is_one_line(tmp_path, imported, word):
    """A source that is none of the four kinds is an error that names them."""
    save(tmp_path / "a.pt")
    with pytest.raises(
        ZooError, match=r"must be a table \(\.csv, \.tsv, \.jsonl\), 'checkpoint', 'card', the name of"
    ):
        imported("files", tmp_path, properties_from=(word,))


# -- names --------------------------------------------------------------------------------------------------


def test_named_groups_in_paths_are_properties(tmp_path, imported):
    """Digits become ints, decimals become floats, and other words stay text."""
    for name in ("run1/val_acc=0.50-mlp.pt", "run12/val_acc=0.75-cnn.pt"):
        save(tmp_path / name)
    pattern = r"name:run(?P<run>\d+)/val_acc=(?P<accuracy>[\d.]+)-(?P<kind>\w+)"
    zoo, _ = imported("files", tmp_path, properties_from=(pattern,))
    found = {name: zoo.typed_column(name).objects() for name in ("run", "accuracy", "kind")}
    assert found == {"run": [1, 12], "accuracy": [0.5, 0.75], "kind": ["mlp", "cnn"]}
    assert [zoo.typed_column(name).kind for name in found] == ["int", "float", "string"]
    again, _ = imported(
        "files", tmp_path, out="two.zarr", properties_from=(pattern.replace("name:", "path:"),)
    )
    assert again.column("run").tolist() == [1, 12]


def test_names_without_a_match_have_missing_values(tmp_path, imported):
    """A path that does not match has missing values, with a warning; so has an optional group."""
    for name in ("run1-x.pt", "run2.pt", "last.pt"):
        save(tmp_path / name)
    with pytest.warns(
        UserWarning, match=r"does not match 1 of 3 paths, such as last\.pt; their values are missing"
    ):
        zoo, _ = imported("files", tmp_path, properties_from=(r"name:run(?P<run>\d+)(-(?P<tag>\w))?",))
    assert zoo.typed_column("run").objects() == [None, 1, 2]
    assert zoo.typed_column("tag").objects() == [None, "x", None]


def test_one_odd_name_makes_a_column_text(tmp_path, imported):
    """One odd value turns a column of numbers into text, with a warning that names the file."""
    for name in ("acc=0.5.pt", "acc=0.70.pt", "acc=best.pt"):
        save(tmp_path / name)
    said = r"column 'acc' is read as text because of 'best' in acc=best\.pt \(2 of 3 values are numbers\)"
    with pytest.warns(UserWarning, match=said):
        zoo, _ = imported("files", tmp_path, properties_from=(r"name:acc=(?P<acc>.+)\.pt",))
    assert zoo.column("acc").tolist() == ["0.5", "0.70", "best"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("name:(", "not a regular expression: "),
        ("name:a{99999999999999}(?P<x>b)", "not a regular expression: "),
        (r"name:run(\d+)", "needs a named group"),
        ("name:", "needs a named group"),
        (r"path:nothing(?P<x>\d)", r"matches none of 1 path, such as a\.pt"),
        (r"name:(?P<source>\w)", "cannot be named 'source'; choose another name"),
        (r"name:(?P<group>\w)", "cannot be named 'group'; use --group-from"),
    ],
)
def test_a_bad_pattern_is_one_line(tmp_path, imported, word, said):
    """An invalid or useless regular expression is an error of one line that shows it."""
    save(tmp_path / "a.pt")
    with pytest.raises(ZooError, match=said) as caught:
        imported("files", tmp_path, properties_from=(word,))
    assert str(caught.value).startswith(f"--properties-from {word!r}: ")
    assert "\n" not in str(caught.value)
    assert not any(imported.keywords["base"].iterdir())


# -- groups -------------------------------------------------------------------------------------------------


def test_a_folder_can_be_the_group(tmp_path, imported):
    """With `folder`, networks of one folder are one run group."""
    for name in ("a/1.pt", "a/2.pt", "b/c/1.pt", "1.pt"):
        save(tmp_path / name)
    zoo, _ = imported("files", tmp_path, group_from="folder")
    groups = dict(zip(zoo.column("source").tolist(), zoo.group.tolist(), strict=True))
    assert groups == {"a/1.pt": "a", "a/2.pt": "a", "b/c/1.pt": "b/c", "1.pt": "."}


@pytest.mark.parametrize("group_from", ["seed", r"name:(?P<group>s\d)-"])
def test_a_property_or_pattern_can_be_the_group(tmp_path, imported, group_from):
    """A property or a pattern gives the group; a network without a value is a group of its own."""
    save(tmp_path / "s1-a.pt", seed="s1")
    save(tmp_path / "s1-b.pt", seed="s1")
    save(tmp_path / "x.pt")
    with pytest.warns(UserWarning, match=r"--group-from .* 1 of 3 .*, such as x\.pt; "):
        zoo, _ = imported("files", tmp_path, properties_from=("checkpoint",), group_from=group_from)
    assert zoo.group.tolist() == ["s1", "s1", "x.pt"]


def test_equal_values_of_other_types_are_one_group(tmp_path, imported):
    """Whole floats are in the group of the int, and spaces around a text do not matter."""
    seeds = (1, 1.0, np.int64(1), np.float32(1), torch.tensor(1.0), "1", " 1 ", 0.5, "0.5", True, "true")
    for number, seed in enumerate(seeds):
        save(tmp_path / f"{number:02}.pt", seed=seed)
    with pytest.warns(UserWarning, match="'seed' is stored as text"):
        zoo, _ = imported("files", tmp_path, properties_from=("checkpoint",), group_from="seed")
    assert zoo.group.tolist() == ["1"] * 7 + ["0.5"] * 2 + ["true"] * 2


def test_equal_numbers_in_json_are_one_group(tmp_path, imported):
    """1, 1.0 and 1e0 in files beside networks, and in JSON lines, are one run group."""
    words = ("1", "1.0", "1e0", "1.5", "-0.0", "0")
    lines = []
    for number, word in enumerate(words):
        save(tmp_path / "nets" / f"{number}.pt")
        (tmp_path / "nets" / f"{number}.json").write_text(f'{{"seed": {word}}}')
        lines.append(f'{{"file": "{number}.pt", "group": {word}}}')
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    expected = ["1", "1", "1", "1.5", "0", "0"]
    zoo, _ = imported("files", tmp_path / "nets", properties_from=("*.json",), group_from="seed")
    assert zoo.group.tolist() == expected
    zoo, _ = imported("files", tmp_path / "nets", "two.zarr", properties_from=(tmp_path / "t.jsonl",))
    assert zoo.group.tolist() == expected


def test_missing_values_are_groups_of_their_own(tmp_path, imported):
    """Networks with a missing or empty value share no group, and a warning counts them."""
    for name, seed in (("a", "1"), ("b", "1"), ("c", math.nan), ("d", None), ("e", " "), ("f", "n/a")):
        save(tmp_path / f"{name}.pt", seed=seed)
    with pytest.warns(UserWarning, match="have no value") as caught:
        zoo, _ = imported("files", tmp_path, properties_from=("checkpoint",), group_from="seed")
    assert zoo.group.tolist() == ["1", "1", "c.pt", "d.pt", "e.pt", "f.pt"]
    assert (
        "--group-from 'seed': 4 of 6 networks have no value, such as c.pt; each of them is a group of its own"
    ) in [str(each.message) for each in caught]


def test_a_group_of_only_missing_values_is_an_error(tmp_path, imported):
    """If the property is missing in every network, the error has one line, and no zoo is written."""
    for name in "ab":
        save(tmp_path / f"{name}.pt", seed=None)
    with pytest.raises(ZooError, match=r"^--group-from 'seed': no network has a value of this property$"):
        imported("files", tmp_path, properties_from=("checkpoint",), group_from="seed")
    assert not any(imported.keywords["base"].iterdir())


@pytest.mark.parametrize("pattern", [r"name:run(?P<group>\d+)", r"name:net(?P<group>\d)?"])
def test_a_group_pattern_without_groups_is_an_error(tmp_path, imported, pattern):
    """A pattern that finds no group in any path is an error of one line, and no zoo is written."""
    for name in "ab":
        save(tmp_path / f"net-{name}.pt")
    with pytest.raises(ZooError) as caught:
        imported("files", tmp_path, group_from=pattern)
    said = f"--group-from {pattern!r}: finds a group in none of 2 paths, such as net-a.pt"
    assert str(caught.value) == said
    assert not any(imported.keywords["base"].iterdir())


def test_group_from_wins_over_the_table(tmp_path, imported):
    """A group of --group-from replaces the group of the table, which stays where there is none."""
    source = tmp_path / "nets"
    save(source / "a.pt", seed=1)
    save(source / "b.pt")
    rows = table(tmp_path / "t.csv", ("file", "group"), ("a.pt", "g"), ("b.pt", "h"))
    zoo, _ = imported("files", source, properties_from=(rows, "checkpoint"), group_from="seed")
    assert zoo.group.tolist() == ["1", "h"]
    with pytest.warns(UserWarning, match=r"finds no group in 1 of 2 paths, such as b\.pt"):
        zoo, _ = imported("files", source, "2.zarr", properties_from=(rows,), group_from="name:(?P<group>a)")
    assert zoo.group.tolist() == ["a", "h"]


@pytest.mark.parametrize("words", [(), ("checkpoint",)])
@pytest.mark.parametrize(
    ("group_from", "said"),
    [
        ("sed", "no network has this property"),
        ("name:(", "not a regular expression"),
        (r"name:(?P<run>\d)", r"needs the named group \(\?P<group>"),
    ],
)
def test_a_group_of_nothing_is_an_error(tmp_path, imported, words, group_from, said):
    """A --group-from that gives no network a group is an error, and no zoo is written."""
    save(tmp_path / "1.pt", seed=1)
    with pytest.raises(ZooError, match=said):
        imported("files", tmp_path, properties_from=words, group_from=group_from)
    assert not any(imported.keywords["base"].iterdir())
