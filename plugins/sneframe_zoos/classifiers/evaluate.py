"""Measure the accuracies and losses of the checkpoints of a stack, many networks at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from sneframe_zoos.classifiers.flat_weights import FlatWeights
from sneframe_zoos.classifiers.images import Images, taken
from sneframe_zoos.classifiers.stacked import Stacked


@frozen(kw_only=True, eq=False)
class Kept:
    """The weights of a network at the end of an epoch, before they are evaluated.

    Args:
        run: number of the run.
        epoch: number of the epoch, counted from 1; 0 means before training.
        final: whether this is the last checkpoint of the run.
        weights: the weights, shape ``(P,)``.
        own: indices of the run's own training images.
    """

    run: int
    epoch: int
    final: bool
    weights: Tensor
    own: Tensor


@frozen(kw_only=True, eq=False)
class Checkpoint:
    """The weights of a network at the end of an epoch, with accuracies and losses.

    Args:
        run: number of the run.
        epoch: number of the epoch, counted from 1; 0 means before training.
        final: whether this is the last checkpoint of the run.
        weights: the weights, shape ``(P,)``.
        train_accuracy: accuracy on the run's own training images.
        train_loss: mean cross-entropy on the run's own training images, without the L2 penalty.
        test_accuracy: accuracy on all test images.
        test_loss: mean cross-entropy on the test images.
    """

    run: int
    epoch: int
    final: bool
    weights: np.ndarray
    train_accuracy: float
    train_loss: float
    test_accuracy: float
    test_loss: float

    @property
    def healthy(self) -> bool:
        """Whether all weights and both losses are finite. If not, the training has diverged."""
        return bool(
            np.isfinite(self.weights).all()
            and math.isfinite(self.train_loss)
            and math.isfinite(self.test_loss)
        )


def evaluate(
    together: Stacked, flat: FlatWeights, kept: Sequence[Kept], images: Images, batch: int
) -> list[Checkpoint]:
    """Return the checkpoints of networks of one design, in the order of ``kept``. Dropout is off.

    Args:
        together: computes the networks.
        flat: converts their weights.
        kept: the weights to evaluate, of at least one network.
        images: training and test images.
        batch: number of images of a network in one call.
    """
    weights = torch.stack([each.weights for each in kept])
    tests = torch.arange(len(images.test[1]))
    tested = measure(together, flat, weights, tests.expand(len(kept), -1), images.test, batch)
    trained = torch.empty_like(tested)
    alike: dict[int, list[int]] = defaultdict(list)  # networks with equally many training images
    for row, each in enumerate(kept):
        alike[len(each.own)].append(row)
    for rows in alike.values():
        own = torch.stack([kept[row].own for row in rows])
        trained[rows] = measure(together, flat, weights[rows], own, images.train, batch)
    return [
        Checkpoint(
            run=each.run,
            epoch=each.epoch,
            final=each.final,
            weights=each.weights.numpy(),
            train_accuracy=own_accuracy,
            train_loss=own_loss,
            test_accuracy=accuracy,
            test_loss=loss,
        )
        for each, (own_accuracy, own_loss), (accuracy, loss) in zip(
            kept, trained.tolist(), tested.tolist(), strict=True
        )
    ]


@torch.no_grad()
def measure(
    together: Stacked,
    flat: FlatWeights,
    weights: Tensor,
    chosen: Tensor,
    images: tuple[Tensor, Tensor],
    batch: int,
) -> Tensor:
    """Return the accuracy and the mean cross-entropy of each network, shape ``(n, 2)`` float64.

    Args:
        together: computes the networks.
        flat: converts their weights.
        weights: the weights of n networks of one design, shape ``(n, P)``.
        chosen: indices of the images of each network, shape ``(n, m)``.
        images: images and labels.
        batch: number of images of a network in one call.
    """
    found = torch.zeros(len(weights), 2, dtype=torch.float64)
    for first in range(0, len(weights), together.networks):
        here = slice(first, first + together.networks)
        parameters = flat.views(weights[here])
        for some in chosen[here].split(batch, dim=1):
            inputs, labels = taken(images, some)
            logits = together.logits(parameters, {}, inputs)
            losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
            found[here, 0] += (logits.argmax(2) == labels).sum(1)
            found[here, 1] += losses.view(labels.shape).double().sum(1)
    return found / chosen.shape[1]
