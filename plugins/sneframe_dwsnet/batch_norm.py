"""Define batch norm with statistics over the batch of a step, even if several processes share the batch.

Training with one process and with several processes must give the same numbers, on CPUs too. But
``torch.nn.SyncBatchNorm`` works only on GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class BatchNorm(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` on ``(n, channels)``, with joint statistics of all processes in training.

    Every process must call the module equally often. This is so in a part that is built for one architecture.
    All processes then have the same running statistics.
    """

    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Normalise ``input (n, channels)``, and return ``(n, channels)``."""
        if not (
            self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        ):
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        total = _sum(torch.cat([x.sum(0), x.new_full((1,), len(x))]))
        mean, count = total[:-1] / total[-1], total[-1]
        centred = x - mean
        variance = _sum(centred.square().sum(0)) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        normalised: Tensor = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return normalised.to(input.dtype)


def _sum(tensor: Tensor) -> Tensor:
    return _Sum.apply(tensor)  # type: ignore[no-untyped-call]  # torch leaves it unannotated


class _Sum(torch.autograd.Function):
    """Computes the sum of a tensor over all processes.

    The tensor of each process contributes to the losses of all processes, so gradients are summed as well.
    """

    @staticmethod
    def forward(_ctx: Any, tensor: Tensor) -> Tensor:
        """Return the sum of the processes' tensors."""
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(_ctx: Any, grad: Tensor) -> Tensor:
        """Return the sum of the processes' gradients."""
        total = grad.clone()
        dist.all_reduce(total)
        return total
