"""Write files that appear whole or not at all: each write goes to a temporary file, which is then renamed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from sneframe.errors import ConfigError, MachineError


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes to a new file, or replace an existing file as a whole.

    Raises:
        MachineError: the file cannot be written. An older file of that name stays unchanged.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise MachineError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_file(path: Path) -> None:
    """Check that a file can be written to ``path``, before the content of the file is computed.

    Raises:
        ConfigError: the path is no plain file, or its folder does not exist.
    """
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no plain file"
        raise ConfigError(f"{path}: is {what}, but the name of a file is needed")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}")


def sweep(folder: Path, *, age: float = 0.0) -> None:
    """Remove the temporary files that killed writers left in a folder.

    Args:
        folder: the folder.
        age: how many seconds ago a file must have been written. Where several processes write to the folder,
            a younger file may not be finished.
    """
    for left in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):  # its writer has just renamed it
            if time.time() - left.stat().st_mtime >= age:
                left.unlink()


def write_text(path: Path, content: str) -> None:
    """Write a text as UTF-8; see :func:`write_bytes`."""
    write_bytes(path, content.encode())
