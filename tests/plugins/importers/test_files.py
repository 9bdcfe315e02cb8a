"""The importer of folders of checkpoints, with tables and modules."""

import csv
import errno
import io
import json
import os
import zipfile
from pathlib import Path

import factories
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from sneframe_importers.table import read_table
from stored import tensors
from torch import nn

from sneframe.cli import sneframe_command
from sneframe.errors import ConfigError, ZooError
from sneframe.zoo import export, open_zoo

KINDS = {"mlp": factories.mlp, "cnn": factories.cnn, "residual": factories.Residual}


def sb3(state, path):
    policy = io.BytesIO()
    torch.save(state, policy)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("policy.pth", policy.getvalue())


WRITERS = {".safetensors": save_file, ".pt": torch.save, ".pth": torch.save, ".zip": sb3}


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def folder(tmp_path):
    """Return twelve networks of three architectures in four kinds of files, and their table."""
    torch.manual_seed(0)
    source = tmp_path / "nets"
    states, rows = {}, []
    for number in range(12):
        kind, ending = list(KINDS)[number % 3], list(WRITERS)[number % 4]
        state = KINDS[kind]().state_dict()
        name = f"run{number // 2}/net{number}{ending}"
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        WRITERS[ending](state, source / name)
        states[name] = state
        rows.append(
            {
                "file": name,
                "group": f"run{number // 2}",
                "kind": kind,
                "accuracy": number / 20,
                "epoch": number,
            }
        )
    return source, states, rows, table(tmp_path / "table.csv", rows)


def same(zoo, states):
    files = zoo.column("source").tolist()
    assert sorted(files) == sorted(states)
    for position, file in enumerate(files):
        stored = tensors(zoo, position)
        wanted = {name: value for name, value in states[file].items() if value.is_floating_point()}
        assert stored.keys() == wanted.keys()
        assert all(torch.equal(stored[name], value) for name, value in wanted.items())


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(os.path.dirname(__file__))  # noqa: PTH120


# -- what is imported ---------------------------------------------------------------------------------------


def test_weights_and_properties_are_those_of_the_files(folder, imported):
    """Weights, properties and groups come from the files and the table."""
    source, states, rows, properties = folder
    zoo, skipped = imported("files", source, properties_from=(properties,), module="factories:of_row")
    assert skipped == {}
    same(zoo, states)
    assert len(zoo.architectures) == 3
    assert zoo.column("source").tolist() == [row["file"] for row in rows]
    assert zoo.column("accuracy").tolist() == [row["accuracy"] for row in rows]
    assert zoo.typed_column("epoch").kind == "int"
    assert zoo.group.tolist() == [row["group"] for row in rows]
    zoo.verify()


@pytest.mark.filterwarnings("ignore:.*taken as fixed:UserWarning")
def test_a_module_shows_residual_connections(tmp_path, imported):
    """Names and shapes give a residual network no group; its module gives one for the stream."""
    torch.save(factories.Residual().state_dict(), tmp_path / "a.pt")
    table(tmp_path / "t.csv", [{"file": "a.pt", "kind": "residual"}])
    guessed, _ = imported("files", tmp_path)
    found, _ = imported(
        "files", tmp_path, out="two.zarr", properties_from=(tmp_path / "t.csv",), module="factories:of_row"
    )
    assert [len(zoo.architectures[0].groups) for zoo in (guessed, found)] == [0, 1]


def test_trust_names_makes_a_chain(tmp_path, imported):
    """With trust_names, layers whose sizes fit are a chain; the symmetry is still guessed."""
    layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)])
    torch.save(layers.state_dict(), tmp_path / "a.pt")
    zoo, _ = imported("files", tmp_path, trust_names=True)
    assert [group.size for group in zoo.architectures[0].groups] == [8, 8]
    assert zoo.symmetry == {"guessed": 1}


SAVED = {
    "autoencoder": nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)),
            "decoder": nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 16)),
        }
    ),
    "residual": factories.Residual(),
    "words": nn.ModuleDict({"inp": nn.Linear(4, 8), "hid": nn.Linear(8, 8), "out": nn.Linear(8, 3)}),
}


@pytest.mark.filterwarnings("ignore:.*taken as fixed:UserWarning")
@pytest.mark.parametrize("first", [".pt", ".safetensors"])
@pytest.mark.parametrize("module", SAVED.values(), ids=SAVED)
def test_the_format_of_a_file_does_not_matter(tmp_path, imported, module, first):
    """Modules that may not be chains are fixed, in any file format and any order of files."""
    second = ".safetensors" if first == ".pt" else ".pt"
    WRITERS[first](module.state_dict(), tmp_path / f"a{first}")
    WRITERS[second](module.state_dict(), tmp_path / f"b{second}")
    zoo, _ = imported("files", tmp_path)
    (architecture,) = zoo.architectures
    assert (architecture.groups, architecture.symmetry) == ((), "none")
    same(zoo, dict.fromkeys((f"a{first}", f"b{second}"), module.state_dict()))


@pytest.mark.filterwarnings("ignore:.*taken as fixed:UserWarning")
def test_other_files_do_not_change_a_description(tmp_path, imported):
    """A network is described alike alone and next to another of the same names and shapes."""
    (tmp_path / "alone").mkdir()
    (tmp_path / "both").mkdir()
    state = factories.Residual().state_dict()
    save_file(state, tmp_path / "alone" / "b.safetensors")
    save_file(state, tmp_path / "both" / "b.safetensors")
    torch.save(state, tmp_path / "both" / "a.pt")
    alone, _ = imported("files", tmp_path / "alone", out="alone.zarr")
    both, _ = imported("files", tmp_path / "both", out="both.zarr")
    assert alone.architectures == both.architectures


def test_a_module_gives_verified_symmetry(folder, imported):
    """With a module, the symmetry of every network is verified."""
    source, _, _, properties = folder
    zoo, _ = imported("files", source, properties_from=(properties,), module="factories:of_row")
    assert zoo.symmetry == {"verified": 12}


@pytest.mark.filterwarnings("ignore:.*taken as fixed:UserWarning")
def test_without_a_module_symmetry_is_guessed(folder, imported):
    """Symmetry is guessed for Sequential networks, and unknown for residual ones."""
    source, _, _, properties = folder
    zoo, _ = imported("files", source, properties_from=(properties,))
    assert zoo.symmetry == {"none": 4, "guessed": 8}


@pytest.mark.filterwarnings("ignore:.*taken as:UserWarning")
def test_without_a_table_there_are_files_and_no_properties(folder, imported):
    """Without a table, all files are imported; the only property is their name."""
    source, states, _, _ = folder
    zoo, skipped = imported("files", source)
    assert skipped == {}
    same(zoo, states)
    assert zoo.properties == ("source",)
    assert zoo.column("source").tolist() == sorted(states)
    assert zoo.group.tolist() == sorted(states)


@pytest.mark.parametrize(
    ("function", "make"),
    [
        ("by_activation", factories.mlp),
        ("named", lambda: factories.Functional(torch.relu)),
        ("lambdas", lambda: factories.Functional(torch.relu)),
    ],
)
def test_activations_of_modules_are_distinguished(tmp_path, imported, function, make):
    """Modules that differ only in their activation give different architectures."""
    rows = []
    for number in range(4):
        torch.save(make().state_dict(), tmp_path / f"{number}.pt")
        rows.append({"file": f"{number}.pt", "activation": ("relu", "tanh")[number % 2]})
    properties = table(tmp_path / "table.csv", rows)
    zoo, _ = imported("files", tmp_path, properties_from=(properties,), module=f"factories:{function}")
    found = [architecture.layers[0].activation for architecture in zoo.architectures]
    assert found == ["relu", "tanh"]
    assert zoo.architecture_index.tolist() == [0, 1, 0, 1]


def test_the_activation_option_is_used(tmp_path, imported):
    """Without a module, the option gives the activation."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    zoo, _ = imported("files", tmp_path, activation="tanh")
    assert zoo.architectures[0].layers[0].activation == "tanh"


def test_a_split_of_the_table_is_stored(tmp_path, imported):
    """The column split becomes the split "table"; an empty value is unused."""
    rows = []
    for number, split in enumerate(["train", "train", "val", "test", ""]):
        torch.save(factories.mlp().state_dict(), tmp_path / f"{number}.pt")
        rows.append({"file": f"{number}.pt", "split": split})
    zoo, _ = imported("files", tmp_path, properties_from=(table(tmp_path / "table.csv", rows),))
    assert zoo.split("table").tolist() == [0, 0, 1, 2, -1]
    assert "split" not in zoo.properties


def test_a_group_in_two_parts_of_the_split_is_refused(tmp_path, imported):
    """A group in two parts of the split raises, and no zoo is written."""
    rows = []
    for number, split in enumerate(["train", "test"]):
        torch.save(factories.mlp().state_dict(), tmp_path / f"{number}.pt")
        rows.append({"file": f"{number}.pt", "split": split, "group": "run"})
    with pytest.raises(ZooError, match="group 'run' lies in train and in test"):
        imported("files", tmp_path, properties_from=(table(tmp_path / "table.csv", rows),))
    assert not (tmp_path / "zoo.zarr").exists()


def test_json_lines_are_a_table_too(tmp_path, imported):
    """JSON lines give typed properties, with missing values."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    torch.save(factories.mlp().state_dict(), tmp_path / "b.pt")
    lines = [{"file": "a.pt", "score": 1.5, "name": "ü", "ok": True}, {"file": "b.pt", "score": None}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    zoo, _ = imported("files", tmp_path, properties_from=(tmp_path / "t.jsonl",))
    assert zoo.column("name").tolist() == ["ü", None]
    assert zoo.typed_column("ok").kind == "bool"
    assert zoo.typed_column("score").objects() == [1.5, None]


def test_json_lines_may_have_a_byte_order_mark(tmp_path, imported):
    """A byte order mark and a line separator in a text do not disturb JSON lines."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    line = json.dumps({"file": "a.pt", "note": "one\u2028two"}, ensure_ascii=False)
    (tmp_path / "t.jsonl").write_text(line + "\n", encoding="utf-8-sig")
    zoo, _ = imported("files", tmp_path, properties_from=(tmp_path / "t.jsonl",))
    assert zoo.column("note").tolist() == ["one\u2028two"]


def test_unusable_files_are_skipped(tmp_path, imported):
    """float8, empty and sparse tensors and a circular link are skipped; the rest is imported."""
    state = factories.mlp().state_dict()
    torch.save(state, tmp_path / "good.pt")
    torch.save({name: value.to(torch.float8_e4m3fn) for name, value in state.items()}, tmp_path / "f8.pt")
    torch.save({"more": torch.ones(0, 2)}, tmp_path / "empty.pt")
    torch.save({name: value.to_sparse() for name, value in state.items()}, tmp_path / "sparse.pt")
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    zoo, _ = imported("files", tmp_path)
    assert len(zoo) == 1


def test_an_empty_tensor_is_ignored(tmp_path, imported):
    """A tensor without elements holds no weight and is ignored."""
    state = factories.mlp().state_dict()
    torch.save({**state, "more": torch.ones(0, 2)}, tmp_path / "a.pt")
    zoo, skipped = imported("files", tmp_path)
    assert not skipped
    assert tensors(zoo, 0).keys() == state.keys()


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "2", ""], "int", [1, 2, None]),
        (["1", "2.5", "nan"], "float", [1.0, 2.5, None]),
        (["1e-3", "-2", "inf"], "float", [0.001, -2.0, float("inf")]),
        (["true", "False", ""], "bool", [True, False, None]),
        (["007", "08"], "string", ["007", "08"]),
        (["adam", "1"], "string", ["adam", "1"]),
        ([str(2**63), "1"], "float", [2.0**63, 1.0]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*is read as text because of:UserWarning")
def test_columns_have_the_first_kind_that_fits(tmp_path, imported, texts, kind, values):
    """A column is int, float, bool or text: the first kind that fits all values."""
    rows = []
    for number, text in enumerate(texts):
        torch.save(factories.mlp().state_dict(), tmp_path / f"{number}.pt")
        rows.append({"file": f"{number}.pt", "x": text})
    zoo, _ = imported("files", tmp_path, properties_from=(table(tmp_path / "table.csv", rows),))
    column = zoo.typed_column("x")
    assert (column.kind, column.objects()) == (kind, values)


def test_equal_types_are_kept(tmp_path, imported):
    """A folder of half-precision files makes a half-precision zoo."""
    state = {name: value.half() for name, value in factories.mlp().state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    zoo, _ = imported("files", tmp_path)
    assert tensors(zoo, 0)["0.weight"].dtype == torch.float16


@pytest.mark.parametrize(
    ("first", "second", "wide"),
    [
        ("float16", "float32", "float32"),
        ("bfloat16", "float16", "float32"),
        ("float64", "bfloat16", "float64"),
    ],
)
def test_two_types_are_widened_without_loss(tmp_path, imported, first, second, wide):
    """Files of two types are stored in a type that holds both, without loss."""
    states = {}
    for name, dtype in (("a", first), ("b", second)):
        states[name] = {n: v.to(getattr(torch, dtype)) for n, v in factories.mlp().state_dict().items()}
        torch.save(states[name], tmp_path / f"{name}.pt")
    zoo, skipped = imported("files", tmp_path)
    assert not skipped
    for number, state in enumerate(states.values()):
        for name, value in tensors(zoo, number).items():
            assert value.dtype == getattr(torch, wide)
            assert torch.equal(value, state[name].to(value.dtype))


@pytest.mark.parametrize("prefix", ["", "model.", "module._orig_mod.net."])
def test_prefixes_of_wrappers_are_ignored(tmp_path, imported, prefix):
    """A trainer's prefix before all names does not change the architecture."""
    torch.manual_seed(0)
    state = factories.mlp().state_dict()
    torch.save(state, tmp_path / "a.pt")
    torch.save(
        {"state_dict": {f"{prefix}{name}": value for name, value in state.items()}}, tmp_path / "b.ckpt"
    )
    for number, module in enumerate((None, "factories:always_mlp")):
        zoo, skipped = imported("files", tmp_path, module=module, out=f"{number}.zarr")
        assert not skipped
        assert len(zoo.architectures) == 1
        assert torch.equal(tensors(zoo, 1)["0.weight"], state["0.weight"])


def test_a_key_selects_a_state_dict(tmp_path, imported):
    """The option key selects one of the state dicts in a checkpoint."""
    torch.save(
        {"actor": factories.mlp().state_dict(), "critic": factories.mlp(5).state_dict()}, tmp_path / "a.pt"
    )
    zoo, _ = imported("files", tmp_path, key="critic")
    assert zoo.architectures[0].parameters[0].shape == (5, 4)


def test_weights_that_are_not_finite_are_kept_and_marked(tmp_path, imported):
    """A network with NaN is imported and marked as unhealthy."""
    good, bad = factories.mlp().state_dict(), factories.mlp().state_dict()
    bad["0.bias"][0] = float("nan")
    torch.save(good, tmp_path / "a.pt")
    torch.save(bad, tmp_path / "b.pt")
    zoo, skipped = imported("files", tmp_path)
    assert skipped == {}
    assert zoo.healthy.tolist() == [True, False]
    assert len(open_zoo(zoo.path)) == 1


@pytest.mark.filterwarnings("ignore:.*taken as:UserWarning")
def test_an_export_comes_back(folder, imported, tmp_path):
    """An exported zoo can be imported with equal weights and properties."""
    source, _, _, properties = folder
    zoo, _ = imported("files", source, properties_from=(properties,))
    export(zoo, tmp_path / "export")
    again, skipped = imported(
        "files",
        tmp_path / "export",
        out="again.zarr",
        properties_from=(tmp_path / "export" / "properties.csv",),
    )
    assert skipped == {}
    for name in ("accuracy", "kind", "epoch", "group"):
        assert again.column(name).tolist() == zoo.column(name).tolist()
    for position in range(len(zoo)):
        one, other = tensors(zoo, position), tensors(again, position)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


# -- what is skipped, and why -------------------------------------------------------------------------------


def test_unreadable_files_are_listed_with_reasons(folder, imported, tmp_path):
    """Each unreadable file is listed with its reason, and the rest is imported."""
    source, _, rows, _ = folder
    victims = [row["file"] for row in rows]
    (source / victims[0]).write_bytes(b"")
    (source / victims[1]).write_bytes((source / victims[1]).read_bytes()[:200])
    torch.save({"x": print}, source / victims[2])
    torch.save(factories.mlp(9).state_dict(), source / victims[5])
    (source / victims[3]).unlink()
    (source / victims[4]).unlink()
    (source / victims[4]).symlink_to(tmp_path / "table.csv")
    rows += [
        {**rows[0], "file": "../table.csv"},
        {**rows[0], "file": "/etc/passwd"},
        {**rows[0], "file": "x" * 300},
    ]
    properties = table(tmp_path / "more.csv", rows)
    zoo, skipped = imported("files", source, properties_from=(properties,), module="factories:of_row")
    assert skipped == {
        victims[0]: "the file is empty",
        victims[1]: "damaged, or not written by torch.save",
        victims[2]: "holds a Python object, print, and objects are never loaded",
        victims[3]: "no such file",
        victims[4]: f"leads out of {source}",
        victims[5]: "the file lacks 'inp.weight', which Residual has",
        "../table.csv": f"leads out of {source}",
        "/etc/passwd": f"leads out of {source}",
        "x" * 300: "File name too long",
    }
    assert zoo.column("source").tolist() == victims[6:]
    listed = list(csv.DictReader((tmp_path / "zoo.zarr.skipped.csv").read_text().splitlines()))
    assert {row["source"]: row["reason"] for row in listed} == skipped


def test_files_that_the_table_does_not_name_are_listed(folder, imported, tmp_path):
    """Files that the table does not name are listed as skipped."""
    source, _, rows, _ = folder
    properties = table(tmp_path / "fewer.csv", rows[:-1])
    zoo, skipped = imported("files", source, properties_from=(properties,), module="factories:of_row")
    assert skipped == {rows[-1]["file"]: "not listed in fewer.csv"}
    assert len(zoo) == 11


def test_an_old_list_of_skips_is_removed(folder, imported, tmp_path):
    """An import without skips removes the list of an earlier import."""
    source, _, rows, properties = folder
    imported(
        "files",
        source,
        properties_from=(table(tmp_path / "fewer.csv", rows[:-1]),),
        module="factories:of_row",
    )
    assert (tmp_path / "zoo.zarr.skipped.csv").exists()
    (tmp_path / "zoo.zarr").rename(tmp_path / "old.zarr")
    imported("files", source, properties_from=(properties,), module="factories:of_row")
    assert not (tmp_path / "zoo.zarr.skipped.csv").exists()


def test_a_failed_import_keeps_the_old_zoo(folder, tmp_path, imported):
    """A failed overwrite keeps the old zoo and its list of skips."""
    source, _, rows, _ = folder
    imported(
        "files",
        source,
        properties_from=(table(tmp_path / "fewer.csv", rows[:-1]),),
        module="factories:of_row",
    )
    before = (tmp_path / "zoo.zarr.skipped.csv").read_text()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.pt").write_bytes(b"")
    with pytest.raises(ZooError, match=r"imported: a\.pt: the file is empty \(1 skipped in all\)$"):
        imported("files", tmp_path / "bad", overwrite=True)
    assert (tmp_path / "zoo.zarr.skipped.csv").read_text() == before
    assert len(open_zoo(tmp_path / "zoo.zarr")) == 11


def test_a_failed_import_leaves_no_folders_behind(tmp_path, imported):
    """A failed import makes no parent folders."""
    (tmp_path / "nets").mkdir()
    with pytest.raises(ZooError, match="no file reader recognises a file"):
        imported("files", tmp_path / "nets", out="new/deeper/zoo.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["nets"]


@pytest.mark.parametrize("out", [".", "", "/"])
def test_an_existing_folder_is_not_overwritten(tmp_path, monkeypatch, imported, out):
    """A folder that is not a zoo is never overwritten."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZooError, match="exists"):
        imported("files", tmp_path, out=Path(out), overwrite=True, base=Path())


def test_the_current_folder_is_not_overwritten(tmp_path, monkeypatch, imported):
    """The current folder cannot be replaced, even if it is a zoo."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    imported("files", tmp_path)
    monkeypatch.chdir(tmp_path / "zoo.zarr")
    with pytest.raises(ZooError, match="lies in the zoo"):
        imported("files", tmp_path, out=Path(), overwrite=True, base=Path())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("007", "12"), ["007", "12"]),
        (("1_000", "2"), ["1_000", "2"]),
        (("1.5", "007"), ["1.5", "007"]),
        (("1.5", "9007199254740993"), ["1.5", "9007199254740993"]),
        (("123456789012345678901234567890", "1"), ["123456789012345678901234567890", "1"]),
        (("1.5", "+2", "-0", "1e3", ".5"), [1.5, 2.0, 0.0, 1000.0, 0.5]),
        (("+3", "-2"), [3, -2]),
        (("True", "false"), [True, False]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*is read as text because of:UserWarning")
def test_a_column_loses_no_digits(tmp_path, words, found):
    """Codes and large numbers stay text; other numbers are converted exactly."""
    lines = "".join(f"{n}.pt,{word}\n" for n, word in enumerate(words))
    (tmp_path / "t.csv").write_text(f"\n\nfile,x\n{lines}")
    read = [entry.properties["x"] for entry in read_table(tmp_path / "t.csv")]
    assert read == found
    assert [type(value) for value in read] == [type(value) for value in found]


def test_paths_in_a_table_are_normalised(tmp_path, imported):
    """Two spellings of one path are the same file."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    (tmp_path / "t.csv").write_text("file,x\na.pt,1\n./a.pt,2\n")
    with pytest.raises(ZooError, match=r"line 3: a\.pt is already in line 2"):
        imported("files", tmp_path, properties_from=(tmp_path / "t.csv",))
    (tmp_path / "t.csv").write_text("file,x\n./sub/../a.pt,1\n")
    (tmp_path / "sub").mkdir()
    zoo, skipped = imported("files", tmp_path, properties_from=(tmp_path / "t.csv",))
    assert (zoo.column("source").tolist(), skipped) == (["a.pt"], {})


@pytest.mark.parametrize(
    ("importer", "options"), [("files", {}), ("sane", {"like": "a.pt"}), ("model-zoos-pt", {})]
)
def test_an_unknown_activation_is_refused(tmp_path, imported, importer, options):
    """The error for an unknown activation suggests a similar one."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    torch.save({"trainset": 0}, tmp_path / "dataset.pt")
    source = tmp_path / "dataset.pt" if importer == "model-zoos-pt" else tmp_path
    options = {name: tmp_path / value for name, value in options.items()}
    with pytest.raises(ConfigError, match="there is no activation 'rleu', did you mean 'relu'"):
        imported(importer, source, activation="rleu", **options)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (
            torch.ones(8, 4, dtype=torch.int8),
            "of type int8; weights must be floating-point, and quantised",
        ),
        (torch.ones(8, 4, dtype=torch.complex64), "of type complex64; weights must be floating-point"),
    ],
)
def test_files_with_other_weights_than_floats_are_skipped(tmp_path, imported, tensor, said):
    """Files with int8 or complex weights are skipped; a bool mask is no weight."""
    state = factories.mlp().state_dict()
    torch.save({**state, "0.weight": tensor}, tmp_path / "a.pt")
    torch.save({**state, "mask": torch.ones(8, 4, dtype=torch.bool)}, tmp_path / "b.pt")
    zoo, skipped = imported("files", tmp_path)
    assert list(skipped) == ["a.pt"]
    assert skipped["a.pt"].startswith(f"'0.weight' is {said}")
    assert len(zoo) == 1


def test_nothing_to_import_is_an_error(tmp_path, imported):
    """Without any network, the import raises and writes no zoo."""
    (tmp_path / "nets").mkdir()
    with pytest.raises(ZooError, match="nets: no file reader recognises a file in this folder"):
        imported("files", tmp_path / "nets")
    (tmp_path / "nets" / "a.pt").write_bytes(b"")
    with pytest.raises(ZooError, match=r"a\.pt: the file is empty \(1 skipped in all, listed in "):
        imported("files", tmp_path / "nets")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nets", "zoo.zarr.skipped.csv"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the table is empty"),
        ("file,x\n", "the table is empty"),
        ("path,x\na.pt,1\n", "there is no column 'file'"),
        ("file,x\na.pt\n", "line 2 has 1 value, but there are 2 columns"),
        ("file,x,x\na.pt,1,2\n", "two columns have the same name"),
        (",file,x\n0,a.pt,1\n", "column 1 has no name .pandas writes a column"),
        ("file;x\na.pt;1\n", "there is no column 'file', .*; a .csv needs commas between columns"),
        ("file,x\na.pt,1\na.pt,2\n", "line 3: a.pt is already in line 2"),
        (
            "file;acc\na.pt;0,91\n",
            "damaged: the header has one column 'file;acc', but line 2 has 2 values; a .csv needs commas",
        ),
        ("file\na.pt,1\n", "damaged: the header has one column 'file', but line 2 has 2 values$"),
        ("file,split\na.pt,training\n", "'split' must be train, val, test or empty, but got 'training'"),
        ('file,x\n"a.pt,1\n', "damaged"),
        ("file,x\n,1\n", "'file' must be the name of a file"),
    ],
)
def test_a_damaged_table_is_one_line(tmp_path, imported, content, said):
    """An empty, damaged or ambiguous table raises one line with the reason."""
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ZooError, match=said):
        imported("files", tmp_path, properties_from=(tmp_path / "t.csv",))


@pytest.mark.parametrize("content", ["[1]", "{", '{"file": 3}', "[" * 100_000])
def test_damaged_json_lines_are_one_line(tmp_path, imported, content):
    """Damaged JSON lines raise one line with the name of the file."""
    (tmp_path / "t.jsonl").write_text(content)
    with pytest.raises(ZooError, match=r"t\.jsonl"):
        imported("files", tmp_path, properties_from=(tmp_path / "t.jsonl",))


def test_a_missing_table_is_named(tmp_path, imported):
    """A missing table and an unknown suffix raise an error with the path."""
    with pytest.raises(ZooError, match=r"gone\.csv: there is no such table"):
        imported("files", tmp_path, properties_from=(tmp_path / "gone.csv",))
    with pytest.raises(ZooError, match=r"t\.xlsx': must be a table \(\.csv, \.tsv, \.jsonl\)"):
        imported("files", tmp_path, properties_from=(tmp_path / "t.xlsx",))


@pytest.mark.parametrize("name", ["row", "architecture", "healthy", "source", "architecture_summary"])
def test_a_reserved_column_is_refused(tmp_path, imported, name):
    """A table cannot define a column that every zoo has."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    (tmp_path / "t.csv").write_text(f"file,{name}\na.pt,cnn\n")
    with pytest.raises(ZooError, match=rf"t\.csv, line 2: a property cannot be named '{name}'"):
        imported("files", tmp_path, properties_from=(tmp_path / "t.csv",))


def test_blanks_around_column_names_are_ignored(tmp_path, imported):
    """Blanks around names and values of a CSV are ignored."""
    rows = []
    for number, split in enumerate(["train", "val", "test"]):
        torch.save(factories.mlp().state_dict(), tmp_path / f"{number}.pt")
        rows.append(f"{number}.pt, g{number}, {split}\n")
    (tmp_path / "t.csv").write_text(f"file, group , split\n{''.join(rows)}")
    zoo, _ = imported("files", tmp_path, properties_from=(tmp_path / "t.csv",))
    assert zoo.properties == ("source",)
    assert zoo.split("table").tolist() == [0, 1, 2]


def test_an_unreadable_folder_is_listed(tmp_path, imported, monkeypatch):
    """An unreadable folder is listed as skipped, and the rest is imported."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    (tmp_path / "private").mkdir()
    scan = os.scandir

    def refuse(path):
        if not isinstance(path, int) and Path(path).name == "private":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    zoo, skipped = imported("files", tmp_path)
    assert (len(zoo), skipped) == (1, {"private": "Permission denied"})


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("factories", "a module factory must be given as package.module:function"),
        ("nowhere:make", "ModuleNotFoundError"),
        ("factories:gone", "AttributeError"),
        ("factories:number", "an int, not a function"),
        ("factories:broken", "factories:broken: KeyError: 'kind'; the function got no properties"),
        ("factories:nothing", "must return a torch.nn.Module, but returned NoneType"),
        ("builtins:dict", "builtins:dict: this function cannot build a module"),
        ("factories:lazy", "factories:lazy: LazyLinear: 'weight' has no shape yet"),
    ],
)
def test_an_unusable_module_factory_is_one_line(tmp_path, imported, word, said):
    """A module factory that is missing or fails raises one line, and no zoo is written."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=said):
        imported("files", tmp_path, module=word)
    assert not (tmp_path / "zoo.zarr").exists()


def test_weights_that_do_not_fit_the_module_are_skipped(tmp_path, imported):
    """Networks with other parameters than the module are skipped with the reason."""
    state = factories.mlp().state_dict()
    torch.save(state, tmp_path / "a.pt")
    torch.save({**state, "more": torch.zeros(2)}, tmp_path / "b.pt")
    torch.save(nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3)).state_dict(), tmp_path / "c.pt")
    zoo, skipped = imported("files", tmp_path, module="factories:always_mlp")
    assert len(zoo) == 1
    assert skipped == {
        "b.pt": "the file holds 'more', which Sequential does not have",
        "c.pt": "'0.weight' has shape (7, 4) in the file, and (8, 4) in Sequential",
    }


@pytest.mark.filterwarnings("ignore:.*taken as fixed:UserWarning")
def test_the_command_prints_the_origin_of_symmetry(folder, tmp_path):
    """`zoo import` prints a line for each origin of symmetry, with advice."""
    source, _, _, properties = folder
    words = ["zoo", "import", "files", str(source), "--properties-from", str(properties), "--out"]
    told = CliRunner().invoke(sneframe_command, [*words, str(tmp_path / "a.zarr")]).output
    assert (
        "no symmetry is known for 4 of 12 networks, so every neuron is taken as fixed; --module derives"
        in told
    )
    assert "symmetry guessed from names and shapes for 8 of 12 networks; --module derives" in told
    more = [str(tmp_path / "b.zarr"), "--module", "factories:of_row"]
    told = CliRunner().invoke(sneframe_command, [*words, *more]).output
    assert "symmetry derived from the computation and verified for 12 of 12 networks" in told
