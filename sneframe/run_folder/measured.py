"""``metrics.json``: how well a run predicts, how invariant its model is, and how long it took."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from sneframe.metrics import Scores


@frozen(kw_only=True)
class Baseline:
    """Scores of the baseline that predicts the same for every network: the training mean or frequencies.

    Args:
        val: scores for the validation networks.
        test: scores for the test networks.
    """

    val: Scores
    test: Scores


@frozen(kw_only=True)
class PropertyScores:
    """How well one property is predicted.

    Args:
        task: ``regression``, ``fraction`` or ``category``.
        val: scores of the validation networks.
        test: scores of the test networks.
        baseline: scores to compare with.
        by_architecture: scores of the test networks of each architecture, by its id.
    """

    task: str
    val: Scores
    test: Scores
    baseline: Baseline
    by_architecture: Mapping[str, Scores]


@frozen(kw_only=True)
class Invariance:
    """Mean squared change of the model's output, divided by the variance of the output.

    Args:
        e_g: the change under a random element of the symmetry group.
        e_noise: the change under Gaussian noise that moves the weights as far.
    """

    e_g: float
    e_noise: float


@frozen(kw_only=True)
class Seconds:
    """How long a run took, in seconds.

    Args:
        train: the training with its validation, or the fit of a head.
        step: one step; None without steps.
        to_best: the training until the best epoch was scored; None without epochs.
        total: the whole run: reading, training and testing.
    """

    train: float
    step: float | None
    to_best: float | None
    total: float


def _property_first(_: type, found: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Put the name of the property before its scores, both in the file and in errors."""
    return sorted(found, key=lambda attribute: attribute.name != "property")


@frozen(kw_only=True, field_transformer=_property_first)
class Metrics(PropertyScores):
    """The numbers of a run: the scores of its main property, and everything else that is measured.

    Args:
        property: name of the main property.
        also: scores of the other properties, by name.
        architectures: number of networks by architecture id, for each of ``train``, ``val`` and ``test``.
        invariance: invariance errors on the test networks; None if they could not be measured.
        size: trainable weights of the model.
        epochs: number of epochs; 0 for a method without gradients.
        steps: number of steps.
        passes: number of passes over the training networks; a cut epoch counts for a fraction.
        best_epoch: the epoch whose model was kept, counted from 1; 0 without epochs.
        stopped_by: ``budget`` or ``patience`` if one of them ended the training, else None.
        seconds: how long the run took.
    """

    property: str
    also: Mapping[str, PropertyScores]
    architectures: Mapping[str, Mapping[str, int]]
    invariance: Invariance | None
    size: int
    epochs: int
    steps: int
    passes: float
    best_epoch: int
    stopped_by: str | None
    seconds: Seconds

    @builtins.property
    def by_property(self) -> Mapping[str, PropertyScores]:
        """The scores of each property by its name, those of the main one first."""
        return {self.property: self, **self.also}
