"""``sneframe inspect``: one network, two networks, a folder, and what it refuses."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import sneframe
from sneframe.cli import main


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["inspect", *map(str, arguments)])
    out, err = capsys.readouterr()
    return left.value.code, out, err


def mlp(seed=0, width=12):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 3))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(mlp().state_dict(), path)
    return path


def test_one_file_is_shown_on_one_screen(capsys, file):
    """The facts, a line for each matrix, and what is unusual."""
    code, out, err = call(capsys, file)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == str(file)
    assert lines[1].split() == ["format", "sneframe/safetensors,", "708", "B"]
    assert "weights  111 in 4 parameters (float32 111)" in out
    assert "layers   2 linear" in out
    assert "2 vectors are not listed; --all lists them" in out
    (row,) = (line for line in lines if line.startswith("0.weight"))
    assert row.split()[1] == "12×5"
    assert "too few" in row
    assert lines[-1] == "nothing unusual was found"
    assert len(lines) < 25


def test_all_numbers_are_in_the_json(capsys, file):
    """--json prints one object with facts, parameters, singular values and findings."""
    weights = mlp().state_dict()
    weights["2.weight"][1] = 0
    save_file(weights, file)
    code, out, _ = call(capsys, file, "--json")
    found = json.loads(out)
    assert (code, found["weights"], found["dtypes"]) == (0, 111, {"float32": 111})
    by_name = {each["name"]: each for each in found["parameters"]}
    expected = torch.linalg.svdvals(weights["0.weight"].double())
    assert by_name["0.weight"]["spectrum"]["values"] == pytest.approx(expected.tolist(), rel=1e-5)
    assert by_name["0.weight"]["power_law"] is None
    assert by_name["0.bias"]["spectrum"] is None
    (finding,) = found["findings"]
    assert (finding["kind"], finding["parameters"]) == ("dead rows", ["2.weight"])


def test_values_that_are_not_finite_are_shown(capsys, file):
    """NaN does not stop the command; the parameter is named first, in text and in JSON."""
    weights = mlp().state_dict()
    weights["0.weight"][0, 0] = math.nan
    save_file(weights, file)
    code, out, _ = call(capsys, file)
    assert code == 0
    assert "! not finite: 0.weight: 1 value of 60 NaN or infinite" in out
    assert json.loads(call(capsys, file, "--json")[1])["parameters"][0]["lacking"] == 1


def test_a_page_is_written(capsys, file, tmp_path):
    """--html writes a page that loads nothing, with a plot for each matrix."""
    page = tmp_path / "page.html"
    code, _, _ = call(capsys, file, "--html", page)
    text = page.read_text(encoding="utf-8")
    assert code == 0
    assert "default-src 'none'" in text
    assert text.count("<svg") == 3
    assert "<script" not in text
    assert "0.weight" in text


def test_two_files_are_compared(capsys, file, tmp_path):
    """The second file is described by what changed from the first."""
    other, weights = tmp_path / "other.safetensors", mlp().state_dict()
    weights["2.bias"] += 0.1
    save_file(weights, other)
    code, out, _ = call(capsys, file, other, "--html", tmp_path / "page.html")
    assert code == 0
    assert out.splitlines()[1].startswith("1 of 4 common parameters differ")
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("0.", "2."))] == ["2.bias"]
    assert "2.bias" in (tmp_path / "page.html").read_text(encoding="utf-8")
    found = json.loads(call(capsys, file, other, "--json")[1])
    assert (found["verdict"], len(found["changes"])) == ("related", 4)
    assert call(capsys, file, file)[1].splitlines()[1] == "Both networks are the same."


@pytest.mark.filterwarnings("always:left out")
def test_a_folder_is_a_list(capsys, tmp_path):
    """A folder has one row for each network, in the order of --sort, and the nearest of each."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, width in (("b", 12), ("a", 20), ("c", 20)):
        save_file(mlp(width=width).state_dict(), folder / f"{name}.safetensors")
    (folder / "broken.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}")
    code, out, err = call(capsys, folder, "--html", tmp_path / "page.html")
    assert code == 0
    first, _, *rows = out.splitlines()
    assert first == f"in {folder}:"
    assert [row.split()[0] for row in rows] == ["a.safetensors", "b.safetensors", "c.safetensors"]
    assert rows[0].split()[-1] == "c.safetensors"
    assert "left out" in err
    assert "broken.safetensors" in err
    assert "a.safetensors" in (tmp_path / "page.html").read_text(encoding="utf-8")
    listed = json.loads(call(capsys, folder, "--json", "--sort", "weights")[1])["networks"]
    assert [each["weights"] for each in listed] == [111, 183, 183]


def test_a_folder_becomes_a_zoo(capsys, tmp_path):
    """--save imports the networks that were listed."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for seed in range(3):
        save_file(mlp(seed).state_dict(), folder / f"{seed}.safetensors")
    code, out, _ = call(capsys, folder, "--activation", "relu", "--save", tmp_path / "made.zarr")
    assert (code, out.splitlines()[-1]) == (0, f"zoo: {tmp_path / 'made.zarr'}")
    zoo = sneframe.open_zoo(tmp_path / "made.zarr")
    assert len(zoo) == 3
    assert zoo.architectures[0].layers[0].activation == "relu"
    code, _, err = call(capsys, folder / "0.safetensors", "--save", tmp_path / "other.zarr")
    assert (code, err) == (2, "error: --save needs one folder of networks\n")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    save_file(mlp().state_dict(), model / "model.safetensors")
    code, _, err = call(capsys, model, "--save", tmp_path / "other.zarr")
    assert code == 2
    assert "--save needs a folder of networks, but" in err


def test_a_change_from_zero_is_said(capsys, file, tmp_path):
    """A bias that was zero has no relative change: the text says so, and JSON has null."""
    weights = mlp().state_dict()
    weights["0.bias"].zero_()
    save_file(weights, file)
    weights["0.bias"] += 1
    save_file(weights, tmp_path / "other.safetensors")
    _, out, _ = call(capsys, file, tmp_path / "other.safetensors")
    assert "was zero" in out
    code, out, _ = call(capsys, file, tmp_path / "other.safetensors", "--json")
    changes = {each["name"]: each["relative"] for each in json.loads(out)["changes"]}
    assert (code, changes["0.bias"], changes["0.weight"]) == (0, None, 0.0)


@pytest.mark.filterwarnings("always:left out")
def test_a_folder_of_broken_files_is_refused(capsys, tmp_path):
    """If no file of a folder can be read, the command fails with one line besides the warnings."""
    for name in "ab":
        (tmp_path / f"{name}.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}")
    code, out, err = call(capsys, tmp_path)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "error: none of the 2 networks can be read"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no network at all, only a line of text", "no reader recognises this file"),
        (None, "no such file"),
    ],
)
def test_what_is_no_network_gets_one_line(capsys, tmp_path, content, said):
    """A file of no known kind, and a missing file, are refused in one line that names them."""
    path = tmp_path / "thing.txt"
    if content is not None:
        path.write_bytes(content)
    code, out, err = call(capsys, path)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert "thing.txt" in err
    assert said in err


def test_the_state_of_an_optimiser_is_no_network(capsys, tmp_path):
    """A file with only the state of an optimiser says so."""
    model = mlp()
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 5)).sum().backward()
    optimiser.step()
    torch.save(optimiser.state_dict(), tmp_path / "optimiser.pt")
    code, _, err = call(capsys, tmp_path / "optimiser.pt")
    assert code == 2
    assert "the state of an optimiser, not of a network" in err
