"""``metrics.json`` records how well a run predicts, how invariant its model is, and how long the run took."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from sneframe.metrics import Scores


@frozen(kw_only=True)
class Baseline:
    """Scores of the baseline, which predicts the training mean or class frequencies for every network.

    Args:
        val: scores for the validation networks.
        test: scores for the test networks.
    """

    val: Scores
    test: Scores


@frozen(kw_only=True)
class PropertyScores:
    """The scores of one property.

    Args:
        task: ``regression``, ``fraction`` or ``category``.
        val: scores of the validation networks.
        test: scores of the test networks.
        baseline: scores of the baseline, to compare with.
        by_architecture: scores of the test networks of each architecture, by architecture id.
    """

    task: str
    val: Scores
    test: Scores
    baseline: Baseline
    by_architecture: Mapping[str, Scores]


@frozen(kw_only=True)
class Invariance:
    """Invariance errors: the mean squared change of the output, divided by the variance of the output.

    Args:
        e_g: the error for a random permutation of every neuron group.
        e_noise: the error for Gaussian noise that moves the weights as far as the permutation does.
    """

    e_g: float
    e_noise: float


@frozen(kw_only=True)
class Seconds:
    """How long a run took, in seconds.

    Args:
        train: the training with its validation, and the fit of a fitted head.
        step: one training step, on average; None for a run without steps.
        to_best: the training until the best epoch was scored; None for a run without epochs.
        total: the whole run, with reading, training and testing.
    """

    train: float
    step: float | None
    to_best: float | None
    total: float


def _property_first(_: type, found: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """Move the attribute ``property`` before the scores, both in the file and in errors."""
    return sorted(found, key=lambda attribute: attribute.name != "property")


@frozen(kw_only=True, field_transformer=_property_first)
class Metrics(PropertyScores):
    """The content of ``metrics.json``: the scores of the main property, and all other results of a run.

    Args:
        property: name of the main property.
        also: scores of the other properties, by name.
        architectures: number of networks by architecture id, for each of ``train``, ``val`` and ``test``.
        left_out: number of networks that a part did not read completely, by the part, what it left out and
            why; empty if every network was read completely.
        invariance: invariance errors on the test networks; None if they could not be measured.
        size: number of trainable weights of the model.
        epochs: number of epochs; 0 for a method without gradients.
        steps: number of steps.
        passes: number of passes over the training networks. An epoch that was cut short counts as a fraction.
        best_epoch: number of the epoch whose model was saved, counted from 1; 0 for a run without epochs.
        stopped_by: ``budget`` or ``patience`` if one of them ended the training, else None.
        seconds: how long the run and its stages took.
    """

    property: str
    also: Mapping[str, PropertyScores]
    architectures: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, int]
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
        """The scores of each property, by property name. The main property comes first."""
        return {self.property: self, **self.also}
