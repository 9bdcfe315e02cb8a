"""Permute the neurons of networks so that their weights come close to the weights of reference networks.

The method is weight matching (Ainsworth et al. 2023, Git Re-Basin §3.2). Example: if a network is a copy of
its reference with shuffled hidden neurons, the resulting permutation undoes the shuffle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
from attrs import frozen
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sneframe.architecture import Architecture, NeuronGroup
from sneframe.batch import Batch, Networks
from sneframe.symmetry.act import Element, apply
from sneframe.symmetry.product import compose

#: Bonuses for neurons that stay, tried in turn, as fractions of the bonus at which no neuron moves.
DAMPING = (0.0, 0.25, 0.5)
ROUNDING = (
    1e-12  #: a distance counts as lowered if it falls by more than this fraction of the initial distance
)


def align(batch: Batch, reference: Batch, *, sweeps: int = 20) -> tuple[Element, ...]:
    """Return permutations that bring each network close to the network of the same index in another batch.

    This is coordinate descent on the squared distance: one group after the other is permuted while all others
    stay, until a sweep over all groups changes nothing. For each candidate permutation the distance of the
    network is computed again, and the permutation is accepted only if the distance falls. So no network ends
    farther from its reference than it began.

    If a group is on only one axis of each parameter, the best permutation solves a linear assignment problem.
    If a group is on two axes of a parameter, like a residual stream or the state of a recurrent network, the
    distance is quadratic in the permutation. Then the assignment for the linear part is tried first. If this
    assignment does not lower the distance, the assignment is solved again with a bonus for neurons that stay.
    If that fails too, the best exchange of two neurons is tried. The effect of an exchange is known exactly.

    Args:
        batch: the networks to permute.
        reference: networks of the same architectures and sizes, in the same order.
        sweeps: the largest number of sweeps over all groups.
    """
    return tuple(
        _align(own, other, sweeps) for own, other in zip(batch.networks, reference.networks, strict=True)
    )


@torch.no_grad()
def _align(networks: Networks, reference: Networks, sweeps: int) -> Element:
    descent = _Descent(networks, reference)
    groups = [group for group in networks.architecture.groups if "permute" in group.actions]
    for _ in range(sweeps):
        changed = [descent.step(group) for group in groups]
        if not any(changed):
            break
    return descent.total


@frozen
class Occurrence:
    """A segment of an axis of a parameter that contains a group.

    Args:
        parameter: the name of the parameter.
        axis: the number of the axis.
        start: the position at which the segment begins along the axis.
        factors: the sizes of the factors of the segment.
        position: the index of the group among the factors.
        outer: the index of the parent of the group among the factors, or None for a group without a parent.
    """

    parameter: str
    axis: int
    start: int
    factors: tuple[int, ...]
    position: int
    outer: int | None


class _Descent:
    """The coordinate descent of networks towards their references. No step increases a distance.

    Attributes:
        total: the product of all elements that were applied so far.
    """

    def __init__(self, networks: Networks, reference: Networks) -> None:
        self._architecture, self._moved, self._reference = networks.architecture, networks, reference
        self._still = _identity(networks.architecture, len(networks), networks.weights.device)
        self._distance = self._distances(networks)
        self._least = ROUNDING * self._distance
        self.total = Element(architecture=networks.architecture, permutations=self._still)

    def step(self, group: NeuronGroup) -> bool:
        """Permute one group in every network whose distance falls, and return whether a network changed."""
        occurrences = [*_occurrences(group, self._architecture)]
        crossings = [*_crossings(occurrences)]
        similar = self._similar(occurrences)
        left = np.ones(len(self._moved), bool)
        for damping in DAMPING if crossings else DAMPING[:1]:
            left &= ~self._take(group, _assign(similar, damping, left))
            if not left.any():
                return True
        if crossings:
            left &= ~self._exchange(group, occurrences, crossings)
        return not left.all()

    def _exchange(
        self,
        group: NeuronGroup,
        occurrences: Sequence[Occurrence],
        crossings: Sequence[tuple[Occurrence, Occurrence]],
    ) -> np.ndarray:
        """Exchange pairs of neurons as long as the distance falls.

        Returns:
            ``(B,)`` bool: the networks whose distance fell.
        """
        helped = np.zeros(len(self._moved), bool)
        for _ in range(group.size):
            gain = -_corners(self._similar(occurrences)[:, 0])
            for pair in crossings:
                # Where exchanged rows and columns cross, their effects do not add up. This term is the
                # correction.
                own, other = (_crossed(*pair, networks) for networks in (self._moved, self._reference))
                gain += (_corners(own) * _corners(other)).sum(3)
            best = gain.flatten(1).argmax(1).cpu()
            pairs = torch.stack([best // group.size, best % group.size], dim=1)
            order = torch.arange(group.size).repeat(len(pairs), 1)
            order.scatter_(1, pairs, pairs.flip(1))
            nearer = self._take(group, order.unsqueeze(1))
            if not nearer.any():
                break
            helped |= nearer
        return helped

    def _take(self, group: NeuronGroup, order: Tensor) -> np.ndarray:
        """Permute a group by ``order (B, m, n)`` in the networks whose distance falls.

        Returns:
            ``(B,)`` bool: the networks that were permuted.
        """
        device = self._moved.weights.device
        order = order.to(device) if group.parent else order[:, 0].to(device)
        still = self._still[group.name]
        if torch.equal(order, still):
            return np.zeros(len(order), bool)
        distance = self._distances(self._applied(self._element(group, order)))
        nearer = distance < self._distance - self._least
        if not nearer.any():
            return np.zeros(len(order), bool)
        step = self._element(group, torch.where(nearer.view(-1, *[1] * (order.ndim - 1)), order, still))
        self._moved = self._applied(step)
        self.total = compose((step,), (self.total,))[0]
        self._distance = torch.where(nearer, distance, self._distance)
        accepted: np.ndarray = nearer.cpu().numpy()
        return accepted

    def _element(self, group: NeuronGroup, order: Tensor) -> Element:
        """Return the element that permutes one group by ``order`` and no other group."""
        return Element(architecture=self._architecture, permutations={**self._still, group.name: order})

    def _applied(self, element: Element) -> Networks:
        """Apply an element to the current networks, and return the result."""
        size = len(self._moved)
        alone = Batch(networks=[self._moved], order=np.arange(size), ids=np.arange(size))
        return apply(alone, (element,)).networks[0]

    def _distances(self, networks: Networks) -> Tensor:
        """Return the squared distance of each network to its reference, as ``(B,)`` float64."""
        return (networks.weights.double() - self._reference.weights.double()).square().sum(1)

    def _similar(self, occurrences: Sequence[Occurrence]) -> Tensor:
        """Return the inner products ``(B, m, n, n)`` of the weights of neurons, summed over all occurrences.

        Rows are neurons of the reference, and columns are neurons of the current network.
        """
        similar: Tensor | None = None
        for occurrence in occurrences:
            own, other = (_view(occurrence, networks) for networks in (self._moved, self._reference))
            product = torch.einsum("bmik,bmjk->bmij", other.double(), own.double())
            similar = product if similar is None else similar + product
        assert similar is not None  # every group is on some axis
        return similar


def _identity(architecture: Architecture, size: int, device: torch.device) -> dict[str, Tensor]:
    """Return the identity permutation of every group, for ``size`` networks."""
    sizes = {group.name: group.size for group in architecture.groups}
    identity = {}
    for group in architecture.groups:
        order = torch.arange(group.size, device=device)
        shape = (size, sizes[group.parent], group.size) if group.parent else (size, group.size)
        identity[group.name] = order.expand(shape)
    return identity


def _assign(similar: Tensor, damping: float, left: np.ndarray) -> Tensor:
    """Return for each network the order ``(B, m, n)`` of its neurons that has the highest similarity.

    Args:
        similar: the similarities ``(B, m, n, n)``. Entry (i, j) says how well neuron j fits at index i.
        damping: the bonus for a neuron that stays, as a fraction of the largest gain in similarity at one
            index if another neuron moves there.
        left: ``(B,)`` bool, true for the networks to permute. All other networks get the identity.
    """
    size = similar.shape[-1]
    order = torch.arange(size).repeat(*similar.shape[:2], 1)
    if damping:
        stays = similar.diagonal(dim1=2, dim2=3)
        bonus = damping * (similar - stays.unsqueeze(3)).amax((2, 3))
        similar = similar + torch.diag_embed(bonus.unsqueeze(2).expand_as(stays))
    rows = similar.cpu().numpy()
    for number in np.flatnonzero(left):
        columns = [linear_sum_assignment(matrix, maximize=True)[1] for matrix in rows[number]]
        order[number] = torch.from_numpy(np.stack(columns))
    return order


def _occurrences(group: NeuronGroup, architecture: Architecture) -> Iterator[Occurrence]:
    """Yield the segments that contain a group.

    A segment that contains a nested group without its parent is left out. The order of that group is then
    decided by the segments that contain both.
    """
    sizes = {each.name: each.size for each in architecture.groups}
    for parameter in architecture.parameters:
        for number, axis in enumerate(parameter.axes):
            start = 0
            for segment in axis:
                factors = tuple(factor if isinstance(factor, int) else sizes[factor] for factor in segment)
                if group.name in segment and (group.parent is None or group.parent in segment):
                    outer = None if group.parent is None else segment.index(group.parent)
                    position = segment.index(group.name)
                    yield Occurrence(parameter.name, number, start, factors, position, outer)
                start += math.prod(factors)


def _crossings(occurrences: Sequence[Occurrence]) -> Iterator[tuple[Occurrence, Occurrence]]:
    """Yield the pairs of occurrences that are on two axes of one parameter.

    For a group with such a pair, the distance is quadratic in the permutation.
    """
    for first, second in combinations(occurrences, 2):
        if first.parameter == second.parameter and first.axis != second.axis and first.outer is None:
            yield first, second


def _view(occurrence: Occurrence, networks: Networks) -> Tensor:
    """Return the weights at an occurrence of a group, as ``(B, m, n, rest)``.

    They belong to n neurons of the group and to m elements of its parent group (m = 1 without a parent).
    """
    split = _along(networks.parameters()[occurrence.parameter], occurrence).movedim(occurrence.axis + 1, 1)
    split = split.unflatten(1, occurrence.factors)
    position = occurrence.position + 1
    if occurrence.outer is None:
        return split.movedim(position, 1).unsqueeze(1).unsqueeze(-1).flatten(3)
    return split.movedim((occurrence.outer + 1, position), (1, 2)).unsqueeze(-1).flatten(3)


def _crossed(first: Occurrence, second: Occurrence, networks: Networks) -> Tensor:
    """Return the weights ``(B, n, n, rest)`` at which two segments of one group cross, in float64."""
    values = networks.parameters()[first.parameter].double()
    # The later axis is split first, and its neurons move to the end. So the earlier axis keeps its number.
    for occurrence, to in ((second, -1), (first, 1)):
        axis = occurrence.axis + 1
        values = _along(values, occurrence).unflatten(axis, occurrence.factors)
        values = values.movedim(axis + occurrence.position, to)
    return values.movedim(-1, 2).unsqueeze(-1).flatten(3)


def _along(values: Tensor, occurrence: Occurrence) -> Tensor:
    """Return the part of a parameter ``(B, *shape)`` that a segment covers."""
    return values.narrow(occurrence.axis + 1, occurrence.start, math.prod(occurrence.factors))


def _corners(values: Tensor) -> Tensor:
    """Return ``(B, n, n, …)`` with the entry v[i, i] + v[j, j] − v[i, j] − v[j, i] at (i, j)."""
    diagonal = torch.diagonal(values, dim1=1, dim2=2).movedim(-1, 1)
    return diagonal.unsqueeze(1) + diagonal.unsqueeze(2) - values - values.transpose(1, 2)
