"""Average the weights of a model over the steps of a training (Polyak and Juditsky 1992).

``torch.optim.swa_utils.AveragedModel`` copies the whole module, and parts of the copy would give their
warnings again. Here the averaged weights are put into the model itself while it is scored and saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average (EMA) of the trainable weights of a model.

    After each step, the average a becomes d · a + (1 − d) · w, for the weights w. The decay d rises from 0.1
    to ``decay``, so that the average soon forgets the weights at initialisation.

    Args:
        model: the model, whose weights the optimiser changes in place.
        decay: the largest decay in a step, in [0, 1). If it is 0, nothing is averaged, and the methods do
            nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._weights = trainable if decay else {}
        self._average = {name: weight.detach().clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the weights after a step, whose number is counted from 0 over the whole training."""
        kept = min(self._decay, (1 + step) / (10 + step))
        for name, average in self._average.items():
            average.lerp_(self._weights[name], 1 - kept)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights. Afterwards it has its own weights again."""
        own = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._write(self._average)
        try:
            yield
        finally:
            self._write(own)

    def tensors(self) -> dict[str, Tensor]:
        """Return the averaged weights, named ``average.NAME``."""
        return {f"average.{name}": average for name, average in self._average.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the tensors that :meth:`tensors` names. All other tensors are ignored.

        Raises:
            KeyError: an averaged weight is missing.
            RuntimeError: an averaged weight has another shape.
        """
        for name, average in self._average.items():
            average.copy_(tensors[f"average.{name}"])

    @torch.no_grad()
    def _write(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self._weights[name].copy_(value)
