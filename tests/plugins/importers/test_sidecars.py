"""Properties of imported networks from JSON and YAML files beside them."""

import json
import os
import sys
import time
from functools import partial

import factories
import pytest
import torch
from sneframe_importers.flatten import NODES
from sneframe_importers.sidecar import LARGEST

from sneframe.errors import ZooError


@pytest.fixture
def imported(imported, tmp_path_factory):
    """Return the function that imports networks. The zoo lies outside the folder of the networks."""
    return partial(imported, base=tmp_path_factory.mktemp("zoos"))


def save(path, sidecar=None, text=None):
    """Write a network, and a file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(factories.mlp().state_dict(), path)
    if sidecar is not None:
        (path.parent / sidecar).write_text(text if isinstance(text, str) else json.dumps(text))


def columns(zoo):
    return {name: zoo.typed_column(name).objects() for name in zoo.properties if name != "source"}


def test_too_large_ints_are_not_called_quoted(tmp_path, imported):
    """A column of ints beyond 64 bits is text, and the warning says that they are too large."""
    numbers = [2**64 + 1, -(2**70) - 1, 2**80 + 1]
    for name, number in zip("abc", numbers, strict=True):
        save(tmp_path / f"{name}.pt", f"{name}.json", {"id": number})
    with pytest.warns(UserWarning, match="do not fit into 64 bits") as caught:
        zoo, skipped = imported("files", tmp_path, properties_from=("*.json",))
    assert (columns(zoo)["id"], skipped) == ([str(number) for number in numbers], {})
    said = "*.json: column 'id' is read as text: its 3 values are ints that do not fit into 64 bits"
    assert [str(each.message) for each in caught] == [said]


# -- which files ---------------------------------------------------------------------------------------------


def test_a_file_in_the_folder_of_a_network_is_read(tmp_path, imported):
    """Values of config.json are properties; nested names have dots; lists are left out."""
    save(
        tmp_path / "a" / "n.pt", "config.json", {"lr": 0.1, "model": {"width": 8, "act": "relu"}, "dims": [1]}
    )
    save(
        tmp_path / "b" / "n.pt", "config.json", {"lr": 1, "model": {"width": 16, "act": "tanh", "bias": True}}
    )
    zoo, skipped = imported("files", tmp_path, properties_from=("config.json",))
    assert skipped == {}
    assert columns(zoo) == {
        "lr": [0.1, 1.0],
        "model.width": [8, 16],
        "model.act": ["relu", "tanh"],
        "model.bias": [None, True],
    }


def test_networks_of_one_folder_share_a_file(tmp_path, imported):
    """All networks of a folder have the values of its file."""
    save(tmp_path / "a.pt", "config.json", {"lr": 0.5})
    save(tmp_path / "b.pt")
    zoo, _ = imported("files", tmp_path, properties_from=("config.json",))
    assert columns(zoo) == {"lr": [0.5, 0.5]}


def test_a_star_is_the_name_of_the_network(tmp_path, imported):
    """`*.json` is the file with the name of the network, whatever the ending of the network's file."""
    for number, name in enumerate(["net1.pt", "net2.pth.tar", "epoch=3-acc=0.5.ckpt"]):
        save(tmp_path / name)
        stem = name.removesuffix(".tar").rpartition(".")[0]
        (tmp_path / f"{stem}.json").write_text(json.dumps({"x": number}))
        (tmp_path / f"{stem}-more.json").write_text(json.dumps({"y": -number}))
    (tmp_path / "epoch=3-acc=0.json").write_text('{"x": 99}')
    zoo, _ = imported("files", tmp_path, properties_from=("*.json", "*-more.json"))
    found = dict(zip(zoo.column("source").tolist(), zoo.column("x").tolist(), strict=True))
    assert found == {"net1.pt": 0, "net2.pth.tar": 1, "epoch=3-acc=0.5.ckpt": 2}
    assert sorted(zoo.column("y").tolist()) == [-2, -1, 0]


def test_a_file_may_lie_above_the_network(tmp_path, imported):
    """`../hparams.yaml` is the file above the folder of a network, as Lightning writes it."""
    pytest.importorskip("yaml")
    for version in (0, 1):
        save(tmp_path / f"version_{version}" / "checkpoints" / "epoch=3.ckpt")
        (tmp_path / f"version_{version}" / "hparams.yaml").write_text(f"lr: 0.{version}1\n")
    zoo, _ = imported("files", tmp_path, properties_from=("../hparams.yaml",))
    assert columns(zoo) == {"lr": [0.01, 0.11]}


def test_no_file_outside_the_source_is_read(tmp_path, imported):
    """A path above the source, and a link that leaves it, are not followed."""
    (tmp_path / "config.json").write_text('{"secret": 1}')
    source = tmp_path / "nets"
    save(source / "a.pt")
    with pytest.raises(ZooError, match="no network has such a file beside it"):
        imported("files", source, properties_from=("../config.json",))
    save(source / "b" / "b.pt")
    os.symlink(tmp_path / "config.json", source / "b" / "config.json")  # noqa: PTH211
    with pytest.warns(UserWarning, match="1 of 2 networks have no such file"):
        zoo, skipped = imported("files", source, properties_from=("config.json",))
    assert zoo.properties == ("source",)
    assert skipped == {"b/b.pt": f"b/config.json: leads out of {source}"}


@pytest.mark.parametrize("word", ["/etc/config.json", "*/config.json", "*-*.json"])
def test_a_path_that_cannot_be_beside_is_refused(tmp_path, imported, word):
    """An absolute path, and a star in another place than once in the name, are errors of one line."""
    save(tmp_path / "a.pt")
    with pytest.raises(ZooError, match="must be the name of a file beside each network"):
        imported("files", tmp_path, properties_from=(word,))


def test_networks_without_the_file_have_missing_values(tmp_path, imported):
    """Networks without the file are imported, with a warning that counts them."""
    save(tmp_path / "a" / "n.pt", "metrics.json", {"accuracy": 0.5})
    save(tmp_path / "b" / "n.pt")
    with pytest.warns(UserWarning, match=r"1 of 2 networks have no such file, such as b/n\.pt; their values"):
        zoo, _ = imported("files", tmp_path, properties_from=("metrics.json",))
    assert columns(zoo) == {"accuracy": [0.5, None]}


# -- values --------------------------------------------------------------------------------------------------


def test_values_of_json_that_are_not_finite_are_missing(tmp_path, imported):
    """NaN, Infinity, numbers too large for a float and null are missing; a column of them is left out."""
    text = '{"a": NaN, "b": -Infinity, "c": 1e999, "d": null, "e": 1}'
    save(tmp_path / "1" / "n.pt", "config.json", text)
    save(tmp_path / "2" / "n.pt", "config.json", '{"a": 0.5, "b": 1, "e": 2}')
    zoo, _ = imported("files", tmp_path, properties_from=("config.json",))
    assert columns(zoo) == {"a": [None, 0.5], "b": [None, 1], "e": [1, 2]}


def test_one_odd_value_makes_a_column_text(tmp_path, imported):
    """One text in a column of numbers makes the column text, with a warning that names the file."""
    for name, value in (("a", 0.5), ("b", 0.25), ("c", "auto")):
        save(tmp_path / name / "n.pt", "config.json", {"dropout": value})
    with pytest.warns(UserWarning, match=r"'dropout' is read as text because of 'auto' in c/config\.json"):
        zoo, _ = imported("files", tmp_path, properties_from=("config.json",))
    assert columns(zoo) == {"dropout": ["0.5", "0.25", "auto"]}


def test_reserved_names_of_a_file_get_an_underscore(tmp_path, imported):
    """A key such as `architecture` is renamed with a note."""
    save(tmp_path / "a.pt", "config.json", {"architecture": "mlp", "healthy": True, "x.valid": 1})
    with pytest.warns(UserWarning, match="is named '.*_', because its name is reserved") as caught:
        zoo, _ = imported("files", tmp_path, properties_from=("config.json",))
    assert len(caught) == 3
    assert columns(zoo) == {"architecture_": ["mlp"], "healthy_": [True], "x.valid_": [1]}


def test_the_last_entries_of_a_trainer_are_properties(tmp_path, imported):
    """trainer_state.json gives the last logged value of each key; values above the log take precedence."""
    state = {
        "epoch": 2.0,
        "global_step": 20,
        "best_metric": None,
        "log_history": [
            {"epoch": 1.0, "loss": 0.9, "step": 10},
            {"epoch": 1.0, "eval_accuracy": 0.5, "step": 10},
            {"epoch": 1.9, "loss": 0.4, "step": 19},
            "noise",
            {"epoch": 1.95, "eval_accuracy": 0.8, "step": 20},
        ],
    }
    save(tmp_path / "checkpoint-20" / "n.pt", "trainer_state.json", state)
    zoo, _ = imported("files", tmp_path, properties_from=("trainer_state.json",))
    assert columns(zoo) == {
        "epoch": [2.0],
        "global_step": [20],
        "loss": [0.4],
        "eval_accuracy": [0.8],
        "step": [20],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"a": 1} x', "not JSON"),
        ("[1, 2]", "must hold names with values, but holds a list"),
        ("null", "must hold names with values, but holds nothing"),
        ("3", "must hold names with values, but holds a single value"),
        ('{"a":' * 100_000, "is nested too deeply"),
        ('{"a":' * 20 + "1" + "}" * 20, "is nested more than 16 levels deep"),
        (json.dumps({f"k{i}": i for i in range(1001)}), "holds more than 1000 numbers, texts and booleans"),
        (json.dumps({f"k{i}": [] for i in range(NODES + 1)}), f"holds more than {NODES} values"),
        ('{"a": ' + "1" * 5000 + "}", "not JSON"),
    ],
)
def test_a_damaged_file_skips_its_network(tmp_path, imported, text, said):
    """A damaged or hostile JSON file skips its network with the reason; the others are imported."""
    save(tmp_path / "good" / "n.pt", "config.json", {"x": 1})
    save(tmp_path / "bad" / "n.pt", "config.json", text)
    zoo, skipped = imported("files", tmp_path, properties_from=("config.json",))
    assert zoo.column("source").tolist() == ["good/n.pt"]
    assert skipped["bad/n.pt"].startswith(f"bad/config.json: {said}")
    assert "\n" not in skipped["bad/n.pt"]
    assert len(skipped["bad/n.pt"]) < 250


def test_files_that_are_no_text_skip_their_networks(tmp_path, imported):
    """A file with other bytes than text, and a file that is too large, skip their networks."""
    save(tmp_path / "a" / "n.pt", "config.json", {"x": 1})
    save(tmp_path / "b" / "n.pt")
    (tmp_path / "b" / "config.json").write_bytes(b"\xff\xfe\x00")
    save(tmp_path / "c" / "n.pt")
    with (tmp_path / "c" / "config.json").open("wb") as file:
        file.truncate(LARGEST[".json"] + 1)
    _, skipped = imported("files", tmp_path, properties_from=("config.json",))
    assert skipped == {
        "b/n.pt": "b/config.json: not a text file",
        "c/n.pt": "c/config.json: is larger than 16 MiB",
    }


def test_a_byte_order_mark_is_ignored(tmp_path, imported):
    """A JSON file may begin with a byte order mark, as Windows writes it."""
    save(tmp_path / "a.pt")
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"x": 1}')
    zoo, _ = imported("files", tmp_path, properties_from=("config.json",))
    assert columns(zoo) == {"x": [1]}


# -- YAML ----------------------------------------------------------------------------------------------------


def test_yaml_gives_the_same_values_as_json(tmp_path, imported):
    """YAML files give nested values; `1e-3` is a number, and `.nan` a missing value."""
    pytest.importorskip("yaml")
    text = "lr: 1e-3\neps: 1.0e-08\nname: 'a'\nloss: .nan\nwhen: 2024-01-02\n"
    text += "model: {width: 8, act: relu}\nuse: yes\n"
    save(tmp_path / "a" / "n.pt", "args.yaml", text)
    save(tmp_path / "b" / "n.pt", "args.yaml", "{name: x, loss: 0.5}")
    zoo, _ = imported("files", tmp_path, properties_from=("args.yaml",))
    found = columns(zoo)
    assert {name: values[0] for name, values in found.items()} == {
        "lr": 0.001,
        "eps": 1e-8,
        "name": "a",
        "loss": None,
        "when": "2024-01-02",
        "model.width": 8,
        "model.act": "relu",
        "use": True,
    }


def test_tags_of_python_are_read_as_plain_values(tmp_path, imported):
    """An object of Python in YAML gives its values, and nothing of it is executed."""
    pytest.importorskip("yaml")
    marker = tmp_path / "owned"
    text = (
        "args: !!python/object:argparse.Namespace {lr: 0.1, depth: 3}\n"
        f"call: !!python/object/apply:os.mkdir ['{marker}']\n"
        f"new: !!python/object/new:os.mkdir ['{marker}']\n"
        "name: !!python/name:os.system ''\n"
        "other: !mine x\n"
        "x: 1\n"
    )
    save(tmp_path / "nets" / "a.pt", "hparams.yml", text)
    zoo, skipped = imported("files", tmp_path / "nets", properties_from=("hparams.yml",))
    assert skipped == {}
    assert columns(zoo) == {"args.lr": [0.1], "args.depth": [3], "x": [1]}
    assert not marker.exists()


LAUGHS = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(10))}}}\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, f"holds more than {NODES} values, counting those that aliases repeat"),
        (MERGES, f"holds more than {NODES} values, counting those that aliases repeat"),
        ("a: &a {b: *a}\n", f"holds more than {NODES} values, counting those that aliases repeat"),
        ("[" * 100_000, "is nested more than 100 levels deep"),
        ("a: " + "{b: " * 90 + "1" + "}" * 90, "is nested more than 16 levels deep"),
        ("- 1\n- 2\n", "must hold names with values, but holds a list"),
        ("", "must hold names with values, but holds nothing"),
        ("a: [", "not YAML"),
        ("a: *gone\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("{[1]: 2}", "not YAML"),
        ("a: !!int x\n", "not YAML"),
        ("a: 2024-99-99\n", "not YAML"),
        ("x: " + "y" * LARGEST[".yaml"], "is larger than 1 MiB"),
    ],
)
def test_hostile_yaml_skips_its_network(tmp_path, imported, text, said):
    """Bombs of anchors and merges, deep nesting and damage skip the network, quickly and in one line."""
    pytest.importorskip("yaml")
    save(tmp_path / "good" / "n.pt", "args.yaml", "x: 1")
    save(tmp_path / "bad" / "n.pt", "args.yaml", text)
    start = time.perf_counter()
    zoo, skipped = imported("files", tmp_path, properties_from=("args.yaml",))
    assert time.perf_counter() - start < 30
    assert zoo.column("source").tolist() == ["good/n.pt"]
    assert skipped["bad/n.pt"].startswith(f"bad/args.yaml: {said}")
    assert "\n" not in skipped["bad/n.pt"]


def test_yaml_without_its_package_is_one_line(tmp_path, imported, monkeypatch):
    """Without PyYAML, a YAML file raises one line that names the extra."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    save(tmp_path / "a.pt", "args.yaml", "x: 1")
    with pytest.raises(ZooError, match=r"YAML needs the package PyYAML, .* pip install 'sneframe\[yaml\]'"):
        imported("files", tmp_path, properties_from=("args.yaml",))
