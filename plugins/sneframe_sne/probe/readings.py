"""Compute numbers that describe the values of outputs and of layers at K probes.

No number depends on the order of the outputs or of the neurons. In shapes, n is the
number of neurons of a layer, and O the number of outputs.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from sneframe.nn.bounded import bounded
from sneframe.nn.neuron_values import LARGEST, NeuronValues

SMALL: Final = 1e-6  #: added before a logarithm
DEAD: Final = 1e-3  #: a neuron whose values have a smaller standard deviation over probes is dead
MOMENTS: Final = 3  #: number of values of :func:`moments`
OUTPUT: Final = 15 + 2 * MOMENTS  #: number of values of :func:`output_readings`
LAYER: Final = 9 + MOMENTS  #: number of values of :func:`neuron_readings`


def moments(values: Tensor) -> Tensor:
    """Return the scale of values ``(B, K, n)``, and two measures of how many directions they vary in.

    The values V are those of K probes, minus their mean over probes. With tᵣ = tr (V Vᵀ / n K)ʳ, the result
    ``(B, 3)`` has log t₁ / 2, then log(t₁² / t₂), which is the logarithm of the participation ratio, and
    log(t₁³ / t₃) / 2. These numbers do not depend on the order of neurons or outputs.
    """
    probes, neurons = values.shape[1:]
    gram = values @ values.mT / (neurons * probes)
    square = gram @ gram
    first = gram.diagonal(dim1=1, dim2=2).sum(1) + 1e-12
    second = square.diagonal(dim1=1, dim2=2).sum(1) + 1e-24
    third = (square * gram).sum((1, 2)) + 1e-36
    logs = [first.log(), second.log(), third.clamp(min=1e-36).log()]
    return torch.stack([logs[0] / 2, 2 * logs[0] - logs[1], (3 * logs[0] - logs[2]) / 2], dim=1)


def output_readings(values: Tensor) -> Tensor:
    """Return numbers ``(B, OUTPUT)`` that describe outputs ``(B, K, O)``, whatever the order of the outputs.

    With p the softmax of the outputs: the mean and the spread over probes of its entropy, of its largest
    entry and of the margin of the largest output; the entropy of the mean of p and its difference to the
    mean entropy (the information that the answer has about the probe); how often two probes get the same
    answer; the scale of the outputs, of their changes between probes and of their means; and the
    :func:`moments` of outputs and of p.
    """
    values = bounded(values, LARGEST)
    logs = values.log_softmax(-1)
    chances = logs.exp()
    entropy = -(chances * logs).sum(-1)
    mean = chances.mean(1)
    mixed = -(mean * (mean + 1e-9).log()).sum(-1)
    largest = chances.amax(-1)
    ordered = values.topk(min(2, values.shape[2]), dim=-1).values
    margin = ordered[..., 0] - ordered[..., -1]
    centred = values - values.mean(-1, keepdim=True)
    changes = centred - centred.mean(1, keepdim=True)
    agreement = chances @ chances.mT
    numbers = [
        entropy.mean(1),
        _spread(entropy, 1),
        mixed,
        mixed - entropy.mean(1),
        largest.mean(1),
        _spread(largest, 1),
        margin.mean(1).log1p(),
        _spread(margin, 1).log1p(),
        mean.square().sum(-1),
        mean.amax(-1),
        _log(_spread(centred, (1, 2))),
        _log(_spread(changes, (1, 2))),
        agreement.mean((1, 2)),
        _spread(agreement, (1, 2)),
        _log(_spread(centred.mean(1), -1)),
    ]
    return torch.cat([torch.stack(numbers, 1), moments(changes), moments(chances - mean[:, None])], dim=1)


def neuron_readings(values: NeuronValues) -> Tensor:
    """Return numbers ``(B, LAYER)`` that do not depend on the order of the neurons.

    They are the mean over neurons and the spread of each neuron's mean value, of its spread over probes
    and of its spread over positions; the fraction of neurons that hardly vary (dead), and of values that
    are positive; the mean size; and the :func:`moments` of the neurons' mean values.
    """
    level, between = values.means.mean(1), _spread(values.means, 1)
    within = torch.zeros_like(level) if values.spreads is None else values.spreads.mean(1)
    numbers = [
        torch.asinh(10 * level.mean(-1)),
        torch.asinh(10 * _spread(level, -1)),
        _log(between.mean(-1)),
        _log(_spread(between, -1)),
        torch.asinh(10 * within.mean(-1)),
        torch.asinh(10 * _spread(within, -1)),
        (between < DEAD).to(between).mean(-1),
        values.positive,
        _log(values.means.abs().mean((1, 2))),
    ]
    return torch.cat([torch.stack(numbers, 1), moments(values.means - level[:, None])], dim=1)


def _spread(values: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """Return the standard deviation, whose gradient is finite where it is 0."""
    return (values.var(axes, correction=0) + SMALL**2).sqrt()


def _log(values: Tensor) -> Tensor:
    return (values + SMALL).log()
