"""Create the folder of a new run, or open the folder of a run to resume. Either way, record the session."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Any

from attrs import evolve

from sneframe import atomic
from sneframe.config.schema import NONE, RunConfig, read_toml
from sneframe.config.structure import to_toml, unstructure
from sneframe.errors import MachineError, RunError
from sneframe.run_folder.adapted import NAME as ADAPTED
from sneframe.run_folder.environment import Environment
from sneframe.run_folder.json_files import read_json, write_json
from sneframe.zoo.staging import check_place


def open_folder(
    folder: Path | str | None, config: RunConfig, environment: Environment, *, resume: bool
) -> Path:
    """Create the folder of a new run, or open the folder of a run to resume. Return the path of the folder.

    The folder then contains ``config.toml`` and ``environment.json``.

    Args:
        folder: path of the folder; by default the next free ``runs/RECIPE-NNN``.
        config: configuration of the run.
        environment: environment of this session. Sessions that resume a run are recorded after the first.
        resume: whether to resume the run in the folder. That run must have the same zoo and the same
            configuration, except for the device and the memory for weights.

    Raises:
        RunError: the folder for a new run is not empty, there is no run to resume, or the run to resume has
            another configuration or zoo.
        ZooError: the folder is inside a zoo. Readers of that zoo would report the folder as damage.
        MachineError: the folder cannot be created or written to.
    """
    if resume:
        path = Path(folder) if folder is not None else None
        if path is not None and (path / ADAPTED).exists():
            raise RunError(f"{path} was adapted from another run and has no training to resume")
        if path is None or not (path / "config.toml").exists():
            raise RunError(f"no run to resume in {path}: config.toml is missing")
        _check_config(path, config)
        environment = _recorded(path / "environment.json", environment)
        atomic.sweep(path)
    else:
        path = _take(folder, config)
    write_json(path / "environment.json", environment)
    return path


def with_recorded_sampler(folder: Path, config: RunConfig) -> RunConfig:
    """Return the configuration of a run to resume, with the sampler that the first session chose.

    A default of the sampler depends on the memory of the machine, and another sampler would give other
    numbers. If the folder has no ``config.toml``, the configuration is returned as it is.

    Raises:
        ConfigError: ``config.toml`` cannot be read.
    """
    if not (folder / "config.toml").exists():
        return config
    written = read_toml(folder / "config.toml").get("train", {})
    recorded: dict[str, Any] = {
        name: None if written[name] == NONE else written[name]
        for name, unset in (("shuffle", "auto"), ("block", None), ("buffer", None))
        if getattr(config.train, name) == unset and name in written
    }
    return evolve(config, train=evolve(config.train, **recorded))


def how_to_continue(folder: Path) -> str:
    """Return the end of a message: the command that resumes the run in ``folder``."""
    return f"continue with: sneframe run --resume {shlex.quote(str(folder))}"


def _take(folder: Path | str | None, config: RunConfig) -> Path:
    """Create the folder of a new run, write ``config.toml``, and return the path of the folder.

    If several runs try the same folder, the folder belongs to the run that creates ``config.toml``.
    """
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
            f"{path} exists and is not empty; continue the run in it with --resume {path}, or name another "
            f"folder with --out"
        ) from error
    except OSError as error:
        raise MachineError(f"cannot write {path or 'runs'}: {error.strerror or error}") from error
    return path


def _next_free(config: RunConfig) -> Path:
    """Create the next free folder ``runs/RECIPE-NNN``. Skip folders that other runs create meanwhile."""
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
    """Check that the configuration equals ``config.toml`` in the folder, except for what may change."""
    if _fixed(read_toml(path / "config.toml")) != _fixed(unstructure(config)):
        raise RunError(
            f"{path} holds a run with another configuration; resume that run without changes, or name "
            f"another folder with --out"
        )


def _fixed(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without the keys that may change between sessions: device and memory."""
    zoo = config.get("zoo", {})
    return {**config, "device": None, "zoo": {**zoo, "memory": None} if isinstance(zoo, dict) else zoo}


def _recorded(path: Path, environment: Environment) -> Environment:
    """Return the environment in ``environment.json``, with this session added to the sessions that resumed.

    If there is no such file, return ``environment``, which then describes the first session.
    """
    if not path.exists():
        return environment
    first, zoo = read_json(path, Environment), environment.zoo
    if first.zoo.digest != zoo.digest:
        raise RunError(
            f"{zoo.path} is not the zoo that {path.parent} began with: the digest must be "
            f"{first.zoo.digest}, but got {zoo.digest}; restore that zoo, or start a new run"
        )
    return evolve(first, resumed=(*first.resumed, environment))
