"""Define the task of a category, such as the name of a data set."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from attrs import field, frozen
from torch import Tensor

from sneframe.config.validators import as_tuple
from sneframe.errors import ZooError
from sneframe.metrics import Scores, score_classes
from sneframe.tasks.task import Task
from sneframe.zoo.column import Column

MOST_CLASSES = 100


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


def labels(column: Column) -> np.ndarray:
    """Return the values ``(n,)`` of a column as strings, dtype object. The float 3.0 becomes ``"3"``."""
    values = column.values.tolist()
    if column.kind == "float":
        values = [int(value) if value.is_integer() else value for value in values]
    return np.array([str(value) for value in values], dtype=object)
