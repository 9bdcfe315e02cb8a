"""The run folder: where it is, and whether it may be written to."""

from __future__ import annotations

from pathlib import Path

from sneframe.config import RunConfig, to_toml
from sneframe.errors import MachineError, RunError


def open_folder(folder: Path | str | None, config: RunConfig, *, resume: bool) -> Path:
    """Return the folder of a run, made if need be.

    Args:
        folder: not given: the next free ``runs/RECIPE-NNN``.
        config: of the run.
        resume: the folder is to hold a run of this configuration.

    Raises:
        RunError: it holds a run already, or one of another configuration, or none where one is to be resumed.
        MachineError: it cannot be made.
    """
    path = _next_free(config) if folder is None else Path(folder)
    written = path / "config.toml"
    if resume:
        if not written.exists():
            raise RunError(f"no run to resume in {path}: it has no config.toml")
        if written.read_text(encoding="utf-8") != to_toml(config):
            raise RunError(
                f"{path} holds a run of another configuration; resume it as it is, or write elsewhere with --out"
            )
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(
            f"{path} exists and is not empty; go on with --resume {path}, or write elsewhere with --out"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot make {path}: {error.strerror or error}") from error
    return path


def _next_free(config: RunConfig) -> Path:
    stem = (config.recipe or "run").replace("/", "-")
    number = 1
    while Path("runs", f"{stem}-{number:03d}").exists():
        number += 1
    return Path("runs", f"{stem}-{number:03d}")
