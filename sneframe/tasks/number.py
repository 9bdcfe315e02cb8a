"""Define the tasks of numbers: a regression, a regression of the logarithm, and a fraction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from attrs import field, frozen
from torch import Tensor

from sneframe.correction import Correction
from sneframe.errors import ZooError
from sneframe.metrics import Scores, score
from sneframe.tasks.task import Task
from sneframe.zoo.column import Column

MOST_LOG = 700.0  #: largest size of a predicted logarithm; exp of a larger one is not finite


def _limits(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])


def _correction(value: Correction | Mapping[str, Any] | None) -> Correction | None:
    return Correction(**value) if isinstance(value, Mapping) else value


@frozen(kw_only=True)
class Regression(Task):
    """Learns a real property. The loss is the squared error of the standardised values.

    Args:
        name: name of the property.
        mean: mean of the property over the training networks.
        std: standard deviation of the property over the training networks.
        within: limits to which predictions are clipped, or None.
        correction: correction of the predicted values before they are clipped, or None.
    """

    kind = "regression"
    width = 1

    name: str
    mean: float
    std: float
    within: tuple[float, float] | None = field(default=None, converter=_limits)
    correction: Correction | None = field(default=None, converter=_correction)

    @classmethod
    def fit(cls, name: str, values: np.ndarray, within: tuple[float, float] | None = None) -> Regression:
        """Return a task that is fitted to the training values ``(n,)``.

        Raises:
            ZooError: all training networks have the same value.
        """
        if np.ptp(values) == 0:
            raise ZooError(
                f"property {name!r} has the same value, {values[0]:g}, in all {len(values)} training "
                f"networks: there is nothing to learn"
            )
        return cls(name=name, mean=float(np.mean(values)), std=float(np.std(values)), within=within)

    def truth(self, column: Column) -> np.ndarray:
        """Return the true values ``(n,)`` in a column, as float64."""
        return column.values.astype(np.float64)

    def targets(self, truth: np.ndarray) -> np.ndarray:
        """Return the standardised values ``(n, 1)``, as float64.

        Values are converted to float32 only after this. Large values, such as seconds since 1970 (1.7e9),
        would lose their differences before: there, two neighbouring float32 numbers are 128 apart.
        """
        standardised: np.ndarray = (np.asarray(truth, np.float64) - self.mean) / self.std
        return standardised[:, None]

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the squared errors ``(B,)`` of the standardised values."""
        return (value.float() - target).square().squeeze(1)

    def predict(self, value: Tensor) -> np.ndarray:
        """Return the predicted values ``(B,)`` in the unit of the property, as float64."""
        values: np.ndarray = value.detach().squeeze(1).double().cpu().numpy() * self.std + self.mean
        values = values if self.correction is None else self.correction(values)
        return values if self.within is None else values.clip(*self.within)

    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score the predictions in the unit of the property."""
        return score(truth, self.predict(value))

    def constant(self) -> Tensor:
        """Return 0, which is the standardised training mean."""
        return torch.zeros(1)


@frozen(kw_only=True)
class LogRegression(Task):
    """Learns the natural logarithm of a positive number, such as a learning rate.

    The loss is the squared error of the standardised logarithms. So a prediction that is twice the true value
    costs as much as one that is half of it, however small the value is.

    Args:
        name: name of the property.
        mean: mean of the logarithm of the property over the training networks.
        std: standard deviation of this logarithm over the training networks.
        correction: correction of the predicted values, or None. A result below 0 becomes 0.
    """

    kind = "log"
    width = 1
    within = (0.0, math.inf)

    name: str
    mean: float
    std: float
    correction: Correction | None = field(default=None, converter=_correction)

    @classmethod
    def fit(cls, name: str, values: np.ndarray) -> LogRegression:
        """Return a task that is fitted to the training values ``(n,)``.

        Raises:
            ZooError: a value is not positive, or all training networks have the same value.
        """
        Regression.fit(name, values)  # raises ZooError if all values are equal
        logs = _logs(name, values)
        return cls(name=name, mean=float(np.mean(logs)), std=float(np.std(logs)))

    def truth(self, column: Column) -> np.ndarray:
        """Return the true values ``(n,)`` in a column, as float64."""
        return column.values.astype(np.float64)

    def targets(self, truth: np.ndarray) -> np.ndarray:
        """Return the standardised logarithms ``(n, 1)``, as float64.

        Raises:
            ZooError: a value is not positive.
        """
        standardised: np.ndarray = (_logs(self.name, truth) - self.mean) / self.std
        return standardised[:, None]

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the squared errors ``(B,)`` of the standardised logarithms."""
        return (value.float() - target).square().squeeze(1)

    def predict(self, value: Tensor) -> np.ndarray:
        """Return the predicted values ``(B,)`` in the unit of the property, as float64."""
        logs: np.ndarray = value.detach().squeeze(1).double().cpu().numpy() * self.std + self.mean
        values: np.ndarray = np.exp(logs.clip(-MOST_LOG, MOST_LOG))
        return values if self.correction is None else self.correction(values).clip(*self.within)

    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score the predictions in the unit of the property."""
        return score(truth, self.predict(value))

    def constant(self) -> Tensor:
        """Return 0, which is the standardised mean of the training logarithms."""
        return torch.zeros(1)


@frozen(kw_only=True)
class Fraction(Task):
    """Learns a property in [0, 1], such as an accuracy, by cross-entropy with soft labels, as SNE and NFN do.

    Args:
        name: name of the property.
        mean: mean of the property over the training networks.
        correction: correction of the predicted fractions, or None. The result is clipped to [0, 1].
    """

    kind = "fraction"
    width = 1
    within = (0.0, 1.0)

    name: str
    mean: float
    correction: Correction | None = field(default=None, converter=_correction)

    def truth(self, column: Column) -> np.ndarray:
        """Return the true values ``(n,)`` in a column, as float64."""
        return column.values.astype(np.float64)

    def targets(self, truth: np.ndarray) -> np.ndarray:
        """Return the true values, reshaped to ``(n, 1)``."""
        return np.asarray(truth, np.float64)[:, None]

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return cross-entropies ``(B,)`` minus the entropies of the targets, so that the smallest is 0."""
        least = -(torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target))
        losses = F.binary_cross_entropy_with_logits(value.float(), target, reduction="none") - least
        return losses.squeeze(1)

    def predict(self, value: Tensor) -> np.ndarray:
        """Return the predicted values ``(B,)``, float64 in [0, 1]."""
        values: np.ndarray = value.detach().squeeze(1).double().sigmoid().cpu().numpy()
        return values if self.correction is None else self.correction(values).clip(*self.within)

    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score the predicted fractions, not the logits."""
        return score(truth, self.predict(value))

    def constant(self) -> Tensor:
        """Return the logit of the training mean."""
        return torch.tensor([self.mean], dtype=torch.float64).logit()


def _logs(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if (least := float(values.min())) <= 0:
        raise ZooError(
            f"property {name!r} has the value {least:g}, which has no logarithm; "
            f"set zoo.task = 'regression', or leave out the networks that have it with zoo.where"
        )
    return np.log(values)
