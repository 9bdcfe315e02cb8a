"""``metrics.json`` records how well a run predicts, how invariant its model is, and how long the run took."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import field, frozen
from cattrs.gen import make_dict_unstructure_fn, override

from sneframe.metrics import Scores
from sneframe.run_folder.json_files import CONVERTER


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
class Coverage:
    """How often the prediction intervals of test networks contain the true value.

    A doubtful network has no interval. Each run group has the same weight, which its networks share.

    Args:
        level: the fraction of intervals that should contain the true value, such as 0.9.
        networks: number of test networks that have an interval.
        groups: number of run groups of these networks.
        left_out: number of test networks without an interval, because they are doubtful.
        calibration_groups: number of run groups of validation networks that calibrate the intervals.
        coverage: the fraction of the intervals that contain the true value; None if there are no intervals.
        chance: limits between which the coverage of 95 % of runs lies if test networks are like the
            validation networks.
        width: mean width of the intervals, in the unit of the property. For a category, the mean number of
            labels in a prediction set.
        reason: why there are no intervals, or None.
    """

    level: float
    networks: int
    groups: int
    left_out: int
    calibration_groups: int
    coverage: float | None = None
    chance: tuple[float, ...] | None = None
    width: float | None = None
    reason: str | None = None


@frozen(kw_only=True)
class PropertyScores:
    """The scores of one property.

    Args:
        task: ``regression``, ``fraction`` or ``category``.
        val: scores of the validation networks.
        test: scores of the test networks.
        baseline: scores of the baseline, to compare with.
        by_architecture: scores of the test networks of each architecture, by architecture id.
        intervals: how often prediction intervals contain the true values of test networks; None in runs of
            older versions.
    """

    task: str
    val: Scores
    test: Scores
    baseline: Baseline
    by_architecture: Mapping[str, Scores]
    intervals: Coverage | None = None


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
        cpu: the CPU time of ``train``: user and system, of all threads of the main process. None in runs of
            older versions.
    """

    train: float
    step: float | None
    to_best: float | None
    total: float
    cpu: float | None = None


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
        before: for a run that was adapted, the scores of the test networks before, by property name.
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
    before: Mapping[str, Scores] = field(factory=dict)

    @builtins.property
    def by_property(self) -> Mapping[str, PropertyScores]:
        """The scores of each property, by property name. The main property comes first."""
        return {self.property: self, **self.also}


CONVERTER.register_unstructure_hook(
    Metrics, make_dict_unstructure_fn(Metrics, CONVERTER, before=override(omit_if_default=True))
)
