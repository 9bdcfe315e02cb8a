"""What the command line prints: literal names, to readers who leave, and to terminals without Unicode."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sneframe.cli import main
from sneframe.testing import mlp
from sneframe.zoo import create, open_zoo

ODD = "[/b] :cat: y\n\x1b[31m"


@pytest.fixture
def odd_zoo(tmp_path):
    """A zoo whose name and property are markup, an emoji code, a line break and a terminal code."""
    architecture, generator = mlp(1, 3, 1), np.random.default_rng(0)
    weights = {p.name: generator.standard_normal((40, *p.shape)) for p in architecture.parameters}
    with create(tmp_path / "odd.zarr", name=ODD) as zoo:
        zoo.append(architecture, weights, {ODD: generator.standard_normal(40)})
    return tmp_path / "odd.zarr"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return left.value.code, out, err


def start(*arguments, out, **environment):
    command = [sys.executable, "-m", "sneframe", *map(str, arguments)]
    return subprocess.run(
        command, stdout=out, stderr=subprocess.PIPE, env={**os.environ, **environment}, check=False
    )


@pytest.fixture
def closed_pipe():
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


# -- names ----------------------------------------------------------------------------------------------


def test_a_run_prints_names_as_text(capsys, tmp_path, odd_zoo):
    """Markup in names is printed as text."""
    out_folder = tmp_path / "[bold]x"
    code, out, _ = call(capsys, "run", "--plugin", "stats", "--zoo", odd_zoo, "--out", out_folder)
    assert code == 0
    assert "on [/b] :cat: y��[31m: 28 / 6 / 6 networks" in out
    assert "[/b] :cat: y��[31m, 6 test networks" in out
    assert f"report: {out_folder / 'report.html'}\n" in out
    assert "\x1b" not in out


def test_an_error_is_one_line_whatever_the_names_in_it(capsys, tmp_path, odd_zoo):
    """An error is one line whatever names it holds."""
    code, _, err = call(
        capsys,
        "run",
        "--plugin",
        "stats",
        "--zoo",
        odd_zoo,
        "--property",
        "no\nne",
        "--out",
        tmp_path / "run",
    )
    assert code == 2
    assert err.count("\n") == 1
    assert ODD.replace("\n", "�").replace("\x1b", "�") in err


def test_info_cuts_nothing_off_on_a_narrow_terminal(capsys, monkeypatch, toy_zoo_path):
    """zoo info cuts nothing off on a narrow terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = call(capsys, "zoo", "info", toy_zoo_path)
    assert open_zoo(toy_zoo_path).digest in "".join(out.split())


def test_a_built_zoo_is_printed_with_its_path_as_it_is(capsys, tmp_path):
    """The path of a built zoo is printed literally."""
    path = tmp_path / "[bold]z.zarr"
    code, out, _ = call(
        capsys, "zoo", "build", "sine", "--engine", "serial", "--networks", 2, "--steps", 1, "--out", path
    )
    assert code == 0
    assert f"zoo: {path}\n" in out


# -- readers who leave ----------------------------------------------------------------------------------


def test_a_run_goes_on_when_its_reader_leaves(tmp_path, odd_zoo, closed_pipe):
    """A run goes on when the reader of its output leaves."""
    done = start(
        "run", "--plugin", "stats", "--zoo", odd_zoo, "--out", tmp_path / "run", out=closed_pipe, COLUMNS="80"
    )
    assert (done.returncode, b"Error" in done.stderr) == (0, False)
    assert (tmp_path / "run" / "report.html").exists()


def test_a_build_goes_on_when_its_reader_leaves(tmp_path, closed_pipe):
    """A build goes on when the reader of its output leaves."""
    path = tmp_path / "z.zarr"
    done = start(
        "zoo",
        "build",
        "sine",
        "--engine",
        "serial",
        "--networks",
        2,
        "--steps",
        1,
        "--out",
        path,
        out=closed_pipe,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(open_zoo(path)) == 2


@pytest.mark.parametrize("words", [["config", "--plugin", "stats"], ["plugins"], ["--help"], ["zoo", "info"]])
def test_other_commands_end_well_when_their_reader_leaves(toy_zoo_path, closed_pipe, words):
    """Other commands end without an error when their reader leaves."""
    done = start(*words, *([toy_zoo_path] if words[-1] == "info" else []), out=closed_pipe)
    assert (done.returncode, done.stderr) == (0, b"")


# -- terminals that know no Unicode ---------------------------------------------------------------------


def test_what_cannot_be_printed_is_replaced(tmp_path, toy_zoo_path):
    """Characters that the terminal cannot print are replaced."""
    words = ["run", "--no-report", "--plugin", "stats", "--zoo", toy_zoo_path, "--out", tmp_path / "run"]
    done = start(*words, out=subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert b"R?" in done.stdout
