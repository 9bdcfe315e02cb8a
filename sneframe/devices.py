"""Devices and processes, through accelerate: it prepares model and optimiser, and nothing else."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor

from sneframe.errors import ConfigError


def prepare(device: str, precision: str) -> Accelerator:
    """Return the accelerator of this process: its device, its rank among others, its precision.

    Raises:
        ConfigError: CUDA is asked for where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = 'cuda', but torch finds no CUDA device here; choose 'cpu' or 'auto'")
    # accelerate keeps its state per process; a second run in a notebook may ask for another device or precision.
    alone = not PartialState._shared_state or PartialState().num_processes == 1  # it has no public test
    AcceleratorState._reset_state(reset_partial_state=alone)
    cpu = device == "cpu" or not torch.cuda.is_available()
    return Accelerator(cpu=cpu, mixed_precision=precision)


def sum_over_processes(accelerator: Accelerator, tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    if accelerator.num_processes == 1:
        return tensor
    return accelerator.reduce(tensor, reduction="sum")
