"""Write and read tensors as safetensors files. Other data is JSON in the header, and nothing is pickled.

A file is replaced as a whole, so a killed run leaves the previous file as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from sneframe.atomic import write_bytes
from sneframe.errors import RunError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header to one safetensors file; see :func:`~sneframe.atomic.write_bytes`."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(whole, metadata={"sneframe": json.dumps(header)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a file that :func:`write_tensors` wrote.

    Raises:
        RunError: the file is missing or damaged, or sneframe did not write it.
    """
    try:
        path.open("rb").close()  # raises PermissionError for a file without read permission
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["sneframe"])
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, header
    except FileNotFoundError as error:
        raise RunError(f"no such file: {path}") from error
    except PermissionError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(
            f"{path}: damaged, or not written by sneframe: {' '.join(str(error).split())}"
        ) from error


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """Return the tensors of an optimiser's state, named ``optimiser.INDEX_OF_PARAMETER.NAME``."""
    state = optimiser.state_dict()["state"]
    return {
        f"optimiser.{index}.{name}": tensor
        for index, entry in state.items()
        for name, tensor in entry.items()
    }


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load the tensors that :func:`optimiser_tensors` names into an optimiser. Ignore all other tensors."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
