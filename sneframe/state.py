"""What a run keeps on disk: tensors as safetensors, everything else as JSON in their header; never pickle.

A file is written to a temporary name, one for each writer, and renamed: a killed run leaves the previous state whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from sneframe.errors import MachineError, RunError


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole.

    Raises:
        MachineError: the disk does not take it; the file is as it was before.
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


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a folder."""
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Replace a text file as a whole; see :func:`write_bytes`."""
    write_bytes(path, content.encode())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header to one safetensors file; see :func:`write_bytes`."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(whole, metadata={"sneframe": json.dumps(header)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote.

    Raises:
        RunError: the file is missing, damaged, or not of sneframe.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["sneframe"])
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118  # not a mapping
    except FileNotFoundError as error:
        raise RunError(f"no such file: {path}") from error
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(
            f"{path}: damaged, or not written by sneframe: {' '.join(str(error).split())}"
        ) from error


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """Return the tensors of an optimiser's state, named ``optimiser.PARAMETER.NAME``."""
    state = optimiser.state_dict()["state"]
    return {
        f"optimiser.{index}.{name}": tensor
        for index, entry in state.items()
        for name, tensor in entry.items()
    }


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors of :func:`optimiser_tensors` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
