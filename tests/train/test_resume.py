"""Resuming a run: its directory, options and zoo, and the record of its sessions."""

import json
import threading
import tomllib

import pytest
from attrs import evolve

import sneframe
from sneframe.cli import main
from sneframe.errors import RunError
from sneframe.run_folder.create import open_folder
from sneframe.run_folder.environment import Environment, UsedZoo
from sneframe.testing import toy_zoo

ENVIRONMENT = Environment(
    sneframe="0.1.0",
    python="3.12.4",
    platform="Linux",
    packages={},
    plugins={},
    device="cpu",
    precision="no",
    processes=1,
    threads=1,
    zoo=UsedZoo(name="toy", path="toy.zarr", digest="0123", networks=20, architectures={}),
    recipe=None,
    started="2026-03-01T09:30:00+00:00",
)


def command(*arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Return a folder with a zoo, and a run in it that was started with a relative path."""
    toy_zoo(tmp_path / "zoos" / "toy.zarr")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_here():
    words = ("--plugin", "stats", "--set", "head.trees=2", "--device", "cpu", "--quiet", "--no-report")
    assert command("run", *words, "--zoo", "zoos/toy.zarr", "--out", "run") == 0


# -- the directory -------------------------------------------------------------------------------------------


def test_a_run_can_be_repeated_from_its_folder(elsewhere, monkeypatch):
    """config.toml works from inside the run folder although the zoo's path was relative."""
    run_here()
    monkeypatch.chdir(elsewhere / "run")
    assert command("run", "--config", "config.toml", "--out", "../again", "--quiet", "--no-report") == 0


def test_a_run_is_resumed_from_another_directory(elsewhere, monkeypatch):
    """A run can be resumed from another working directory."""
    run_here()
    monkeypatch.chdir(elsewhere / "other")
    assert command("run", "--resume", "../run", "--quiet", "--no-report") == 0


def test_a_relative_path_is_written_in_full(elsewhere):
    """config.toml holds the absolute path of the zoo."""
    run_here()
    written = tomllib.loads((elsewhere / "run" / "config.toml").read_text())
    assert written["zoo"]["path"] == str(elsewhere / "zoos" / "toy.zarr")


# -- the options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("--plugin", "sne"),
        ("--config", "x.toml"),
        ("--set", "seed=1"),
        ("--zoo", "x.zarr"),
        ("--property", "scale"),
        ("--seed", "0"),
        ("--out", "x"),
    ],
)
def test_resume_refuses_options_that_change_the_run(elsewhere, capsys, words):
    """--resume cannot be combined with an option that would change the run."""
    run_here()
    assert command("run", "--resume", "run", *words) == 2
    assert f"leave out {words[0]}\n" in capsys.readouterr().err


def test_a_run_may_move_to_another_device(elsewhere):
    """--resume takes --device, and config.toml stays as it was."""
    run_here()
    before = (elsewhere / "run" / "config.toml").read_text()
    assert command("run", "--resume", "run", "--device", "auto", "--quiet", "--no-report") == 0
    assert (elsewhere / "run" / "config.toml").read_text() == before


def test_a_damaged_configuration_is_named(elsewhere, capsys):
    """The error names a config.toml that cannot be read."""
    run_here()
    (elsewhere / "run" / "config.toml").write_text("seed = ")
    assert command("run", "--resume", "run") == 2
    assert "run/config.toml: " in capsys.readouterr().err


# -- the zoo and the sessions --------------------------------------------------------------------------------


def test_resume_refuses_another_zoo(elsewhere, capsys):
    """A run is not resumed on a zoo with another digest, and its record stays as it was."""
    run_here()
    before = (elsewhere / "run" / "environment.json").read_text()
    (elsewhere / "zoos" / "toy.zarr").rename(elsewhere / "zoos" / "old.zarr")
    toy_zoo(elsewhere / "zoos" / "toy.zarr", seed=1)
    assert command("run", "--resume", "run") == 2
    said = capsys.readouterr().err
    assert "toy.zarr is not the zoo that run began with: the digest must be " in said
    assert len(said.splitlines()) == 1
    assert (elsewhere / "run" / "environment.json").read_text() == before


def test_every_session_is_recorded(elsewhere):
    """environment.json records each session that resumed the run."""
    run_here()
    first = json.loads((elsewhere / "run" / "environment.json").read_text())
    assert "resumed" not in first
    for number in (1, 2):
        assert command("run", "--resume", "run", "--quiet", "--no-report") == 0
        record = json.loads((elsewhere / "run" / "environment.json").read_text())
        assert {**record, "resumed": None} == {**first, "resumed": None}
        assert [sorted(session) for session in record["resumed"]] == [sorted(first)] * number


@pytest.mark.parametrize("content", ["", "[]", '{"zoo": 5}', "{}"])
def test_a_damaged_record_is_named(elsewhere, capsys, content):
    """The error names an environment.json that cannot be read."""
    run_here()
    (elsewhere / "run" / "environment.json").write_text(content)
    assert command("run", "--resume", "run") == 2
    assert "run/environment.json: " in capsys.readouterr().err


def test_resume_removes_unfinished_files(elsewhere):
    """Resuming removes temporary files that a killed process left."""
    run_here()
    (elsewhere / "run" / ".last.safetensors.0123.tmp").write_bytes(b"half")
    assert command("run", "--resume", "run", "--quiet", "--no-report") == 0
    assert not [path for path in (elsewhere / "run").iterdir() if path.name.startswith(".")]


# -- one folder, one run -------------------------------------------------------------------------------------


def all_at_once(number, task):
    """Run a task in this many threads that start together, and return each result or error."""
    barrier, ended = threading.Barrier(number), []

    def one():
        barrier.wait()
        try:
            ended.append(task())
        except RunError as error:
            ended.append(error)

    threads = [threading.Thread(target=one) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def test_runs_that_start_together_have_own_folders(tmp_path, monkeypatch):
    """Sixteen runs that start at once get sixteen folders."""
    monkeypatch.chdir(tmp_path)
    config = sneframe.recipe("stats")
    folders = all_at_once(16, lambda: open_folder(None, config, ENVIRONMENT, resume=False))
    assert sorted(folder.name for folder in folders) == [f"stats-default-{n:03d}" for n in range(1, 17)]


@pytest.mark.parametrize("there", [True, False], ids=["empty", "new"])
def test_only_one_run_gets_a_folder(tmp_path, there):
    """Of sixteen runs that want one folder, one gets it and the others are refused."""
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    config = sneframe.recipe("stats")
    ended = all_at_once(16, lambda: open_folder(folder, config, ENVIRONMENT, resume=False))
    assert sum(isinstance(each, RunError) for each in ended) == 15
    assert all("exists and is not empty" in str(each) for each in ended if isinstance(each, RunError))


def test_a_run_is_not_written_into_a_zoo(elsewhere, capsys):
    """A run folder inside a zoo is refused, and the zoo stays as it was."""
    zoo = elsewhere / "zoos" / "toy.zarr"
    before = sorted(zoo.rglob("*"))
    words = ("--plugin", "stats", "--device", "cpu", "--quiet", "--zoo", str(zoo))
    assert command("run", *words, "--out", str(zoo / "runs" / "first")) == 2
    assert "lies in the zoo" in capsys.readouterr().err
    assert sorted(zoo.rglob("*")) == before


def test_a_folder_is_taken_before_anything_else_is_in_it(tmp_path, monkeypatch):
    """If two runs find the same folder empty, only the one that creates config.toml gets it."""
    from pathlib import Path

    monkeypatch.setattr(Path, "iterdir", lambda self: iter(()))
    config = sneframe.recipe("stats")
    open_folder(tmp_path / "run", config, ENVIRONMENT, resume=False)
    with pytest.raises(RunError, match="exists and is not empty"):
        open_folder(tmp_path / "run", evolve(config, seed=1), ENVIRONMENT, resume=False)
