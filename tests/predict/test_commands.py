"""``sneframe predict``, ``embed``, ``similar`` and ``map``."""

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sneframe
from sneframe.architecture import Architecture
from sneframe.cli import main
from sneframe.compose import recipe
from sneframe.zoo import create, export, open_zoo


@pytest.fixture
def call(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in arguments])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return run


def test_predict_prints_a_table(call, finished, file):
    """predict prints a table with a value and its error for each file."""
    code, out, _ = call("predict", finished, file)
    assert code == 0
    assert all(word in out for word in ("network", "scale", "label", "distance"))


def test_predict_prints_json(call, finished, file):
    """predict --json prints all facts about each network."""
    code, out, _ = call("predict", finished, file, "--json")
    (found,) = json.loads(out)
    assert code == 0
    assert found["source"] == str(file)
    assert set(found["values"]) == {"scale", "label"}
    assert found["values"]["label"] in ("label 0", "label 1")
    assert found["distance"] > 0
    assert found["unseen"] == []


@pytest.fixture
def own(zoo_path, tmp_path):
    """The files of three networks of the zoo. The third has weights that are far too large."""
    (networks, *_) = open_zoo(zoo_path).load().select([5, 8, 11]).networks
    for row, factor in enumerate((1, 1, 1000)):
        state = {name: factor * value[row] for name, value in networks.parameters().items()}
        torch.save(state, tmp_path / f"own{row}.pt")
    return [tmp_path / f"own{row}.pt" for row in range(3)]


def test_predict_prints_intervals(call, finished, own):
    """A number has low and high, a category a set; a doubtful network has none."""
    code, out, err = call("predict", finished, *own)
    assert code == 0
    assert "low" in out
    assert "high" in out
    assert "90 % set" in out
    assert re.search(r"scale: 90 % intervals contain the true value for [\d.]+ % of \d+ test networks\n", out)
    assert re.search(r"label: 90 % sets contain the true label for [\d.]+ % of \d+ test networks\n", out)
    (_, _, far) = (line.split() for line in out.splitlines() if re.search(r" scale  .* (–|\d)", line))
    assert far[-3:] == ["–", "–", "–"]
    assert "marked as doubtful or meaningless, which have no interval" in out
    assert "own2.pt: the root mean square of its linear.weight is" in err


def test_json_has_intervals_and_reasons(call, finished, own):
    """Each property has the level and either limits, or labels, or a reason."""
    _, out, _ = call("predict", finished, *own, "--json", "--level", 0.8)
    near, _, far = (each["intervals"] for each in json.loads(out))
    assert near["scale"]["level"] == 0.8
    assert near["scale"]["low"] < json.loads(out)[0]["values"]["scale"] < near["scale"]["high"]
    assert (near["scale"]["labels"], near["scale"]["reason"]) == (None, None)
    assert set(near["label"]["labels"]) <= {"label 0", "label 1"}
    assert json.loads(out)[0]["values"]["label"] in near["label"]["labels"]
    assert (far["scale"]["low"], far["label"]["labels"]) == (None, None)
    assert "far from all training networks" in far["scale"]["reason"]


def test_a_level_that_is_too_high_is_explained(call, finished, own):
    """There are numbers without intervals, and one line with the reason."""
    code, out, _ = call("predict", finished, own[0], "--level", 0.99)
    assert code == 0
    assert "low" not in out
    assert out.count("no 99 % intervals: a 99 % interval needs 99 run groups of validation networks") == 1


@pytest.mark.parametrize("level", ["0", "1", "90", "much"])
def test_a_level_that_is_no_probability_is_refused(call, finished, file, level):
    """--level lies between 0 and 1."""
    code, _, err = call("predict", finished, file, "--level", level)
    assert (code, err.count("\n")) == (2, 1)
    assert "--level" in err


def test_one_property_has_its_interval_in_the_same_table(call, zoo_path, own, tmp_path):
    """With several properties there is a second table, because one would be too wide."""
    config = recipe("stats/ridge", f"zoo.path={zoo_path}", "zoo.property=scale", "device=cpu")
    run = sneframe.run(config, tmp_path / "run", report=False).folder
    _, out, _ = call("predict", run, own[0], "--json")
    (found,) = json.loads(out)
    low, high = (f"{found['intervals']['scale'][end]:.4g}" for end in ("low", "high"))
    _, out, _ = call("predict", run, own[0])
    (line,) = (line for line in out.splitlines() if low in line)
    assert high in line
    assert f"{found['values']['scale']:.6g} ± " in line
    assert out.count("distance") == 1


def test_a_damaged_file_does_not_stop_the_others(call, finished, file, tmp_path):
    """Files that cannot be read are named, and the others are predicted."""
    (tmp_path / "bad.pt").write_bytes(b"")
    code, out, err = call("predict", finished, tmp_path / "bad.pt", file, tmp_path / "gone.pt", "--json")
    assert code == 2
    assert [each["source"] for each in json.loads(out)] == [str(file)]
    lines = [line for line in err.splitlines() if line.startswith("error")]
    assert lines == [
        f"error: {tmp_path}/bad.pt: the file is empty",
        f"error: {tmp_path}/gone.pt: no such file",
    ]


def test_a_file_without_permission_does_not_stop_the_others(call, finished, file, tmp_path, monkeypatch):
    """A file without permission to read is named, and the others are predicted."""
    private = tmp_path / "private.pt"
    private.write_bytes(file.read_bytes())
    opened, access = Path.open, os.access

    def refuse(path, *arguments, **options):
        if path.name == "private.pt":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, *more: Path(path) != private and access(path, *more))
    code, out, err = call("predict", finished, private, file, "--json")
    assert code == 2
    assert [each["source"] for each in json.loads(out)] == [str(file)]
    assert f"error: {private}: Permission denied\n" in err


def test_a_network_that_is_not_finite_does_not_stop_the_others(call, finished, file, network, tmp_path):
    """A network with NaN is named, and the others are predicted."""
    state = {name: value * float("nan") for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "nan.pt")
    code, out, err = call("predict", finished, tmp_path / "nan.pt", file, "--json")
    assert code == 2
    assert [each["source"] for each in json.loads(out)] == [str(file)]
    assert "nan.pt: its embedding is not finite" in err


def test_the_networks_in_a_folder_are_predicted(call, finished, file, network, tmp_path):
    """A folder is searched at any depth. A file that cannot be read is named."""
    folder = tmp_path / "nets"
    (folder / "deep").mkdir(parents=True)
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, folder / "deep" / "a.pth.tar")
    (folder / "b.pt").write_bytes(b"")
    (folder / "notes.md").write_text("notes")
    code, out, err = call("predict", finished, folder, file, "--json")
    assert code == 2
    found = json.loads(out)
    assert [each["source"] for each in found] == [str(folder / "deep" / "a.pth.tar"), str(file)]
    assert found[0]["values"] == found[1]["values"]
    assert f"error: {folder}/b.pt: the file is empty\n" in err


@pytest.mark.parametrize("command", ["predict", "embed", "map"])
def test_a_folder_without_networks_is_named(call, command, finished, tmp_path):
    """A folder in which nothing is recognised is refused by each command."""
    (tmp_path / "empty").mkdir()
    more = {"embed": ["--out", tmp_path / "e.csv"], "map": ["--out", tmp_path / "m.html"]}.get(command, [])
    code, _, err = call(command, finished, tmp_path / "empty", *more)
    said = "the folder is no zoo, and no file reader recognises a file in it"
    assert (code, err) == (2, f"error: {tmp_path}/empty: {said}\n")


@pytest.mark.filterwarnings("always:left out")
def test_the_networks_in_a_folder_are_embedded(call, finished, network, tmp_path):
    """embed takes a folder, and leaves out with a warning what cannot be read."""
    folder = tmp_path / "nets"
    folder.mkdir()
    torch.save(network.state_dict(), folder / "a.pt")
    (folder / "b.pt").write_bytes(b"")
    code, _, err = call("embed", finished, folder, "--out", tmp_path / "e.npz")
    assert code == 0
    assert f"left out: {folder}/b.pt: the file is empty" in err
    assert np.load(tmp_path / "e.npz")["embedding"].shape[0] == 1


def test_a_zoo_cannot_be_predicted(call, finished, zoo_path):
    """predict takes files, and says so for a zoo."""
    code, _, err = call("predict", finished, zoo_path)
    assert code == 2
    assert "this is a zoo; give files or a folder of files, or export the zoo first" in err


def test_names_are_changed_before_a_network_is_predicted(call, finished, file, network, tmp_path):
    """A file with other names gets the architecture of training by --strip-prefix and --rename."""
    state = {f"backbone.x{name}": value for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "own.pt")
    words = ("--strip-prefix", "backbone.", "--rename", "s/^x//", "--json")
    code, out, _ = call("predict", finished, tmp_path / "own.pt", *words)
    assert (code, json.loads(out)[0]["unseen"]) == (0, [])
    _, plain, _ = call("predict", finished, file, "--json")
    assert json.loads(out)[0]["values"] == json.loads(plain)[0]["values"]


@pytest.mark.filterwarnings("ignore:.*cannot be part of a plain chain")
def test_control_codes_in_a_name_do_not_reach_the_terminal(call, finished, tmp_path):
    """Control codes in the names of parameters are replaced."""
    torch.save({"\x1b]0;title\x07w": torch.ones(2)}, tmp_path / "hostile.pt")
    code, out, err = call("predict", finished, tmp_path / "hostile.pt")
    assert code == 0
    assert "it has only parameter.\ufffd]0;title\ufffdw, which no training network has" in err
    assert "\x1b" not in out + err


@pytest.mark.parametrize("ending", ["csv", "npz", "parquet"])
def test_embed_writes_zoos_and_files(call, finished, zoo_path, file, tmp_path, ending):
    """embed writes one row for each network of zoos and files."""
    code, out, _ = call("embed", finished, zoo_path, file, "--out", tmp_path / f"e.{ending}")
    assert code == 0
    assert "121 networks, 64 numbers each" in out
    assert (tmp_path / f"e.{ending}").stat().st_size > 1000


def test_embed_looks_at_the_ending_first(call, tmp_path):
    """embed refuses an unknown ending before it encodes anything."""
    code, _, err = call("embed", tmp_path / "no-run", tmp_path, "--out", tmp_path / "e.xlsx")
    assert (code, err.count("\n")) == (2, 1)
    assert "e.xlsx: the name must end in .csv, .npz, .parquet" in err


@pytest.mark.parametrize(("command", "ending"), [("embed", ".csv"), ("map", ".html")])
def test_an_unusable_out_is_refused_before_encoding(
    call, finished, zoo_path, tmp_path, monkeypatch, command, ending
):
    """embed and map refuse an unusable --out before they encode anything."""
    monkeypatch.setattr("sneframe.predict.predictor.Predictor.embed", lambda *_: pytest.fail("encoded"))
    (tmp_path / f"folder{ending}").mkdir()
    os.mkfifo(tmp_path / f"pipe{ending}")
    for out, said in (
        (f"{tmp_path}/gone/e{ending}", f"there is no folder {tmp_path}/gone"),
        (f"{tmp_path}/folder{ending}", "is a folder, but the name of a file is needed"),
        (f"{tmp_path}/pipe{ending}", "is no plain file, but the name of a file is needed"),
        (f"{zoo_path}/e{ending}", f"lies in the zoo {zoo_path}; choose a path outside of it"),
        (f"{tmp_path}/net.safetensors", "the name must end in"),
    ):
        code, _, err = call(command, finished, zoo_path, "--out", out)
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(f"error: {out}: {said}")


def test_similar_lists_the_nearest_first(call, finished, zoo_path, file):
    """similar lists the networks of the zoo by distance."""
    code, out, _ = call("similar", finished, zoo_path, file, "-k", 5, "--json")
    found = json.loads(out)
    assert code == 0
    assert len(found) == 5
    assert [each["distance"] for each in found] == sorted(each["distance"] for each in found)
    assert {"scale", "label", "kind", "architecture", "group"} <= set(found[0]["properties"])
    code, out, _ = call("similar", finished, zoo_path, file, "-k", 3, "--show", "kind,label")
    assert all(word in out for word in ("network", "distance", "kind", "label"))


def test_similar_refuses_zoo_and_file_the_wrong_way_round(call, finished, zoo_path, file):
    """similar names a file given as the zoo, and a zoo given as the file."""
    code, _, err = call("similar", finished, file, zoo_path)
    assert (code, err) == (2, f"error: {file}: this is a file; give the folder of a zoo\n")
    code, _, err = call("similar", finished, zoo_path, zoo_path)
    said = "this is a folder, and no reader recognises it as one network; give the file of one network"
    assert (code, err) == (2, f"error: {zoo_path}: {said}\n")


@pytest.mark.parametrize(
    ("show", "problem"),
    [
        ("kind,kind", "the property 'kind' is named twice"),
        ("", "the name of a property must not be empty"),
        ("kind,,label", "the name of a property must not be empty"),
    ],
)
def test_similar_refuses_names_that_are_none(call, finished, zoo_path, file, show, problem):
    """A property that is named twice or not at all is one line that says so."""
    code, _, err = call("similar", finished, zoo_path, file, "--show", show)
    assert (code, err) == (2, f"error: --show {show!r}: {problem}\n")


def test_similar_says_which_properties_there_are(call, finished, zoo_path, file):
    """similar --show names the known properties if one is unknown."""
    code, _, err = call("similar", finished, zoo_path, file, "--show", "kinds")
    assert code == 2
    assert "there is no property 'kinds', did you mean 'kind'?" in err


def test_a_network_of_the_zoo_is_its_own_nearest(call, finished, zoo_path, tmp_path):
    """A network that is in the zoo is at distance 0 from itself."""
    from safetensors.torch import save_file

    from sneframe.zoo import open_zoo

    weights = open_zoo(zoo_path).load().select([17]).networks[0].parameters()
    save_file({name: value[0].contiguous() for name, value in weights.items()}, tmp_path / "17.safetensors")
    _, out, _ = call("similar", finished, zoo_path, tmp_path / "17.safetensors", "-k", 1, "--json")
    (found,) = json.loads(out)
    assert found["source"] == "toy/17"
    assert found["distance"] == pytest.approx(0, abs=1e-4)


def test_map_writes_one_page(call, finished, zoo_path, file, tmp_path):
    """map writes one page that loads nothing."""
    code, out, _ = call("map", finished, zoo_path, file, "--out", tmp_path / "m.html")
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert (code, out.strip()) == (0, str(tmp_path / "m.html"))
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert len(data["source"]) == 121
    assert data["source"][-1] == str(file)
    assert data["colour"] == "scale"
    assert np.array(data["maps"]["t-SNE"]).shape == (121, 2)
    assert "http://" not in page
    assert "https://" not in page


@pytest.fixture
def broken_zoo(tmp_path):
    """Twenty networks: two have too large weights, one is unhealthy, and a property is infinite."""
    architecture = Architecture.from_module(nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1)))
    weights = {p.name: torch.randn(20, *p.shape) for p in architecture.parameters}
    weights["0.weight"][3] = 1e30
    weights["2.bias"][7] = -1e30
    weights["0.bias"][9] = float("nan")
    with create(tmp_path / "broken.zarr", name="broken") as zoo:
        zoo.append(architecture, weights, {"scale": [float("inf")] * 20, "a,b": [7] * 20})
    return tmp_path / "broken.zarr"


@pytest.mark.filterwarnings("default:.*are left out")
def test_networks_without_a_finite_embedding_are_left_out(call, finished, broken_zoo, file, tmp_path):
    """Networks of a zoo without a finite embedding are left out with a warning."""
    left = f"{broken_zoo}: 3 of 20 networks are left out"
    said = f"warning: {left}: weights that are not finite, or too large for a finite embedding"
    code, out, err = call("similar", finished, broken_zoo, file, "-k", 20, "--json")
    found = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (code, err.splitlines()) == (0, [said])
    assert {each["source"] for each in found} == {f"broken/{n}" for n in range(20) if n not in (3, 7, 9)}
    assert {each["properties"]["scale"] for each in found} == {None}
    for command, out in (("map", "m.html"), ("embed", "e.csv")):
        code, _, err = call(command, finished, broken_zoo, "--out", tmp_path / out)
        assert (code, err.splitlines()) == (0, [said])
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 18


@pytest.mark.filterwarnings("default:.*are left out")
def test_a_property_with_a_comma_in_its_name_is_shown(call, finished, broken_zoo, file):
    """similar --show takes a property whose name has a comma."""
    code, out, _ = call("similar", finished, broken_zoo, file, "--show", "a,b", "-k", 1)
    assert code == 0
    assert "a,b" in out


@pytest.mark.filterwarnings("default:.*are left out", "default::sneframe.predict.prediction.DoubtWarning")
def test_a_zoo_without_any_finite_embedding_is_refused(call, finished, broken_zoo, file, tmp_path):
    """A zoo none of whose networks has a finite embedding is refused."""
    export(open_zoo(broken_zoo).select([3, 7]), tmp_path / "files")
    none = tmp_path / "none.zarr"
    assert call("zoo", "import", "files", tmp_path / "files/networks", "--out", none)[0] == 0
    code, _, err = call("similar", finished, none, file)
    assert code == 2
    assert err.splitlines()[-1] == f"error: {none}: none of the 2 networks has a finite embedding"


@pytest.mark.parametrize("command", ["predict", "embed", "similar", "map"])
def test_a_folder_that_is_no_run_is_one_line(call, command, tmp_path, file, zoo_path):
    """A folder without a model is refused with one line by each command."""
    more = {"embed": ["--out", tmp_path / "e.csv"]}.get(command, [])
    networks = [zoo_path, file] if command == "similar" else [file]
    code, _, err = call(command, tmp_path, *networks, *more)
    assert (code, err) == (2, f"error: {tmp_path}: the folder holds no model: best.safetensors is missing\n")


@pytest.mark.parametrize(
    ("word", "rc"), [("2GB", 0), ("512 MiB", 0), ("100000000", 0), ("much", 2), ("2TB", 2), ("1.2.3GB", 2)]
)
def test_memory_is_a_size(call, finished, file, word, rc):
    """--memory takes sizes with units and refuses others."""
    code, _, err = call("predict", finished, file, "--memory", word)
    assert code == rc
    assert ("is not a size such as 2GB" in err) == (rc == 2)


@pytest.mark.parametrize("command", ["predict", "embed", "similar", "map"])
def test_a_bound_that_cannot_be_met_is_refused(call, command, finished, tmp_path, file, zoo_path):
    """Every command that has --memory says the least that can, and writes nothing."""
    more = {"embed": ["--out", tmp_path / "e.csv"], "map": ["--out", tmp_path / "m.html"]}.get(command, [])
    networks = [zoo_path, file] if command == "similar" else [file]
    code, _, err = call(command, finished, *networks, *more, "--memory", "1B")
    assert (code, err) == (2, "error: memory: 1 B is too little; this model needs at least 20 MiB\n")
    assert not list(tmp_path.glob("[em].*"))


@pytest.mark.filterwarnings("always::sneframe.predict.prediction.DoubtWarning")
def test_a_guessed_symmetry_is_said(call, finished, tmp_path):
    """A file whose layers are taken for a chain by their names is predicted and embedded with a warning."""
    net = nn.Sequential(nn.Linear(1, 5), nn.ReLU(), nn.Linear(5, 1))
    torch.save(net.state_dict(), tmp_path / "a.pt")
    code, out, err = call("predict", finished, tmp_path / "a.pt", "--json")
    assert (code, json.loads(out)[0]["symmetry"]) == (0, "guessed")
    assert "its symmetry is guessed from names and shapes" in err
    code, _, err = call("embed", finished, tmp_path / "a.pt", "--out", tmp_path / "a.csv")
    assert code == 0
    assert "a.pt: symmetry guessed from names and shapes for 1 of 1 network" in err


# -- many files on an engine ----------------------------------------------------------------------------


@pytest.fixture
def many(network, tmp_path):
    """A folder of three networks and a file that cannot be read."""
    for number in range(3):
        state = {name: (number + 1) * value for name, value in network.state_dict().items()}
        torch.save(state, tmp_path / f"{number}.pt")
    (tmp_path / "bad.pt").write_bytes(b"")
    return tmp_path


@pytest.mark.filterwarnings("ignore", "always:left out")
def test_workers_embed_the_same_table(call, finished, many, tmp_path_factory):
    """Two processes write the rows of one, in the same order, and leave out the same file."""
    out = tmp_path_factory.mktemp("out")
    tables, said = [], []
    for name, how in (("serial", []), ("process", ["--engine", "process", "--workers", "2"])):
        code, _, err = call("embed", finished, many, "--out", out / f"{name}.npz", *how)
        assert code == 0
        said.append([line for line in err.splitlines() if "left out" in line])
        tables.append(np.load(out / f"{name}.npz"))
    assert tables[0]["source"].tolist() == tables[1]["source"].tolist()
    assert len(tables[0]["source"]) == 3
    np.testing.assert_allclose(tables[1]["embedding"], tables[0]["embedding"], rtol=1e-5, atol=1e-6)
    assert len(said[0]) == 1
    assert said[0] == said[1]


@pytest.mark.filterwarnings("ignore")
def test_workers_predict_the_same_values(call, finished, many):
    """Predictions, doubts and the error for the file that cannot be read are the same."""
    answers = [
        call("predict", finished, many, "--json", *how)
        for how in ([], ["--engine", "process", "--workers", "2"])
    ]
    (code, out, err), other = answers
    assert (code, len(json.loads(out))) == (2, 3)
    assert (other[0], other[2]) == (code, err)
    for one, two in zip(json.loads(out), json.loads(other[1]), strict=True):
        assert one["source"] == two["source"]
        assert one["doubts"] == two["doubts"]
        assert one["values"]["label"] == two["values"]["label"]
        assert one["values"]["scale"] == pytest.approx(two["values"]["scale"], rel=1e-5)


@pytest.mark.parametrize("command", ["predict", "embed", "map"])
def test_workers_without_an_engine_are_refused(call, finished, file, command):
    """--workers alone would be ignored."""
    words = ["--out", "x.npz"] if command == "embed" else []
    code, _, err = call(command, finished, file, "--workers", "2", *words)
    assert (code, err) == (2, "error: --workers needs --engine process or --engine ray\n")


@pytest.mark.parametrize("command", ["predict", "embed", "map"])
def test_an_address_without_ray_is_refused(call, finished, file, command):
    """The address of a cluster would be ignored by another engine."""
    words = ["--out", "x.npz"] if command == "embed" else []
    code, _, err = call(command, finished, file, "--address", "ray://host:10001", *words)
    line = "error: --address ray://host:10001 needs --engine ray, but the engine is serial\n"
    assert (code, err) == (2, line)
