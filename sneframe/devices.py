"""Choose the device and exchange values between processes, with the library accelerate."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor

from sneframe.errors import ConfigError

T = TypeVar("T")


def prepare(device: str, precision: str) -> Accelerator:
    """Return the accelerator of this process, with its device, its rank and its precision.

    Raises:
        ConfigError: the device is ``cuda``, but torch finds no CUDA device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = 'cuda', but torch finds no CUDA device here; choose 'cpu' or 'auto'")
    # accelerate keeps its state per process; a second run in a notebook may want another device or precision.
    alone = not PartialState._shared_state or PartialState().num_processes == 1  # no public test exists
    AcceleratorState._reset_state(reset_partial_state=alone)
    cpu = device == "cpu" or not torch.cuda.is_available()
    return Accelerator(cpu=cpu, mixed_precision=precision)


def is_main_process() -> bool:
    """Return whether this process is the first of those that accelerate started, or the only one."""
    return bool(PartialState().is_main_process)


def missing_processes(accelerator: Accelerator) -> str | None:
    """If accelerate was asked for several processes but started only this one, return a line that says so.

    The launcher of accelerate starts only one on a machine without GPUs. The only trace of the request is the
    address at which the processes would have met.
    """
    # Only the launcher of accelerate sets ACCELERATE_USE_CPU.
    alone = accelerator.num_processes == 1 and "ACCELERATE_USE_CPU" in os.environ
    if not alone or "MASTER_ADDR" not in os.environ:
        return None
    return (
        "warning: accelerate was asked for several processes and started one; on a CPU several are started "
        "by accelerate launch --multi_gpu --num_machines 1 --num_processes N"
    )


def fits(size: int, device: torch.device) -> bool:
    """Return whether ``size`` bytes fit in half of the free memory of a GPU; True for another device."""
    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] // 2


def from_main_process(accelerator: Accelerator, make: Callable[[], T]) -> T:
    """Call ``make`` in the main process, and return the result in every process.

    An error in the main process ends all processes.
    """
    made: list[T | None] = [make() if accelerator.is_main_process else None]
    found = broadcast_object_list(made)[0] if accelerator.num_processes > 1 else made[0]
    return cast("T", found)


def sum_over_processes(accelerator: Accelerator, tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    if accelerator.num_processes == 1:
        return tensor
    return accelerator.reduce(tensor, reduction="sum")
