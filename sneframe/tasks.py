"""A task is how a property is learned: the targets, the loss, and how raw outputs become values again.

The type of the property decides. A number is regressed; a number in [0, 1], such as an accuracy, is a soft
label; a text is a category. Several properties are learned together, on different columns of the raw output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

from sneframe.errors import ZooError
from sneframe.metrics import Scores, score, score_classes
from sneframe.zoo.column import Column, no_category

SPREAD = 0.1  #: if its training values span less, a property in [0, 1] is a small number and no fraction
MOST_CLASSES = 100


def _limits(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _numbers(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


class Task(ABC):
    """How a property is learned: a frozen value, fitted to the training networks.

    Attributes:
        name: name of the property.
        kind: kind of the task, as the configuration and files call it.
        width: T, the number of its columns in the raw output.
    """

    kind: ClassVar[str]
    name: str

    @property
    @abstractmethod
    def width(self) -> int:
        """T."""

    @abstractmethod
    def truth(self, column: Column) -> np.ndarray:
        """Return the true values ``(n,)`` in the form of :meth:`predict`: float64, or labels."""

    @abstractmethod
    def targets(self, truth: np.ndarray) -> np.ndarray:
        """Return the targets ``(n, T)`` of the raw outputs, float64."""

    @abstractmethod
    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the losses ``(B,)`` of raw outputs ``(B, T)`` for targets ``(B, T)``."""

    @abstractmethod
    def predict(self, value: Tensor) -> np.ndarray:
        """Return the values ``(B,)`` of the property for raw outputs ``(B, T)``: float64, or labels."""

    @abstractmethod
    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score raw outputs ``(n, T)`` against true values ``(n,)``."""

    @abstractmethod
    def constant(self) -> Tensor:
        """Return the raw output ``(T,)`` that predicts the mean of the training networks."""


@frozen(kw_only=True)
class Regression(Task):
    """A real property: squared error on targets that are standardised by the training networks.

    Args:
        name: name of the property.
        mean: mean over the training networks.
        std: standard deviation over the training networks.
        within: limits to which predictions are clipped, or None.
    """

    kind = "regression"
    width = 1

    name: str
    mean: float
    std: float
    within: tuple[float, float] | None = field(default=None, converter=_limits)

    @classmethod
    def fit(cls, name: str, values: np.ndarray, within: tuple[float, float] | None = None) -> Regression:
        """Return the task for the training values ``(n,)``.

        Raises:
            ZooError: all training networks have the same value.
        """
        if np.ptp(values) == 0:
            raise ZooError(
                f"property {name!r} has the one value {values[0]:g} in all {len(values)} training networks: "
                f"there is nothing to learn"
            )
        return cls(name=name, mean=float(np.mean(values)), std=float(np.std(values)), within=within)

    def truth(self, column: Column) -> np.ndarray:
        """Return ``(n,)`` float64."""
        return column.values.astype(np.float64)

    def targets(self, truth: np.ndarray) -> np.ndarray:
        """Return standardised values ``(n, 1)`` float64.

        Convert to single precision afterwards, never before: a float32 near 1.7e9 is a multiple of 128.
        """
        standardised: np.ndarray = (np.asarray(truth, np.float64) - self.mean) / self.std
        return standardised[:, None]

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the squared errors ``(B,)``, in standardised units."""
        return (value.float() - target).square().squeeze(1)

    def predict(self, value: Tensor) -> np.ndarray:
        """Return ``(B,)`` float64."""
        values: np.ndarray = value.detach().squeeze(1).double().cpu().numpy() * self.std + self.mean
        return values if self.within is None else values.clip(*self.within)

    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score in the units of the property."""
        return score(truth, self.predict(value))

    def constant(self) -> Tensor:
        """Return zero, the standardised mean."""
        return torch.zeros(1)


@frozen(kw_only=True)
class Fraction(Task):
    """A property in [0, 1], such as an accuracy: binary cross-entropy with soft labels, as in SNE and NFN.

    Args:
        name: name of the property.
        mean: mean over the training networks.
    """

    kind = "fraction"
    width = 1

    name: str
    mean: float

    def truth(self, column: Column) -> np.ndarray:
        """Return ``(n,)`` float64."""
        return column.values.astype(np.float64)

    def targets(self, truth: np.ndarray) -> np.ndarray:
        """Return the true values as they are, ``(n, 1)``."""
        return np.asarray(truth, np.float64)[:, None]

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropies ``(B,)`` minus the entropies of the targets, so that the least is 0."""
        least = -(torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target))
        return (F.binary_cross_entropy_with_logits(value.float(), target, reduction="none") - least).squeeze(
            1
        )

    def predict(self, value: Tensor) -> np.ndarray:
        """Return ``(B,)`` float64 in [0, 1]."""
        values: np.ndarray = value.detach().squeeze(1).double().sigmoid().cpu().numpy()
        return values

    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score fractions, not logits."""
        return score(truth, self.predict(value))

    def constant(self) -> Tensor:
        """Return the logit of the mean."""
        return torch.tensor([self.mean], dtype=torch.float64).logit()


@frozen(kw_only=True)
class Category(Task):
    """A category, such as the training set: cross-entropy.

    Args:
        name: name of the property.
        classes: labels of the training networks, in order.
        frequencies: frequency of each class in the training networks.
        fitted: whether the head is fitted by squared error, to a column of zeros and ones for each class, and
            gives no logits. Then the largest output is the class, and the outputs are clipped to [0, 1] and
            divided by their sum to get probabilities.
    """

    kind = "category"

    name: str
    classes: tuple[str, ...] = field(converter=_texts)
    frequencies: tuple[float, ...] = field(converter=_numbers)
    fitted: bool = False

    @classmethod
    def fit(cls, name: str, labels: np.ndarray, *, fitted: bool = False) -> Category:
        """Return the task for the training labels ``(n,)``.

        Raises:
            ZooError: there is only one class, or more than a hundred.
        """
        classes, counts = np.unique(labels.astype(str), return_counts=True)
        if len(classes) == 1:
            raise ZooError(
                f"property {name!r} has the one value {str(classes[0])!r} in all {len(labels)} training "
                f"networks: there is nothing to learn"
            )
        if len(classes) > MOST_CLASSES:
            raise ZooError(
                f"property {name!r} has {len(classes)} different values in the training networks, "
                f"a category has {MOST_CLASSES} at most"
            )
        frequencies = counts / counts.sum()
        return cls(name=name, classes=classes.tolist(), frequencies=frequencies.tolist(), fitted=fitted)

    @property
    def width(self) -> int:
        """K, one column for each class."""
        return len(self.classes)

    def truth(self, column: Column) -> np.ndarray:
        """Return the labels ``(n,)``."""
        return labels(column)

    def targets(self, truth: np.ndarray) -> np.ndarray:
        """Return one-hot rows ``(n, K)``; a class that no training network has is a row of zeros."""
        return np.where(truth[:, None] == np.array(self.classes, dtype=object), 1.0, 0.0)

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropies ``(B,)``."""
        return -(target * value.float().log_softmax(1)).sum(1)

    def predict(self, value: Tensor) -> np.ndarray:
        """Return the labels ``(B,)``."""
        return np.array(self.classes, dtype=object)[value.detach().cpu().argmax(1).numpy()]

    def probabilities(self, value: Tensor) -> np.ndarray:
        """Return the probabilities ``(B, K)``."""
        value = value.detach().double().cpu()
        if not self.fitted:
            return value.softmax(1).numpy()
        # The largest output gets a little more, because all outputs may be clipped to 0.
        cut = value.clamp(0, 1) + 1e-9 * F.one_hot(value.argmax(1), self.width)
        return np.asarray((cut / cut.sum(1, keepdim=True)).numpy())

    def probability_of(self, truth: np.ndarray, value: Tensor) -> np.ndarray:
        """Return ``(n,)`` probabilities of the true classes; 0 for a class that no training network has."""
        true, probabilities = self._indices(truth), self.probabilities(value)
        return np.asarray(np.where(true < 0, 0.0, probabilities[np.arange(len(true)), true]))

    def score(self, truth: np.ndarray, value: Tensor) -> Scores:
        """Score probabilities; a class that no training network has is always missed."""
        return score_classes(self._indices(truth), self.probabilities(value))

    def _indices(self, truth: np.ndarray) -> np.ndarray:
        """Return the index of each label among the classes; −1 for a class that no training network has."""
        indices = {label: index for index, label in enumerate(self.classes)}
        return np.array([indices.get(label, -1) for label in truth])

    def constant(self) -> Tensor:
        """Return the raw output for which the probability of each class is its frequency."""
        frequencies = torch.tensor(self.frequencies, dtype=torch.float64)
        return frequencies if self.fitted else frequencies.log()


KINDS: dict[str, type[Task]] = {each.kind: each for each in (Regression, Fraction, Category)}


def labels(column: Column) -> np.ndarray:
    """Return the values of a column as texts ``(n,)`` of dtype object; whole floats are written as ints."""
    values = column.values.tolist()
    if column.kind == "float":
        values = [int(value) if value.is_integer() else value for value in values]
    return np.array([str(value) for value in values], dtype=object)


def make_task(name: str, training: Column, *, kind: str = "auto", fitted: bool = False) -> Task:
    """Choose the task of a property by its type.

    Args:
        name: name of the property.
        training: its values in the training networks.
        kind: ``regression``, ``fraction`` or ``category``. With ``auto``, a text or a bool is a category, a
            float whose values are in [0, 1] and span at least a tenth of it is a fraction, and any other
            number is regressed.
        fitted: whether the head is fitted by squared error, so that a fraction is regressed.

    Raises:
        ZooError: the kind cannot have these values, or all values are equal. With ``auto`` also if a text
            does not look like a category: more than half of its values are distinct, or some of them are
                numbers.
    """
    if kind == "auto":
        kind = _kind_of(training)
        if (reason := no_category(training)) is not None:
            raise ZooError(
                f"property {name!r} is text, {reason}; if it is a category, set zoo.task = category"
            )
    if kind == "category":
        return Category.fit(name, labels(training), fitted=fitted)
    if training.kind in ("string", "bool"):
        raise ZooError(
            f"property {name!r} holds {training.kind}s, which zoo.task = {kind!r} cannot learn; "
            f"it is a category"
        )
    values = training.values.astype(np.float64)
    if kind == "regression":
        return Regression.fit(name, values)
    if values.min() < 0 or values.max() > 1:
        raise ZooError(
            f"property {name!r} lies in [{values.min():g}, {values.max():g}], but a fraction lies in [0, 1]; "
            f"choose zoo.task = 'regression'"
        )
    regressed = Regression.fit(name, values, within=(0.0, 1.0))  # this refuses equal values
    return regressed if fitted else Fraction(name=name, mean=regressed.mean)


def _kind_of(column: Column) -> str:
    if column.kind in ("string", "bool"):
        return "category"
    if column.kind == "int":
        return "regression"
    low, high = column.values.min(), column.values.max()
    return "fraction" if low >= 0 and high <= 1 and high - low >= SPREAD else "regression"


def _tasks(values: Iterable[Task]) -> tuple[Task, ...]:
    return tuple(values)


@frozen(kw_only=True, slots=False)
class Tasks:
    """The tasks of a run, learned together. The first is the main one, which decides the best epoch.

    Args:
        each: the tasks, at least one.
    """

    each: tuple[Task, ...] = field(converter=_tasks)

    @property
    def main(self) -> Task:
        """The main task."""
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
        """Yield each task with its own columns of the raw outputs ``(B, T)``."""
        for task, columns in zip(self.each, self._columns, strict=True):
            yield task, value[:, columns]

    def targets(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Return the targets ``(n, T)``, float64, of the networks to which the columns belong."""
        return np.concatenate([task.targets(task.truth(columns[task.name])) for task in self.each], axis=1)

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the losses ``(B,)``, averaged over the tasks."""
        pairs = zip(self.split(value), self._columns, strict=True)
        losses = [task.loss(own, target[:, columns]) for (task, own), columns in pairs]
        return losses[0] if len(losses) == 1 else rearrange(losses, "task b -> task b").mean(0)

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain data."""
        # Task is no attrs class, but its subclasses are.
        return [{"kind": task.kind, **attrs.asdict(task)} for task in self.each]  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, data: Sequence[Mapping[str, Any]]) -> Tasks:
        """Return the tasks from the data of :meth:`to_json`."""
        made = []
        for each in data:
            options = dict(each)
            made.append(KINDS[options.pop("kind")](**options))
        return cls(each=made)
