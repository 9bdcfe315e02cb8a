"""A cell in a process of its own: its result, or the reason if the process fails."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

import sneframe
from sneframe.bench import cell as cells
from sneframe.bench import worker
from sneframe.bench.cell import Cell
from sneframe.bench.outcome import read_outcome
from sneframe.bench.zoos import StoredZoo


def cell_of(zoo, *words, recipe="stats"):
    config = sneframe.recipe(recipe, f"zoo.path={zoo}", "zoo.property=scale", *words)
    return Cell(recipe=f"{recipe}/default", overrides=words, config=config, zoo=StoredZoo.of(zoo))


def test_a_cell_comes_back_with_its_costs(toy_zoo_path):
    """A finished cell holds seconds, memory, versions and threads."""
    left = worker.run_cell(cell_of(toy_zoo_path, "head.trees=2"), lambda note: None)
    assert left["failed"] is None
    assert left["tests"][0]["scores"]["n"] == 6
    assert left["tests"][0]["coverage"] is None  # six validation networks are too few for an interval
    assert 100 * 2**20 < left["peak_memory"] < 2000 * 2**20
    assert set(left["machine"]) == {"system", "processor", "cores", "device", "shuffle"}
    assert left["versions"]["sneframe"] == sneframe.__version__
    assert "plugin stats" in left["versions"]


def test_a_cell_says_that_memory_decided_the_order(toy_zoo_path, tmp_path, monkeypatch):
    """A zoo beyond memory is shuffled in blocks, which changes numbers, so the table says so."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cell = cell_of(toy_zoo_path, "zoo.memory=100B", "train.epochs=1", recipe="deepsets")
    outcome = read_outcome(cells.write(tmp_path, cell, worker.run_cell(cell, lambda note: None), {}))
    assert outcome.machine.endswith("networks shuffled in blocks")


def test_a_run_that_fails_is_a_reason(toy_zoo_path):
    """A failed run gives a reason of one line."""
    left = worker.run_cell(cell_of(toy_zoo_path, "zoo.property=scales"), lambda note: None)
    assert set(left) == {"failed"}
    assert "did you mean 'scale'" in left["failed"]


def interpreter(tmp_path, monkeypatch, script):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(worker.sys, "executable", str(path))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "read job; kill -9 $$",
            "its process was killed by signal 9, as the system does when memory is full",
        ),
        ("read job; echo one >&2; echo 'no device' >&2; exit 3", "its process ended with 3: no device"),
        ("exit 0", "its process ended with 0"),
    ],
)
def test_a_dead_process_is_a_reason(toy_zoo_path, tmp_path, monkeypatch, script, said):
    """A process that ends without a result gives a reason."""
    cell = cell_of(toy_zoo_path)
    interpreter(tmp_path, monkeypatch, script)
    killed = {"killed": True} if "killed" in said else {}
    assert worker.run_cell(cell, lambda note: None) == {"failed": said, **killed}


@pytest.mark.parametrize(("threads", "found"), [("3", "3"), (None, "1")])
def test_a_process_has_the_threads_that_are_asked_for(toy_zoo_path, tmp_path, monkeypatch, threads, found):
    """Without a number, the process has as many as this one, which may be a worker with one thread."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cell = cell_of(toy_zoo_path)
    interpreter(
        tmp_path, monkeypatch, """read job; echo "{\\"failed\\": \\"$OMP_NUM_THREADS\\"}"; cat >/dev/null"""
    )
    assert worker.run_cell(cell, lambda note: None, threads=threads) == {"failed": found}


@pytest.mark.parametrize(("given", "found"), [(None, "passive"), ("active", "active")])
def test_threads_of_a_cell_sleep_while_they_wait(toy_zoo_path, tmp_path, monkeypatch, given, found):
    """Otherwise cells of two commands on the same cores would take each other's time."""
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    else:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    cell = cell_of(toy_zoo_path)
    interpreter(
        tmp_path, monkeypatch, """read job; echo "{\\"failed\\": \\"$OMP_WAIT_POLICY\\"}"; cat >/dev/null"""
    )
    assert worker.run_cell(cell, lambda note: None) == {"failed": found}


def test_progress_is_noted(toy_zoo_path, tmp_path, monkeypatch):
    """The process reports its progress."""
    cell, notes = cell_of(toy_zoo_path), []
    interpreter(
        tmp_path,
        monkeypatch,
        """read job; echo '{"note": "half"}'; echo '{"failed": "no"}'; cat >/dev/null""",
    )
    assert worker.run_cell(cell, notes.append) == {"failed": "no"}
    assert notes == ["half"]


def test_a_process_ends_with_its_parent(toy_zoo_path, tmp_path):
    """When its parent ends, the process ends and removes its folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    cell = cell_of(toy_zoo_path, "train.epochs=100000", "train.batch_size=8", recipe="dwsnet")
    process = subprocess.Popen(
        [sys.executable, "-m", "sneframe.bench.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(json.dumps(worker.job_of(cell, str(folder))) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["note"].startswith("training 1/")
    process.stdin.close()
    assert process.wait(10) == 1
    process.stdout.close()
    assert not folder.exists()


def test_ctrl_c_ends_the_running_cell(toy_zoo_path, tmp_path):
    """Ctrl-C ends the cell that runs and keeps the finished ones."""
    out = tmp_path / "out"
    command = [
        *(
            sys.executable,
            "-m",
            "sneframe",
            "compare",
            "--recipes",
            "stats,dwsnet",
            "--zoo",
            str(toy_zoo_path),
        ),
        *("--property", "scale", "--seeds", "1", "--set", "train.epochs=100000", "--out", str(out)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 120
            while not (list(out.glob("cells/stats*.json")) and workers(process)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            (under_way,) = workers(process)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors == "stopped: finished cells are kept; run the same command again to continue\n"
    under_way.wait(60)  # a process that is still starting ends because it finds no job
    assert [path.name.partition("-")[0] for path in (out / "cells").iterdir()] == ["stats"]
    assert (out / "recipes.md").exists()


def workers(process):
    try:
        return [each for each in psutil.Process(process.pid).children() if each.is_running()]
    except psutil.NoSuchProcess:
        return []
