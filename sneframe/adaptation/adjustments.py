"""Define what an adjustment is, a way to adapt a run, and those that only correct the predicted values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.batch import Batch
from sneframe.correction import Correction
from sneframe.model import Encoder
from sneframe.nn.diverged import without_unusable
from sneframe.parts.head import Head
from sneframe.plugins import Blamed
from sneframe.tasks import Task, Tasks

NARROW = 1e-12  #: predicted values that differ by less than this count as equal
BATCH = 32  #: the number of networks that are encoded together


@frozen(kw_only=True, eq=False)
class Encoded:
    """Networks whose properties are known, with their embeddings.

    Args:
        embedding: ``(n, E)`` embeddings from the encoder of the run, on the host.
        truth: the true values ``(n,)`` of each property, float64, by the name of the property.
        group: ``(n,)`` run groups.
        batch: a batch that has the networks; None if no adjustment needs them.
        positions: positions ``(n,)`` of the networks in ``batch``; all networks of the batch if None.
    """

    embedding: Tensor
    truth: Mapping[str, np.ndarray]
    group: np.ndarray
    batch: Batch | None = None
    positions: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.group)

    def take(self, rows: np.ndarray) -> Encoded:
        """Return the networks at some rows."""
        return Encoded(
            embedding=self.embedding[torch.from_numpy(rows)],
            truth={name: values[rows] for name, values in self.truth.items()},
            group=self.group[rows],
            batch=self.batch,
            positions=rows if self.positions is None else self.positions[rows],
        )

    def select(self, rows: np.ndarray) -> Batch:
        """Return the networks themselves at some rows. Only their weights are copied."""
        assert self.batch is not None
        return self.batch.select(rows if self.positions is None else self.positions[rows])


@frozen(kw_only=True, eq=False)
class Fitted:
    """A head and tasks, and perhaps an encoder, after an adjustment. They may be those of the run.

    Args:
        head: the head, on the host.
        tasks: the tasks, with their corrections.
        encoder: the encoder, or None if it is still that of the run.
    """

    head: Head
    tasks: Tasks
    encoder: Encoder | None = None

    def outputs(self, networks: Encoded) -> Tensor:
        """Return the raw outputs ``(n, T)`` for networks."""
        embedding = networks.embedding
        if self.encoder is not None:
            assert networks.batch is not None
            embedding = embedded(self.encoder, networks.batch, networks.positions)
        with torch.no_grad(), Blamed(self.head):
            value: Tensor = self.head(embedding)
        return value

    def split(self, networks: Encoded) -> Iterator[tuple[Task, Tensor]]:
        """Yield each task together with its raw outputs for networks."""
        return self.tasks.split(self.outputs(networks))

    def predict(self, networks: Encoded) -> dict[str, np.ndarray]:
        """Return the predicted values ``(n,)`` for networks, by the name of the property."""
        return {task.name: task.predict(own) for task, own in self.split(networks)}


def embedded(encoder: Encoder, batch: Batch, positions: np.ndarray | None = None) -> Tensor:
    """Return the embeddings ``(n, E)`` of networks, on the host. The encoder stays on its device.

    Rows of networks that are :func:`~sneframe.nn.diverged.unusable` are not finite.

    Args:
        encoder: the encoder.
        batch: a batch that has the networks. They are copied a few at a time.
        positions: positions ``(n,)`` of the networks in the batch; by default, all networks.
    """
    encoder.eval()
    positions = np.arange(len(batch)) if positions is None else positions
    found = []
    with torch.no_grad():
        for rows in np.array_split(positions, -(-len(positions) // BATCH)):
            some = batch.select(rows)
            embedding = encoder(some.to(device_of(encoder))).float().cpu()
            found.append(without_unusable(embedding, some.to("cpu")))
    return torch.cat(found)


def device_of(encoder: Encoder) -> torch.device:
    """Return the device of the weights of an encoder; the host if it has none."""
    return next((tensor.device for tensor in encoder.state_dict().values()), torch.device("cpu"))


class Adjustment(ABC):
    """A way to adapt a run.

    Attributes:
        name: the name in files and tables.
        fewest: with fewer labelled run groups than this, the adjustment is not tried.
    """

    name: str
    fewest: int

    @abstractmethod
    def fit(self, head: Head, tasks: Tasks, networks: Encoded) -> Fitted:
        """Fit to labelled networks. ``head`` and ``tasks`` are those of the run, and are not changed."""


@final
@frozen
class Nothing(Adjustment):
    """Leaves the run as it is."""

    name = "nothing"
    fewest = 0

    def fit(self, head: Head, tasks: Tasks, networks: Encoded) -> Fitted:  # noqa: ARG002  # nothing is fitted
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

    def fit(self, head: Head, tasks: Tasks, networks: Encoded) -> Fitted:
        """Fit a correction of each property, and keep the head."""
        pairs = Fitted(head=head, tasks=tasks).split(networks)
        each = [self._corrected(task, task.predict(own), networks) for task, own in pairs]
        return Fitted(head=head, tasks=Tasks(each=each))

    def _corrected(self, task: Task, predicted: np.ndarray, networks: Encoded) -> Task:
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


#: The corrections, from the simplest to the one with the most freedom.
CORRECTIONS: tuple[Adjustment, ...] = (
    Nothing(),
    Corrected(name="shift", correction=shift),
    Corrected(name="affine", correction=affine),
    Corrected(name="monotone", correction=monotone, fewest=10),
)
