"""The adjustments: the ways to adapt a run, from the simplest to the one with the most freedom.

An adjustment fits a head and tasks to a few labelled networks. Most of them keep the head, and only add a
:class:`~sneframe.correction.Correction` to the tasks.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.correction import Correction
from sneframe.parts.head import FittedHead, Head
from sneframe.plugins import Blamed
from sneframe.tasks import Task, Tasks

NARROW = 1e-12  #: predicted values that differ by less than this count as equal
PENALTY = 1.0  #: weight of the squared change of the weights of a head that gradients train
STEPS = 100  #: the largest number of L-BFGS steps
COPIES = 0.2  #: copies of labelled networks for a fitted head, as a fraction of its training networks


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
        fewest: with fewer labelled run groups than this, the adjustment is not tried.
    """

    name: str
    fewest: int

    @abstractmethod
    def fit(self, head: Head, tasks: Tasks, networks: Labelled) -> Fitted:
        """Fit to labelled networks. ``head`` and ``tasks`` are those of the run, and are not changed."""


@final
@frozen
class Nothing(Adjustment):
    """Leaves the run as it is."""

    name = "nothing"
    fewest = 0

    def fit(self, head: Head, tasks: Tasks, networks: Labelled) -> Fitted:  # noqa: ARG002  # nothing is fitted
        """Return the head and the tasks of the run."""
        return Fitted(head=head, tasks=tasks)


@final
@frozen(kw_only=True)
class Corrected(Adjustment):
    """Corrects the values that the run predicts, each property by a function of its own.

    Args:
        name: the name in files and tables.
        correction: fits a correction to predicted and true values ``(n,)``.
        fewest: with fewer labelled run groups than this, the adjustment is not tried.
    """

    name: str
    correction: Callable[[np.ndarray, np.ndarray], Correction]
    fewest: int = 0

    def fit(self, head: Head, tasks: Tasks, networks: Labelled) -> Fitted:
        """Fit a correction of each property, and keep the head."""
        pairs = tasks.split(raw_outputs(head, networks.embedding))
        each = [self._corrected(task, task.predict(own), networks) for task, own in pairs]
        return Fitted(head=head, tasks=Tasks(each=each))

    def _corrected(self, task: Task, predicted: np.ndarray, networks: Labelled) -> Task:
        correction = self.correction(predicted, networks.truth[task.name])
        return evolve(task, correction=correction)  # type: ignore[misc]  # each task of a number has one


def shift(predicted: np.ndarray, true: np.ndarray) -> Correction:
    """Return the correction that adds the mean error, the number with the smallest squared error."""
    return Correction.shift(float(np.mean(true - predicted)))


def affine(predicted: np.ndarray, true: np.ndarray) -> Correction:
    """Return the straight line with the smallest squared error whose slope is not negative.

    If all predicted values are equal, the slope is 1.
    """
    if np.ptp(predicted) < NARROW:
        return shift(predicted, true)
    centred = predicted - predicted.mean()
    slope = max(0.0, float(centred @ true / (centred @ centred)))
    return Correction.affine(slope, float(true.mean() - slope * predicted.mean()))


def monotone(predicted: np.ndarray, true: np.ndarray) -> Correction:
    """Return the non-decreasing function with the smallest squared error, from isotonic regression.

    It is linear between the predicted values, and constant outside of them.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(predicted, true)
    return Correction(x=fitted.X_thresholds_, y=fitted.y_thresholds_, slope=0.0)


@final
@frozen
class RefitHead(Adjustment):
    """Fits the head again, so that it stays near the head of the run.

    A head that gradients train starts from its weights. The loss is that of the task, summed over the
    labelled networks, plus the squared change of all weights that are not biases (L²-SP: Li, Grandvalet and
    Davoine, arXiv 1802.01483). A fitted head is fitted to its training networks and to copies of the labelled
    networks, a fifth as many as the training networks.
    """

    name = "head"
    fewest = 10

    def fit(self, head: Head, tasks: Tasks, networks: Labelled) -> Fitted:
        """Fit the head again, and keep the tasks."""
        targets = [task.targets(networks.truth[task.name]) for task in tasks.each]
        target = torch.from_numpy(np.concatenate(targets, axis=1))
        changed = copy.deepcopy(head)
        with Blamed(head):
            if isinstance(changed, FittedHead):
                _fit_again(changed, networks.embedding, target)
            else:
                _train_again(changed, tasks, networks.embedding, target.float())
        return Fitted(head=changed, tasks=tasks)


#: All adjustments, from the simplest to the one with the most freedom.
ADJUSTMENTS: tuple[Adjustment, ...] = (
    Nothing(),
    Corrected(name="shift", correction=shift),
    Corrected(name="affine", correction=affine),
    Corrected(name="monotone", correction=monotone, fewest=10),
    RefitHead(),
)


def adjustments_for(groups: int) -> tuple[Adjustment, ...]:
    """Return the adjustments that are tried with a number of labelled run groups, the simplest first."""
    return tuple(each for each in ADJUSTMENTS if each.fewest <= groups)


def _fit_again(head: FittedHead, embedding: Tensor, target: Tensor) -> None:
    """Fit a head to its training networks and to copies of other networks, in place."""
    assert head.embeddings is not None
    assert head.targets is not None
    copies = max(1, round(COPIES * len(head.embeddings) / len(embedding)))
    head.finish(
        torch.cat([head.embeddings, *[embedding.to(head.embeddings)] * copies]),
        torch.cat([head.targets, *[target.to(head.targets)] * copies]),
    )


def _train_again(head: Head, tasks: Tasks, embedding: Tensor, target: Tensor) -> None:
    """Train a head in place, by L-BFGS, with a penalty on the change of its weights."""
    head.eval()
    weights = [parameter for parameter in head.parameters() if parameter.ndim > 1]
    before = [weight.detach().clone() for weight in weights]
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        changes = [(now - then).square().sum() for now, then in zip(weights, before, strict=True)]
        total = tasks.loss(head(embedding), target).sum() + PENALTY * torch.stack(changes).sum()
        total.backward()
        return total

    optimiser.step(loss)
