from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from sneframe.errors import RunError
from sneframe.metrics import Scores
from sneframe.run_folder.environment import UsedPlugin
from sneframe.run_folder.load import read_folder

Edit = Callable[[Path, Callable[[dict[str, Any]], object]], None]

HEADER = "id,split,architecture,source,group,true,predicted"


def test_a_folder_is_read_back_as_values(write_run: Callable[..., Path], edit: Edit) -> None:
    """The files of a run folder are read as attrs classes."""
    folder = write_run(networks=6, epochs=2)
    edit(folder / "metrics.json", lambda d: d.update(test={"n": 6, "mse": 0.5, "r2": 0.25, "tau": None}))
    run = read_folder(folder)
    assert run.metrics.test == Scores(n=6, mse=0.5, r2=0.25, tau=None)
    assert [epoch.step for epoch in run.history] == [32, 64]
    used = UsedPlugin(distribution="sneframe", version="0.1.0")
    assert run.environment.plugins == {"sne": used, "head": used}
    assert run.name == "sne-default-001"


def test_only_test_networks_are_kept_of_the_predictions(write_run: Callable[..., Path], edit: Edit) -> None:
    """Rows of validation networks are left out."""
    folder = write_run(networks=6)
    edit(folder / "metrics.json", lambda d: d["test"].update(n=2))
    (folder / "embeddings.safetensors").unlink()
    rows = f"{HEADER}\n7,test,a,x.pt,u,1.0,1.5\n8,val,a,y.pt,u,3.0,3.0\n2,test,b,z.pt,v,-2e-3,0\n"
    (folder / "predictions.csv").write_text(rows, encoding="utf-8")
    predictions, *_ = read_folder(folder).predictions
    assert predictions.ids.tolist() == [7, 2]
    assert predictions.architecture.tolist() == ["a", "b"]
    assert predictions.source.tolist() == ["x.pt", "z.pt"]
    assert predictions.group.tolist() == ["u", "v"]
    assert predictions.true.tolist() == [1.0, -0.002]
    assert predictions.predicted.tolist() == [1.5, 0.0]


def test_a_missing_run_folder_is_named(tmp_path: Path) -> None:
    """The error names a run folder that does not exist."""
    with pytest.raises(RunError, match=r"^no such run folder: .*nowhere$"):
        read_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name", ["config.toml", "environment.json", "history.jsonl", "predictions.csv", "metrics.json"]
)
def test_a_missing_file_is_named(write_run: Callable[..., Path], name: str) -> None:
    """The error names a missing file and asks whether the run is finished."""
    folder = write_run(networks=6)
    (folder / name).unlink()
    with pytest.raises(RunError, match=rf"{name}: no such file; is the run finished\?$"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("name", "lost", "problem"),
    [
        ("config.toml", 6, "not TOML"),
        ("environment.json", 1, "not JSON"),
        ("history.jsonl", 2, "line 30: not JSON"),
        ("predictions.csv", 45, "line 13: must have 7 values"),
        ("metrics.json", 1, "not JSON"),
        ("metrics.json", 400, "not JSON"),
        ("embeddings.safetensors", 1, "not safetensors"),
    ],
)
def test_a_truncated_file_is_named_in_one_line(
    write_run: Callable[..., Path], name: str, lost: int, problem: str
) -> None:
    """The error for a file that ends too early names it and its problem in one line."""
    path = write_run(networks=6) / name
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(RunError, match=rf"{name}: {problem}") as caught:
        read_folder(path.parent)
    assert "\n" not in str(caught.value)


def test_missing_lines_of_predictions_are_noticed(write_run: Callable[..., Path]) -> None:
    """Fewer test networks than metrics.json counts are an error."""
    path = write_run(networks=6) / "predictions.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]), encoding="utf-8")
    with pytest.raises(
        RunError, match=r"predictions.csv: the file has 5 test networks, but metrics.json counts 6$"
    ):
        read_folder(path.parent)


def test_a_history_that_lacks_an_epoch_is_noticed(write_run: Callable[..., Path]) -> None:
    """Fewer epochs than metrics.json counts are an error."""
    path = write_run(networks=6, epochs=3) / "history.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:2]), encoding="utf-8")
    with pytest.raises(RunError, match=r"history.jsonl: the file has 2 epochs, but metrics.json counts 3$"):
        read_folder(path.parent)


def test_a_bad_value_of_an_epoch_is_named_by_line_and_place(write_run: Callable[..., Path]) -> None:
    """The error names the line, counted from 1, and the key."""
    path = write_run(networks=6, epochs=3) / "history.jsonl"
    first, second, third = path.read_text(encoding="utf-8").splitlines()
    bad = {**json.loads(second), "val": {"mse": "low"}}
    path.write_text("\n".join((first, json.dumps(bad), third)), encoding="utf-8")
    with pytest.raises(
        RunError, match=r"history.jsonl: line 2: val.mse: must be a finite number, got 'low'$"
    ):
        read_folder(path.parent)


def test_a_key_of_a_newer_sneframe_is_ignored(write_run: Callable[..., Path], edit: Edit) -> None:
    """A key that no class knows is ignored, since a newer sneframe may have written it."""
    folder = write_run(networks=6)
    edit(folder / "metrics.json", lambda d: d["test"].update(newer=1))
    assert read_folder(folder).metrics.test.n == 6


def test_a_run_without_epochs_needs_no_history(write_run: Callable[..., Path]) -> None:
    """A method without epochs writes no history, and its folder can be read."""
    folder = write_run(networks=6, epochs=0)
    (folder / "history.jsonl").unlink()
    run = read_folder(folder)
    assert run.history == ()
    assert run.metrics.best_epoch == 0


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1,train,a,s,g,0.0,0.0", "line 2: split must be val or test, but got 'train'"),
        ("1,test,a,s,g,0.0", "line 2: must have 7 values, but got 6"),
        ("1,test,a,s,g,zero,0.0", "line 2: could not convert string to float: 'zero'"),
        ("one,test,a,s,g,0.0,0.0", "line 2: .*'one'"),
        ("99999999999999999999,test,a,s,g,0.0,0.0", "line 2: "),
        ("1,test,a,s,g,0.0,nan", "line 2: a value must be finite, but got nan"),
        ("1,test,a,s,g,0.0,0.0\n1,test,a,s,g,0.0,0.0", "a test network has more than one row"),
        ('1,test,"a,s,g,0.0,0.0', "line 2: unexpected end of data"),
    ],
)
def test_a_bad_line_of_predictions_is_named(
    write_run: Callable[..., Path], edit: Edit, row: str, problem: str
) -> None:
    """The error names the line of predictions.csv and what is wrong with it."""
    folder = write_run(networks=6)
    edit(folder / "metrics.json", lambda d: d["test"].update(n=1 + row.count("\n")))
    text = f"{HEADER}\n{row}\n"
    (folder / "predictions.csv").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=rf"predictions.csv: {problem}"):
        read_folder(folder)


@pytest.mark.parametrize(("text", "got"), [("", "none"), ("id,true\n", "id, true")])
def test_other_columns_are_refused(write_run: Callable[..., Path], text: str, got: str) -> None:
    """predictions.csv must have exactly the columns that a run writes."""
    path = write_run(networks=6) / "predictions.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        RunError,
        match=rf"the columns must be id, split, architecture, source, group, true, predicted, but got {got}$",
    ):
        read_folder(path.parent)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d.pop("size"), "size is missing"),
        (lambda d: d["test"].pop("mse"), "test.mse is missing"),
        (lambda d: d["test"].update(mse=None), "test.mse: must be a finite number, got None"),
        (lambda d: d["val"].update(r2="good"), "val.r2: must be a finite number, got 'good'"),
        (lambda d: d["val"].update(r2=True), "val.r2: must be a finite number, got True"),
        (lambda d: d["val"].update(mse=float("nan")), "NaN is not a JSON number"),
        (lambda d: d["baseline"].update(test=[]), r"baseline.test: must be an object, got \[\]"),
        (lambda d: d.update(epochs=1.5), "epochs: must be a count, got 1.5"),
        (lambda d: d.update(size=-1), "size: must be a count, got -1"),
        (lambda d: d.update(property=3), "property: must be a string, got 3"),
        (lambda d: d["test"].update(n=0), "test.n is 0: there is nothing to report"),
        (lambda d: d["by_architecture"].update(x=None), "by_architecture.x: must be an object, got None"),
    ],
)
def test_a_bad_value_is_named_by_its_path(
    write_run: Callable[..., Path], edit: Edit, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    """The error names the key of a value that is missing or of the wrong type."""
    path = write_run(networks=6) / "metrics.json"
    edit(path, change)
    with pytest.raises(RunError, match=rf"metrics.json: {problem}$"):
        read_folder(path.parent)


@pytest.mark.parametrize(("number", "got"), [("1e999", "inf"), ("9" * 400, "9+...9+"), ("9" * 5000, "")])
def test_a_number_too_large_is_refused(write_run: Callable[..., Path], number: str, got: str) -> None:
    """A number that overflows a float is an error."""
    path = write_run(networks=6) / "metrics.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"e_noise": 0.57', f'"e_noise": {number}'), encoding="utf-8")
    problem = f"invariance.e_noise: must be a finite number, got {got}$" if got else "not JSON: "
    with pytest.raises(RunError, match=rf"metrics.json: {problem}"):
        read_folder(path.parent)


def test_json_that_is_no_object_is_refused(write_run: Callable[..., Path]) -> None:
    """A JSON file must hold an object."""
    path = write_run(networks=6) / "environment.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(RunError, match=r"environment.json: must be a JSON object, but got \[\]$"):
        read_folder(path.parent)


@pytest.mark.parametrize(
    ("resumed", "problem"),
    [({}, "resumed: must be a list, got {}"), ([{}], "resumed.0.sneframe is missing")],
)
def test_malformed_sessions_are_refused(
    write_run: Callable[..., Path], edit: Edit, resumed: object, problem: str
) -> None:
    """The record of resumed sessions must be a list of complete records."""
    path = write_run(networks=6) / "environment.json"
    edit(path, lambda d: d.update(resumed=resumed))
    with pytest.raises(RunError, match=f"environment.json: {problem}$"):
        read_folder(path.parent)


def test_text_that_is_not_utf8_is_refused(write_run: Callable[..., Path]) -> None:
    """The error names a text file that is not UTF-8."""
    path = write_run(networks=6) / "config.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(RunError, match=r"config.toml: not UTF-8"):
        read_folder(path.parent)


def test_a_file_that_cannot_be_read_is_named(write_run: Callable[..., Path]) -> None:
    """The error names a file that the system refuses to read, and why."""
    path = write_run(networks=6) / "config.toml"
    path.unlink()
    path.mkdir()
    with pytest.raises(RunError, match=r"config.toml: cannot be read: Is a directory$"):
        read_folder(path.parent)


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"ids": np.zeros(2, np.int64)}, "has no tensor values"),
        ({"ids": np.zeros(2, np.int64), "values": np.zeros((3, 4))}, r"got \(2,\) int64 and \(3, 4\)$"),
        ({"ids": np.zeros(2), "values": np.zeros((2, 4))}, r"got \(2,\) float64 and \(2, 4\)$"),
        ({"ids": np.array([10**6]), "values": np.zeros((1, 4))}, "network 1000000 is not a test network"),
        ({"ids": np.zeros(1, np.int64), "values": np.full((1, 4), np.inf)}, "values must be finite"),
    ],
)
def test_bad_embeddings_are_named(
    write_run: Callable[..., Path], tensors: dict[str, np.ndarray], problem: str
) -> None:
    """Embeddings of the wrong shape, type or networks are an error."""
    folder = write_run(networks=6)
    save_file(tensors, folder / "embeddings.safetensors")
    with pytest.raises(RunError, match=rf"embeddings.safetensors: .*{problem}"):
        read_folder(folder)


def test_embeddings_may_be_missing(write_run: Callable[..., Path]) -> None:
    """A run folder without embeddings can be read."""
    folder = write_run(networks=6)
    (folder / "embeddings.safetensors").unlink()
    assert read_folder(folder).embeddings is None
