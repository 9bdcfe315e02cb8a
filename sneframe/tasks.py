"""A property becomes a task: what the head is trained on, and how its raw output becomes a value again."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from torch import Tensor

from sneframe.errors import ZooError


@frozen(kw_only=True)
class Regression:
    """A real property: squared error on the target standardised by the training networks.

    Args:
        property: its name.
        mean: over the training networks.
        std: over the training networks.
    """

    property: str
    mean: float
    std: float

    @classmethod
    def fit(cls, name: str, targets: np.ndarray) -> Regression:
        """Standardise by ``(n,)`` training targets.

        Raises:
            ZooError: all training networks have the same value.
        """
        if np.ptp(targets) == 0:
            raise ZooError(
                f"property {name!r} has the one value {targets[0]:g} in all {len(targets)} training networks: "
                f"there is nothing to learn"
            )
        return cls(property=name, mean=float(np.mean(targets)), std=float(np.std(targets)))

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return ``(B,)`` squared errors, in standardised units, of raw outputs ``(B, 1)``.

        Args:
            value: raw outputs.
            target: ``(B,)``, standardised by :meth:`standardise`.
        """
        return (value.squeeze(1).float() - target).square()

    def standardise(self, target: np.ndarray) -> np.ndarray:
        """Return targets ``(n,)`` in the units of raw outputs, float64.

        Single precision comes after it, never before: a float32 near 1.7e9 is a multiple of 128.
        """
        return (np.asarray(target, np.float64) - self.mean) / self.std

    def predict(self, value: Tensor) -> Tensor:
        """Return ``(B,)`` float64 values of the property for raw outputs ``(B, 1)``."""
        return value.squeeze(1).double() * self.std + self.mean
