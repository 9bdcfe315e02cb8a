"""Update the flat weights (G, P) of G networks at once, with sgd, momentum, adam or rmsprop.

These are the updates of SGD, SGD(momentum=0.9), Adam and RMSprop(alpha=0.9) in ``torch.optim``, but each
network has its own learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MOMENTUM = 0.9
BETA1, BETA2 = 0.9, 0.999  # defaults of Adam
ALPHA = 0.9  # default of Keras for RMSprop
EPSILON = 1e-8


class Stepper:
    """The optimisers of G networks. Neighbouring networks with the same optimiser are updated together.

    Args:
        optimisers: the optimiser of each network. For speed, sort the networks by optimiser.
        lr: learning rate of each network, shape ``(G,)``.
        like: a tensor with the type and shape of the weights, ``(G, P)``.
    """

    def __init__(self, optimisers: Sequence[str], lr: Tensor, like: Tensor) -> None:
        self._optimisers = list(optimisers)
        self._lr = lr[:, None]
        self._mean, self._square = torch.zeros_like(like), torch.zeros_like(like)
        self._steps = 0

    def keep(self, rows: Tensor) -> None:
        """Drop the optimiser state of all networks except those at the indices ``rows``."""
        self._optimisers = [self._optimisers[row] for row in rows.tolist()]
        self._lr, self._mean, self._square = (t[rows] for t in (self._lr, self._mean, self._square))

    def step(self, weights: Tensor, gradients: Tensor) -> None:
        """Take one optimiser step: update the weights ``(G, P)`` in place."""
        self._steps += 1
        start = 0
        while start < len(self._optimisers):
            name, stop = self._optimisers[start], start + 1
            while stop < len(self._optimisers) and self._optimisers[stop] == name:
                stop += 1
            here = slice(start, stop)
            self._step(name, weights[here], gradients[here], here)
            start = stop

    def _step(self, name: str, weights: Tensor, gradients: Tensor, here: slice) -> None:
        lr, mean, square = self._lr[here], self._mean[here], self._square[here]
        if name == "sgd":
            weights.addcmul_(gradients, lr, value=-1)
        elif name == "momentum":
            mean.mul_(MOMENTUM).add_(gradients)
            weights.addcmul_(mean, lr, value=-1)
        elif name == "adam":
            mean.lerp_(gradients, 1 - BETA1)
            square.mul_(BETA2).addcmul_(gradients, gradients, value=1 - BETA2)
            scale = square.div(1 - BETA2**self._steps).sqrt_().add_(EPSILON)
            weights.addcdiv_(lr * mean, scale, value=-1 / (1 - BETA1**self._steps))
        elif name == "rmsprop":
            square.mul_(ALPHA).addcmul_(gradients, gradients, value=1 - ALPHA)
            weights.addcdiv_(lr * gradients, square.sqrt().add_(EPSILON), value=-1)
        else:
            raise AssertionError(f"no optimiser {name!r}")
