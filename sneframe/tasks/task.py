"""Define Task: how one property is learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from torch import Tensor

from sneframe.metrics import Scores
from sneframe.zoo.column import Column


class Task(ABC):
    """Defines how a property is learned. A task is a frozen value that was fitted to the training networks.

    Attributes:
        name: name of the property.
        kind: kind of the task, as the configuration and files call it.
        width: T, the number of columns of the property in the raw output.
    """

    kind: ClassVar[str]
    name: str

    @property
    @abstractmethod
    def width(self) -> int:
        """T, the number of columns of the property in the raw output."""

    @property
    @abstractmethod
    def within(self) -> tuple[float, float] | None:
        """The smallest and the largest number that the property can be; None if there are no limits."""

    @abstractmethod
    def truth(self, column: Column) -> np.ndarray:
        """Return the true values ``(n,)`` in a column: float64, or labels for a category."""

    @abstractmethod
    def targets(self, truth: np.ndarray) -> np.ndarray:
        """Convert true values ``(n,)`` to the float64 targets ``(n, T)`` of the raw outputs."""

    @abstractmethod
    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return a loss for each network, ``(B,)``, from raw outputs ``(B, T)`` and targets ``(B, T)``."""

    @abstractmethod
    def predict(self, value: Tensor) -> np.ndarray:
        """Convert raw outputs ``(B, T)`` to values ``(B,)``: float64, or labels for a category."""

    @abstractmethod
    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score raw outputs ``(n, T)`` against true values ``(n,)``."""

    @abstractmethod
    def constant(self) -> Tensor:
        """Return the raw output ``(T,)`` of the baseline.

        Without a correction, it predicts the mean of the training networks, for the task ``log`` their
        geometric mean, and for a category the frequencies of its classes.
        """
