"""Ctrl-C at any time: exit code 130, one line that says how to continue, and a folder that can be resumed."""

import os
import signal
import subprocess
import sys
import time

import pytest

import sneframe
from sneframe import atomic
from sneframe.errors import Interrupted
from sneframe.run_folder import tensor_files
from sneframe.train import evaluate, loop

SMALL = ("layer_encoder.width=8", "layer_encoder.heads=2", "layer_encoder.points=2", "aggregator.heads=2")
SCORING = """
import sys, time
from sneframe.train import evaluate
from sneframe.cli import main

def slow(*_, **__):
    print("scoring", flush=True)
    for _ in range(30_000):  # one long sleep would miss a signal that comes just before it begins
        time.sleep(0.01)

evaluate.invariance = slow
main(sys.argv[1:])
"""


def config_for(zoo, *words):
    return sneframe.recipe("sne", f"zoo.path={zoo}", "train.batch_size=8", "train.epochs=2", *SMALL, *words)


def options(zoo, out, *words):
    sets = [part for word in (*SMALL, *words) for part in ("--set", word)]
    return ["run", "--plugin", "sne", "--quiet", "--no-report", "--zoo", str(zoo), "--out", str(out), *sets]


def interrupted(command, ready):
    """Start a process, send it SIGINT when it is ready, and return its exit code and its error output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment) as process:
        ready(process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def there(path):
    def wait(process):
        while not path.exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)

    return wait


def test_ctrl_c_while_it_trains(toy_zoo_path, tmp_path):
    """Ctrl-C in training: exit code 130, the command to continue with, and a saved state."""
    folder = tmp_path / "the run"
    command = [sys.executable, "-m", "sneframe", *options(toy_zoo_path, folder, "train.epochs=100000")]
    code, errors = interrupted(command, there(folder / "history.jsonl"))
    assert code == 130
    assert errors.startswith(
        ("stopped: in epoch ", "stopped: after epoch ")
    )  # during its steps, or during its validation
    assert errors.endswith(f"; continue with: sneframe run --resume '{folder}'\n")
    assert (folder / "last.safetensors").exists()


def test_ctrl_c_while_it_scores(toy_zoo_path, tmp_path):
    """Ctrl-C in the final scoring: exit code 130, and the command to continue with."""
    folder = tmp_path / "run"
    command = [sys.executable, "-c", SCORING, *options(toy_zoo_path, folder, "train.epochs=1")]
    code, errors = interrupted(command, lambda process: process.stdout.readline())
    assert (code, errors) == (
        130,
        f"stopped: the run is not finished; continue with: sneframe run --resume {folder}\n",
    )


def test_ctrl_c_while_a_zoo_is_built(tmp_path):
    """Ctrl-C in a build: exit code 130, and only the unfinished build is left."""
    out = tmp_path / "sine.zarr"
    words = ["zoo", "build", "sine", "--networks", "250", "--steps", "1000000", "--tolerance", "0"]
    command = [sys.executable, "-m", "sneframe", *words, "--out", str(out)]
    code, errors = interrupted(command, there(tmp_path / "sine.zarr.part" / "config.json"))
    assert (code, errors) == (
        130,
        f"stopped: {out} is not complete; run the same command again to continue\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["sine.zarr.part"]


def test_ctrl_c_in_the_last_validation_stops_the_run(toy_zoo_path, tmp_path, monkeypatch):
    """The state after the last epoch is saved, and the run can be resumed."""
    predict, calls = evaluate.predict, []

    def signalled(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return predict(*args, **options)

    monkeypatch.setattr(evaluate, "predict", signalled)
    with pytest.raises(Interrupted, match="after epoch 2; continue with"):
        sneframe.run(config_for(toy_zoo_path), tmp_path / "run", report=False)
    assert len(calls) == 2
    assert (
        sneframe.run(config_for(toy_zoo_path), tmp_path / "run", resume=True, report=False).metrics["epochs"]
        == 2
    )


def test_ctrl_c_in_a_validation_takes_no_further_step(toy_zoo_path, tmp_path, monkeypatch):
    """The run stops after the epoch whose validation was interrupted."""
    finish_epoch = loop._finish_epoch

    def signalled(*args):
        signal.raise_signal(signal.SIGINT)
        finish_epoch(*args)

    monkeypatch.setattr(loop, "_finish_epoch", signalled)
    with pytest.raises(Interrupted, match="after epoch 1; continue with"):
        sneframe.run(config_for(toy_zoo_path), tmp_path / "run", report=False)
    _, header = tensor_files.read_tensors(tmp_path / "run" / "last.safetensors")
    assert (header["epoch"], header["step"]) == (1, 0)


def test_a_second_ctrl_c_is_immediate(toy_zoo_path, tmp_path, monkeypatch):
    """A second Ctrl-C stops within a step, and the error says how to continue."""

    def signalled(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", signalled)
        with pytest.raises(Interrupted, match="continue with: sneframe run --resume"):
            sneframe.run(config_for(toy_zoo_path), tmp_path / "run", report=False)
    assert (
        sneframe.run(config_for(toy_zoo_path), tmp_path / "run", resume=True, report=False).metrics["epochs"]
        == 2
    )


def test_ctrl_c_while_the_report_is_drawn(toy_zoo_path, tmp_path, monkeypatch):
    """A run that is interrupted while it draws its report can be resumed."""

    def signalled(_):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr("sneframe.report.write_report", signalled)
        with pytest.raises(Interrupted, match="the run is not finished; continue with"):
            sneframe.run(config_for(toy_zoo_path), tmp_path / "run")
    assert sneframe.run(config_for(toy_zoo_path), tmp_path / "run", resume=True).report.exists()


def test_ctrl_c_while_a_file_is_written(tmp_path, monkeypatch):
    """Ctrl-C leaves the earlier file as it was, and no temporary file."""

    def signalled(_):
        signal.raise_signal(signal.SIGINT)

    atomic.write_text(tmp_path / "file", "before")
    monkeypatch.setattr(os, "fsync", signalled)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_text(tmp_path / "file", "after")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_writers_have_their_own_temporary_files(tmp_path, monkeypatch):
    """Two writers of one file use two temporary files."""
    fsync, inner = os.fsync, []

    def meanwhile(number):
        if not inner:
            inner.append(1)
            atomic.write_text(tmp_path / "file", "the other's")
        fsync(number)

    monkeypatch.setattr(os, "fsync", meanwhile)
    atomic.write_text(tmp_path / "file", "mine")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
