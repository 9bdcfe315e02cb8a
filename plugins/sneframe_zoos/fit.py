"""Train many sine INRs at once: weights (N, P) and targets (N, M) in, fitted weights and their errors out.

The gradient is written out instead of left to autograd, which takes 1.7 times as long on these sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe_zoos.inr import OFFSET, W0

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's defaults


@torch.no_grad()
def fit(
    architecture: Architecture,
    weights: Tensor,
    x: Tensor,
    targets: Tensor,
    *,
    steps: int,
    tolerance: float,
    lr: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor]:
    """Fit every network to its target by full-batch Adam; freeze it at its first step within the tolerance.

    Networks do not interact; a frozen one leaves the stack, so that later steps are cheaper.

    Args:
        architecture: of a :class:`~sneframe_zoos.inr.SineINR`.
        weights: ``(N, P)``, where training starts.
        x: ``(M,)`` coordinates.
        targets: ``(N, M)``.
        steps: at most so many for each network.
        tolerance: the mean squared error at or below which a network is frozen.
        lr: Adam's learning rate.
        weight_decay: times the weights, added to the gradient (``torch.optim.Adam``'s ``weight_decay``).

    Returns:
        The weights ``(N, P)``, and the mean squared error ``(N,)`` of just these weights.
    """
    fitted, errors = weights.clone(), weights.new_empty(len(weights))
    active = torch.arange(len(weights))
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    for step in range(steps + 1):
        error, gradient = error_and_gradient(architecture, weights, x, targets)
        stop = (error <= tolerance) | (step == steps)
        if stop.any():
            fitted[active[stop]], errors[active[stop]] = weights[stop], error[stop]
            state = (active, weights, mean, square, targets, gradient)
            active, weights, mean, square, targets, gradient = (tensor[~stop] for tensor in state)
            if not len(active):
                break
        gradient.add_(weights, alpha=weight_decay)
        mean.lerp_(gradient, 1 - BETA1)
        square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        scale = square.div(1 - BETA2 ** (step + 1)).sqrt_().add_(EPSILON)
        weights = weights.addcdiv(mean, scale, value=-lr / (1 - BETA1 ** (step + 1)))
    return fitted, errors


def error_and_gradient(
    architecture: Architecture, weights: Tensor, x: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean squared error ``(N,)`` of every network, and its gradient ``(N, P)``."""
    values = list(Networks(architecture=architecture, weights=weights).parameters().values())
    matrices, biases = values[::2], [bias[..., None] for bias in values[1::2]]

    # of every layer its input (N, in, M), of every sine its derivative (N, out, M)
    inputs, slopes = [x.expand(len(weights), 1, -1)], []
    for matrix, bias in zip(matrices[:-1], biases[:-1], strict=True):
        phase = torch.baddbmm(bias, matrix, inputs[-1], beta=W0, alpha=W0)
        inputs.append(torch.sin(phase))
        slopes.append(phase.cos_())
    residual = torch.baddbmm(biases[-1], matrices[-1], inputs[-1])[:, 0].add_(OFFSET).sub_(targets)

    pieces: list[Tensor] = []
    delta = residual[:, None] * (2 / len(x))  # the gradient at W h + b of the layer at hand, (N, out, M)
    for number in reversed(range(len(matrices))):
        pieces += [delta.sum(2), torch.bmm(delta, inputs[number].mT).flatten(1)]
        if number:
            delta = torch.bmm((W0 * matrices[number]).mT, delta).mul_(slopes[number - 1])
    return residual.square().mean(1), torch.cat(pieces[::-1], dim=1)
