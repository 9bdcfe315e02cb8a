"""The ways in which a run can be adapted, from the simplest to the one with the most freedom.

Each way is a :class:`Adjustment`: it fits a head and tasks to a few labelled networks. An adjustment that does not
change the head only adds a :class:`~sneframe.correction.Correction` to the tasks.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.correction import Correction
from sneframe.parts.head import Head
from sneframe.plugins import Blamed
from sneframe.tasks import Task, Tasks

SLOPES = 1e-12  #: a spread of predicted values below this counts as none


@frozen(kw_only=True, eq=False)
class Labelled:
    """Networks whose properties are known.

    Args:
        embedding: ``(n, E)`` embeddings, from the encoder of the run.
        truth: the true values ``(n,)`` of each property, float64, by the name of the property.
        group: ``(n,)`` run groups.
    """

    embedding: Tensor
    truth: Mapping[str, np.ndarray]
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.group)

    def take(self, rows: np.ndarray) -> Labelled:
        """Return the networks at some rows."""
        index = torch.from_numpy(rows)
        return Labelled(
            embedding=self.embedding[index],
            truth={name: values[rows] for name, values in self.truth.items()},
            group=self.group[rows],
        )


@frozen(kw_only=True, eq=False)
class Fitted:
    """A head and tasks that were fitted to labelled networks.

    Args:
        head: the head; the head of the run itself if it was not changed.
        tasks: the tasks, with their corrections.
    """

    head: Head
    tasks: Tasks

    def predict(self, embedding: Tensor) -> dict[str, np.ndarray]:
        """Return the predicted values ``(n,)`` for embeddings ``(n, E)``, by the name of the property."""
        value = raw_outputs(self.head, embedding)
        return {task.name: task.predict(own) for task, own in self.tasks.split(value)}


def raw_outputs(head: Head, embedding: Tensor) -> Tensor:
    """Return the raw outputs ``(n, T)`` of a head for embeddings ``(n, E)``."""
    with torch.no_grad(), Blamed(head):
        value: Tensor = head(embedding)
    return value


class Adjustment(ABC):
    """A way to adapt a run.

    Attributes:
        name: the name in files and tables.
        meaning: what the adjustment does, in a few words.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]

    @abstractmethod
    def fit(self, head: Head, tasks: Tasks, networks: Labelled) -> Fitted:
        """Fit to labelled networks. ``head`` and ``tasks`` are those of the run, and are not changed."""


@final
class Nothing(Adjustment):
    """Leaves the run as it is."""

    name = "nothing"
    meaning = "the run as it is"

    def fit(self, head: Head, tasks: Tasks, networks: Labelled) -> Fitted:  # noqa: ARG002  # nothing is fitted
        """Return the head and the tasks of the run."""
        return Fitted(head=head, tasks=tasks)


class Corrected(Adjustment):
    """Corrects the values that the run predicts, each property by a function of its own."""

    @abstractmethod
    def correction(self, predicted: np.ndarray, true: np.ndarray) -> Correction:
        """Return the correction that is fitted to predicted and true values ``(n,)``."""

    def fit(self, head: Head, tasks: Tasks, networks: Labelled) -> Fitted:
        """Fit a correction of each property, and keep the head."""
        pairs = tasks.split(raw_outputs(head, networks.embedding))
        each = [self._corrected(task, task.predict(own), networks) for task, own in pairs]
        return Fitted(head=head, tasks=Tasks(each=each))

    def _corrected(self, task: Task, predicted: np.ndarray, networks: Labelled) -> Task:
        correction = self.correction(predicted, networks.truth[task.name])
        return evolve(task, correction=correction)  # type: ignore[misc]  # each task of a number has one


@final
class Shift(Corrected):
    """Adds the mean error to every value."""

    name = "shift"
    meaning = "a number is added to every value"

    def correction(self, predicted: np.ndarray, true: np.ndarray) -> Correction:
        """Return the shift with the smallest squared error."""
        return Correction.shift(float(np.mean(true - predicted)))


@final
class Affine(Corrected):
    """Maps the values by the straight line with the smallest squared error whose slope is not negative."""

    name = "affine"
    meaning = "a straight line that does not fall"

    def correction(self, predicted: np.ndarray, true: np.ndarray) -> Correction:
        """Return the straight line. If all predicted values are equal, it adds a number."""
        if np.ptp(predicted) < SLOPES:
            return Correction.shift(float(np.mean(true - predicted)))
        centred = predicted - predicted.mean()
        slope = max(0.0, float(centred @ true / (centred @ centred)))
        return Correction.affine(slope, float(true.mean() - slope * predicted.mean()))


@final
class Monotone(Corrected):
    """Maps the values by isotonic regression: the non-decreasing function with the smallest squared error."""

    name = "monotone"
    meaning = "any function that does not fall (isotonic regression)"

    def correction(self, predicted: np.ndarray, true: np.ndarray) -> Correction:
        """Return the piecewise linear function through the fitted values, constant outside of them."""
        from sklearn.isotonic import IsotonicRegression

        fitted = IsotonicRegression(out_of_bounds="clip").fit(predicted, true)
        return Correction(x=fitted.X_thresholds_, y=fitted.y_thresholds_, slope=0.0)


@final
class HeadRefit(Adjustment):
    name = "head"
    meaning = ""

    def __init__(self, penalty, correct=None):
        self.penalty = penalty
        self.correct = correct
        self.name = f"head {penalty}"

    def fit(self, head: Head, tasks: Tasks, networks: Labelled) -> Fitted:
        if head.trained:
            return self._trained(head, tasks, networks)
        new = copy.deepcopy(head)

        targets = np.concatenate([t.targets(networks.truth[t.name]) for t in tasks.each], 1)
        copies = max(1, round(self.penalty * len(head.embeddings) / len(networks)))
        new.finish(
            torch.cat([head.embeddings, networks.embedding.repeat(copies, 1)]),
            torch.cat([head.targets, torch.from_numpy(targets).to(head.targets).repeat(copies, 1)]),
        )
        return Fitted(head=new, tasks=tasks)

    def _trained(self, head, tasks, networks):
        new = copy.deepcopy(head).double()
        new.eval()
        old = [p.detach().clone() for p in new.parameters()]
        targets = torch.from_numpy(np.concatenate([t.targets(networks.truth[t.name]) for t in tasks.each], 1))
        optimiser = torch.optim.LBFGS(
            new.parameters(), max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-10
        )

        def closure():
            optimiser.zero_grad()
            loss = (
                tasks.loss64(new(networks.embedding.double()), targets)
                if hasattr(tasks, "loss64")
                else tasks.loss(new(networks.embedding.double()), targets.float()).sum()
            )
            loss = loss + self.penalty * sum(
                ((p - o) ** 2).sum() for p, o in zip(new.parameters(), old) if p.ndim > 1
            )
            loss.backward()
            return loss

        optimiser.step(closure)
        return Fitted(head=new.float(), tasks=tasks)


def adjustments_for(head: Head) -> tuple[Adjustment, ...]:
    """Return the adjustments for a run with this head, the simplest first."""
    return (Nothing(), Shift(), Affine(), Monotone())
