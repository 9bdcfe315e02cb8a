"""Makes the folder of a new run, or opens the folder of a run to resume, and records the session."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

from attrs import evolve

from sneframe import atomic
from sneframe.config.schema import RunConfig, read_toml
from sneframe.config.structure import to_toml, unstructure
from sneframe.errors import MachineError, RunError
from sneframe.run_folder.environment import Environment
from sneframe.run_folder.json_files import read_json, write_json
from sneframe.zoo.staging import check_place


def open_folder(
    folder: Path | str | None, config: RunConfig, environment: Environment, *, resume: bool
) -> Path:
    """Return the folder of a run, with ``config.toml`` and ``environment.json`` in it.

    Args:
        folder: the folder; by default the next free ``runs/RECIPE-NNN``.
        config: configuration of the run.
        environment: environment of this session. Sessions that resume a run are recorded after the first.
        resume: whether to resume the run in the folder. It must have this zoo and this configuration; only
            the device may differ.

    Raises:
        RunError: the folder is not empty; or there is no run to resume, or it has another configuration or
            zoo.
        ZooError: the folder is inside a zoo, which would then be read as damaged.
        MachineError: the folder cannot be made or written to.
    """
    if resume:
        path = Path(folder) if folder is not None else None
        if path is None or not (path / "config.toml").exists():
            raise RunError(f"no run to resume in {path}: it has no config.toml")
        _check_config(path, config)
        environment = _recorded(path / "environment.json", environment)
        atomic.sweep(path)
    else:
        path = _take(folder, config)
    write_json(path / "environment.json", environment)
    return path


def how_to_continue(folder: Path) -> str:
    """Return the words that name the command which resumes a stopped run."""
    return f"continue with: sneframe run --resume {shlex.quote(str(folder))}"


def _take(folder: Path | str | None, config: RunConfig) -> Path:
    """Take the folder for a new run. If several runs want it, whichever creates ``config.toml`` gets it."""
    path, text = None if folder is None else Path(folder), to_toml(config)
    try:
        check_place(path or Path("runs"))
        if path is None:
            path = _next_free(config)
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError
        path.mkdir(parents=True, exist_ok=True)
        with (path / "config.toml").open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise RunError(
            f"{path} exists and is not empty; continue its run with --resume {path}, or write elsewhere with "
            f"--out"
        ) from error
    except OSError as error:
        raise MachineError(f"cannot write {path or 'runs'}: {error.strerror or error}") from error
    return path


def _next_free(config: RunConfig) -> Path:
    """Make the next free ``runs/RECIPE-NNN``. A folder that another run makes meanwhile is skipped."""
    stem = (config.recipe or "run").replace("/", "-")
    Path("runs").mkdir(exist_ok=True)
    for number in itertools.count(1):
        path = Path("runs", f"{stem}-{number:03d}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise AssertionError("numbers do not end")


def _check_config(path: Path, config: RunConfig) -> None:
    """Check that the configuration is the one in the folder, except for the device."""
    written = read_toml(path / "config.toml")
    if {**written, "device": None} != {**unstructure(config), "device": None}:
        raise RunError(
            f"{path} holds a run with another configuration; resume it without changes, or write elsewhere "
            f"with --out"
        )


def _recorded(path: Path, environment: Environment) -> Environment:
    """Return the record of the earlier sessions, with this session added at the end."""
    if not path.exists():
        return environment
    first, zoo = read_json(path, Environment), environment.zoo
    if first.zoo.digest != zoo.digest:
        raise RunError(
            f"{zoo.path} is not the zoo that {path.parent} began with: its digest is {zoo.digest}, "
            f"not {first.zoo.digest}; restore that zoo, or start a new run"
        )
    return evolve(first, resumed=(*first.resumed, environment))
