"""Define the carrier between ``probe/outputs`` and ``probe/values``."""

from __future__ import annotations

from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.parts.carriers import Unmoved


@frozen(kw_only=True, eq=False)
class ProbeValues(Unmoved):
    """The outputs of every network at K probes: ``values (B, K, O)``.

    O, the number of outputs, may differ between architectures. The order of the outputs is that of the
    network. A network computes the same outputs after its hidden neurons were permuted, scaled or flipped, so
    no group element changes this carrier.
    """

    architecture: Architecture
    values: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and K."""
        if self.values.ndim != 3:
            raise ValueError(f"values must be (B, K, O), but got {tuple(self.values.shape)}")
        return self.values.shape[0], self.values.shape[1]
