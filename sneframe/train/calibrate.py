"""Calibrate the intervals of a run on validation networks, and measure their coverage on test networks.

Both use only networks that are not doubtful, because a doubtful network gets no interval. Whether a network
is doubtful does not depend on its true values, so the others are still exchangeable among themselves.

The validation networks have also chosen the epoch, so their errors are a little smaller than those of new
networks. The coverage on the test networks shows whether this matters.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.predict.conformal import (
    LEVEL,
    bound,
    chance,
    covered,
    errors,
    group_weights,
    spread,
)
from sneframe.predict.distance import Reference
from sneframe.predict.doubt import Seen, doubtful, magnitudes_of
from sneframe.predict.interval import missing
from sneframe.run_folder.calibration import Calibration, finite
from sneframe.run_folder.measured import Coverage
from sneframe.tasks import Category, Task, Tasks
from sneframe.train.data import Data
from sneframe.train.evaluate import Outputs


@frozen(kw_only=True, eq=False)
class Interior:
    """The networks of a part of the split that are not doubtful.

    Args:
        positions: positions ``(m,)`` of these networks in ``Data.batch``.
        value: raw outputs ``(m, T)``.
        group: the number of the run group ``(m,)``, counted from 0.
        spreads: the spread ``(m,)`` of each network.
        left_out: number of networks of the part that are doubtful.
    """

    positions: np.ndarray
    value: Tensor
    group: np.ndarray
    spreads: np.ndarray
    left_out: int


@frozen(kw_only=True)
class Calibrated:
    """The content of ``calibration.json``, and the coverage on the test networks by property."""

    calibration: Calibration
    coverage: Mapping[str, Coverage]


def calibrate(
    tasks: Tasks, data: Data, seen: Seen, outputs: Mapping[str, Outputs], training_embedding: Tensor
) -> Calibrated:
    """Calibrate on the validation networks, and measure the coverage on the test networks.

    Args:
        tasks: the tasks, one for each property.
        data: the networks and their true values.
        seen: what is known about the training networks, as ``predict`` reads it from the run folder.
        outputs: outputs of the model by part of the split. The parts are ``val`` and ``test``.
        training_embedding: embeddings ``(n, E)`` of the training networks that the run keeps.
    """
    tensors = [training_embedding, *(each.embedding for each in outputs.values())]
    usable = all(bool(each.isfinite().all()) for each in tensors)
    reference = Reference.of(training_embedding.numpy()) if usable else None
    val, test = (_interior(data, seen, part, outputs[part], reference) for part in ("val", "test"))
    calibration = Calibration(
        scaled=reference is not None,
        left_out=val.left_out,
        group=tuple(val.group.tolist()),
        scores={task.name: finite(_scores(task, data, val, own)) for task, own in tasks.split(val.value)},
    )
    coverage = {
        task.name: _coverage(task, data, calibration, test, own) for task, own in tasks.split(test.value)
    }
    return Calibrated(calibration=calibration, coverage=coverage)


def _interior(data: Data, seen: Seen, part: str, outputs: Outputs, reference: Reference | None) -> Interior:
    positions = getattr(data.split, part)
    distances = None if reference is None else reference.distance(outputs.embedding.numpy())
    kept = np.flatnonzero(~_doubtful(data, seen, positions, distances))
    _, group = np.unique(data.zoo.group[positions[kept]], return_inverse=True)
    return Interior(
        positions=positions[kept],
        value=outputs.value[torch.from_numpy(kept)],
        group=group,
        spreads=np.ones(len(kept)) if distances is None else spread(distances[kept]),
        left_out=len(positions) - len(kept),
    )


def _doubtful(data: Data, seen: Seen, positions: np.ndarray, distances: np.ndarray | None) -> np.ndarray:
    """Return a mask ``(n,)`` of the networks that have a doubt that is more than mild."""
    found = np.zeros(len(positions), bool)
    places = {number: place for place, number in enumerate(data.batch.ids[positions].tolist())}
    for block in data.batch.blocks(positions):
        (networks,) = block.networks
        own = {kind: values.tolist() for kind, values in magnitudes_of(networks).items()}
        for row, place in enumerate(places[number] for number in block.ids.tolist()):
            magnitudes = {kind: values[row] for kind, values in own.items()}
            distance = None if distances is None else float(distances[place])
            doubts = seen.doubts_of_network(networks.architecture, magnitudes, distance)
            found[place] = doubtful(doubts)
    return found


def _scores(task: Task, data: Data, part: Interior, value: Tensor) -> np.ndarray:
    found = errors(task, _truth(task, data, part), value)
    return found if isinstance(task, Category) else found / part.spreads


def _coverage(task: Task, data: Data, calibration: Calibration, test: Interior, value: Tensor) -> Coverage:
    found = Coverage(
        level=LEVEL,
        networks=len(test.positions),
        groups=len(np.unique(test.group)),
        left_out=test.left_out,
        calibration_groups=calibration.groups,
    )
    if (reason := missing(calibration, task.name, LEVEL)) is not None:
        return evolve(found, reason=reason)
    if not found.networks:
        return evolve(found, reason=f"all {test.left_out} test networks are doubtful")
    most = bound(calibration.scores_of(task.name), np.array(calibration.group), LEVEL)
    hits, widths = covered(task, _truth(task, data, test), value, most, test.spreads)
    weights = group_weights(test.group)
    return evolve(
        found,
        coverage=float(weights @ hits),
        chance=chance(calibration.groups, found.groups, LEVEL),
        width=float(weights @ widths),
    )


def _truth(task: Task, data: Data, part: Interior) -> np.ndarray:
    return task.truth(data.columns[task.name].take(part.positions))
