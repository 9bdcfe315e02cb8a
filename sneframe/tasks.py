"""A task defines how a property is learned: the targets, the loss, and the conversion of raw outputs.

The type of the property selects the task. A number is regressed. A number in [0, 1], such as an accuracy, is
a soft label. A text is a category. For a number whose order of magnitude matters, such as a learning rate,
the configuration can ask for a regression of its logarithm. If several properties are learned together, each
property has its own columns in the raw output.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from attrs import field, frozen
from einops import rearrange
from torch import Tensor

from sneframe.config.validators import as_tuple
from sneframe.correction import Correction
from sneframe.errors import ZooError
from sneframe.metrics import Scores, score, score_classes
from sneframe.zoo.column import Column, no_category

SPREAD = 0.1  #: a property in [0, 1] is a fraction only if its training values span at least this much
MOST_CLASSES = 100
MOST_LOG = 700.0  #: largest size of a predicted logarithm; exp of a larger one is not finite


def _limits(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])


def _correction(value: Correction | Mapping[str, Any] | None) -> Correction | None:
    return Correction(**value) if isinstance(value, Mapping) else value


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
        """Return the raw output ``(T,)`` that predicts the training mean or frequencies, if not corrected."""


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

        Values are converted to float32 only after this, because float32 numbers near 1.7e9 are 128 apart.
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
        return values if self.correction is None else self.correction(values).clip(0, 1)

    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score the predicted fractions, not the logits."""
        return score(truth, self.predict(value))

    def constant(self) -> Tensor:
        """Return the logit of the training mean."""
        return torch.tensor([self.mean], dtype=torch.float64).logit()


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
        return values if self.correction is None else self.correction(values).clip(0)

    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score the predictions in the unit of the property."""
        return score(truth, self.predict(value))

    def constant(self) -> Tensor:
        """Return 0, which is the standardised mean of the training logarithms."""
        return torch.zeros(1)


@frozen(kw_only=True)
class Category(Task):
    """Learns a category, such as the name of the training set, by cross-entropy.

    Args:
        name: name of the property.
        classes: the different labels of the training networks, sorted.
        frequencies: fraction of the training networks in each class.
        fitted: whether the head is fitted by squared error, to a column of zeros and ones for each class. The
            raw outputs are then no logits. The probabilities are the raw outputs, clipped to [0, 1] and
            divided by their sum.
    """

    kind = "category"
    within = None

    name: str
    classes: tuple[str, ...] = field(converter=as_tuple)
    frequencies: tuple[float, ...] = field(converter=as_tuple)
    fitted: bool = False

    @classmethod
    def fit(cls, name: str, labels: np.ndarray, *, fitted: bool = False) -> Category:
        """Return a task that is fitted to the training labels ``(n,)``.

        Raises:
            ZooError: there is only one class, or there are more than a hundred.
        """
        classes, counts = np.unique(labels.astype(str), return_counts=True)
        if len(classes) == 1:
            raise ZooError(
                f"property {name!r} has the same value, {str(classes[0])!r}, in all {len(labels)} training "
                f"networks: there is nothing to learn"
            )
        if len(classes) > MOST_CLASSES:
            raise ZooError(
                f"property {name!r} has {len(classes)} different values in the training networks, "
                f"but a category can have {MOST_CLASSES} at most"
            )
        frequencies = counts / counts.sum()
        return cls(name=name, classes=classes.tolist(), frequencies=frequencies.tolist(), fitted=fitted)

    @property
    def width(self) -> int:
        """K, the number of classes. The raw output has one column for each class."""
        return len(self.classes)

    def truth(self, column: Column) -> np.ndarray:
        """Return the labels ``(n,)`` in a column."""
        return labels(column)

    def targets(self, truth: np.ndarray) -> np.ndarray:
        """Return one-hot rows ``(n, K)``. A label that no training network has becomes a row of zeros."""
        return np.where(truth[:, None] == np.array(self.classes, dtype=object), 1.0, 0.0)

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropies ``(B,)``. The raw outputs are logits."""
        return -(target * value.float().log_softmax(1)).sum(1)

    def predict(self, value: Tensor) -> np.ndarray:
        """Return a label for each network, ``(B,)``: the class with the largest raw output."""
        return np.array(self.classes, dtype=object)[value.detach().cpu().argmax(1).numpy()]

    def probabilities(self, value: Tensor) -> np.ndarray:
        """Return the predicted probabilities ``(B, K)`` of the classes."""
        value = value.detach().double().cpu()
        if not self.fitted:
            return value.softmax(1).numpy()
        # Add a little to the largest output. If all outputs are clipped to 0, their sum would otherwise be 0.
        cut = value.clamp(0, 1) + 1e-9 * F.one_hot(value.argmax(1), self.width)
        return np.asarray((cut / cut.sum(1, keepdim=True)).numpy())

    def probability_of(self, truth: np.ndarray, value: Tensor) -> np.ndarray:
        """Return the probabilities ``(n,)`` of the true classes. Classes without training networks get 0."""
        true, probabilities = self._indices(truth), self.probabilities(value)
        return np.asarray(np.where(true < 0, 0.0, probabilities[np.arange(len(true)), true]))

    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score the probabilities. A class without training networks counts as predicted wrongly."""
        return score_classes(self._indices(truth), self.probabilities(value))

    def _indices(self, truth: np.ndarray) -> np.ndarray:
        """Return the index of each label in ``classes``, or −1 for a label that no training network has."""
        indices = {label: index for index, label in enumerate(self.classes)}
        return np.array([indices.get(label, -1) for label in truth])

    def constant(self) -> Tensor:
        """Return the raw output from which :meth:`probabilities` computes the class frequencies."""
        frequencies = torch.tensor(self.frequencies, dtype=torch.float64)
        return frequencies if self.fitted else frequencies.log()


KINDS: dict[str, type[Task]] = {each.kind: each for each in (Regression, Fraction, LogRegression, Category)}


def _logs(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if (least := float(values.min())) <= 0:
        raise ZooError(
            f"property {name!r} has the value {least:g}, which has no logarithm; "
            f"set zoo.task = 'regression', or leave out the networks that have it with zoo.where"
        )
    return np.log(values)


def labels(column: Column) -> np.ndarray:
    """Return the values ``(n,)`` of a column as strings, dtype object. The float 3.0 becomes ``"3"``."""
    values = column.values.tolist()
    if column.kind == "float":
        values = [int(value) if value.is_integer() else value for value in values]
    return np.array([str(value) for value in values], dtype=object)


def make_task(name: str, training: Column, *, kind: str = "auto", fitted: bool = False) -> Task:
    """Return the task of a property, fitted to the training networks.

    Args:
        name: name of the property.
        training: the values of the property in the training networks.
        kind: ``regression``, ``fraction``, ``log`` or ``category``. ``auto`` makes texts and bools a
            category. It makes floats in [0, 1] that span at least 0.1 a fraction, and regresses all other
            numbers.
        fitted: whether the head is fitted by squared error. A fraction is then regressed.

    Raises:
        ZooError: the values do not suit ``kind``, or all values are equal. With ``auto``, texts that do not
            look like a category are an error, too: most texts are distinct, or some are numbers.
    """
    if kind == "auto":
        kind = _kind_of(training)
        if (reason := no_category(training)) is not None:
            raise ZooError(
                f"property {name!r} is text, {reason}; if the property is a category, set zoo.task = category"
            )
    if kind == "category":
        return Category.fit(name, labels(training), fitted=fitted)
    if training.kind in ("string", "bool"):
        raise ZooError(
            f"property {name!r} holds {training.kind}s, so zoo.task must be 'category', but got {kind!r}"
        )
    values = training.values.astype(np.float64)
    if kind == "regression":
        return Regression.fit(name, values)
    if kind == "log":
        return LogRegression.fit(name, values)
    if values.min() < 0 or values.max() > 1:
        raise ZooError(
            f"property {name!r} has values in [{values.min():g}, {values.max():g}], but a fraction must be "
            f"in [0, 1]; set zoo.task = 'regression'"
        )
    regressed = Regression.fit(name, values, within=(0.0, 1.0))  # raises ZooError if all values are equal
    return regressed if fitted else Fraction(name=name, mean=regressed.mean)


def _kind_of(column: Column) -> str:
    if column.kind in ("string", "bool"):
        return "category"
    if column.kind == "int":
        return "regression"
    low, high = column.values.min(), column.values.max()
    return "fraction" if low >= 0 and high <= 1 and high - low >= SPREAD else "regression"


@frozen(kw_only=True, slots=False)
class Tasks:
    """The tasks of a run, which are learned together. The scores of the first task decide the best epoch.

    Args:
        each: the tasks, at least one.
    """

    each: tuple[Task, ...] = field(converter=as_tuple)

    @property
    def main(self) -> Task:
        """The task of the main property, which is the first task."""
        return self.each[0]

    @property
    def width(self) -> int:
        """T, the number of columns of the raw output."""
        return sum(task.width for task in self.each)

    @cached_property
    def _columns(self) -> tuple[slice, ...]:
        ends = np.cumsum([0, *(task.width for task in self.each)]).tolist()
        return tuple(slice(start, end) for start, end in pairwise(ends))

    def split(self, value: Tensor) -> Iterator[tuple[Task, Tensor]]:
        """Yield each task together with the columns of the raw outputs ``(B, T)`` that belong to the task."""
        for task, columns in zip(self.each, self._columns, strict=True):
            yield task, value[:, columns]

    def targets(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Return float64 targets ``(n, T)``. ``columns`` has the true values of each property, by name."""
        return np.concatenate([task.targets(task.truth(columns[task.name])) for task in self.each], axis=1)

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the losses ``(B,)`` of the networks, averaged over the tasks."""
        pairs = zip(self.split(value), self._columns, strict=True)
        losses = [task.loss(own, target[:, columns]) for (task, own), columns in pairs]
        return losses[0] if len(losses) == 1 else rearrange(losses, "task b -> task b").mean(0)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the tasks as plain data for JSON."""
        # asdict takes attrs values. Task is no attrs class, but its subclasses are.
        return [{"kind": task.kind, **attrs.asdict(task)} for task in self.each]  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, data: Sequence[Mapping[str, Any]]) -> Tasks:
        """Build the tasks from the data that :meth:`to_json` returned."""
        made = []
        for each in data:
            options = dict(each)
            made.append(KINDS[options.pop("kind")](**options))
        return cls(each=made)
