"""Hold the values of a layer's neurons at K probes."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional

from sneframe.nn.bounded import bounded

LARGEST: Final = 1e4  #: values are clipped to ± this, so that their powers stay finite


@frozen(kw_only=True, eq=False)
class NeuronValues:
    """The values of a layer's n neurons at K probes, without positions such as pixels or tokens.

    Args:
        means: ``(B, K, n)``, the mean over positions.
        spreads: ``(B, K, n)``, the standard deviation over positions; None if there is one position.
        positive: ``(B,)``, the fraction of all values that are positive.
    """

    means: Tensor
    spreads: Tensor | None
    positive: Tensor

    @classmethod
    def of(cls, values: Tensor, axis: int) -> NeuronValues:
        """Return the values of the neurons along ``axis`` of values ``(B, K, …)``."""
        over = tuple(each for each in range(2, values.ndim) if each != axis % values.ndim)
        positive = (values.detach() > 0).flatten(1).to(values.dtype).mean(1)
        if not over:
            return cls(means=bounded(values, LARGEST), spreads=None, positive=positive)
        # Spreads get no gradient: it would cost as much as the evaluation, and the means have one.
        spreads = bounded(values.detach().var(over, correction=0), LARGEST).sqrt()
        return cls(means=bounded(values.mean(over), LARGEST), spreads=spreads, positive=positive)

    def first_codes(self, linear: nn.Linear) -> Tensor:
        """Return a linear map of the 2K means and spreads of each neuron, as inverse sinh, ``(B, n, D)``."""
        probes = self.means.shape[1]
        codes = functional.linear(self.means.asinh().mT, linear.weight[:, :probes], linear.bias)
        if self.spreads is None:
            return codes
        return codes + functional.linear(self.spreads.asinh().mT, linear.weight[:, probes:])
