"""Weight matching (Ainsworth et al. 2023, Git Re-Basin §3.2): order one network's neurons as another's are ordered."""

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
from sneframe.symmetry.act import Element, apply, compose

DAMPING = (
    0.0,
    0.25,
    0.5,
)  #: bonuses for staying that are tried, as fractions of the one that moves no neuron
ROUNDING = 1e-12  #: a distance counts as smaller if it falls by more than this part of the one at the start


def align(batch: Batch, reference: Batch, *, sweeps: int = 20) -> tuple[Element, ...]:
    """Return permutations that bring each network of a batch close to the one at its place in another.

    Coordinate descent on the squared distance: one group after the other is permuted while all others stay, until a
    sweep over all groups changes nothing. A network takes a permutation only if its distance, which is computed anew,
    falls; so no network ends farther from its reference than it began.

    With a group that stands on one axis of each weight, the best permutation is the solution of one linear assignment.
    A group that stands on two axes of a weight, such as a residual stream or the state of a recurrent network, makes
    the distance quadratic in the permutation. The assignment for its linear part is tried first. If that raises the
    distance, neurons get a bonus for staying where they are, and then the best exchange of two neurons is tried, whose
    effect is known exactly.

    Args:
        batch: the networks to be moved.
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
    """One place where a group stands: a segment of an axis of a parameter.

    Args:
        parameter: its name.
        axis: its number.
        start: where the segment begins along the axis.
        factors: the sizes of the segment's factors.
        place: which of the factors is the group.
        outer: which of the factors is the group's parent; None for a group that has no parent.
    """

    parameter: str
    axis: int
    start: int
    factors: tuple[int, ...]
    place: int
    outer: int | None


class _Descent:
    """Networks on their way to their references: a step brings a network nearer, or leaves it where it is.

    Attributes:
        total: the element that has been applied so far.
    """

    def __init__(self, networks: Networks, reference: Networks) -> None:
        self._architecture, self._moved, self._reference = networks.architecture, networks, reference
        self._still = _identity(networks.architecture, len(networks), networks.weights.device)
        self._distance = self._distances(networks)
        self._least = ROUNDING * self._distance
        self.total = Element(architecture=networks.architecture, permutations=self._still)

    def step(self, group: NeuronGroup) -> bool:
        """Permute one group in every network that this brings nearer; return whether there is one."""
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
        """Exchange the two best neurons of each network while this brings any nearer; return ``(B,)`` which it did."""
        helped = np.zeros(len(self._moved), bool)
        for _ in range(group.size):
            gain = -_corners(self._similar(occurrences)[:, 0])
            for pair in crossings:
                # Where exchanged rows meet exchanged columns, the effects of both do not add up.
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
        """Apply orders ``(B, m, n)`` of one group to the networks that get nearer; return ``(B,)`` bool, which do."""
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
        found: np.ndarray = nearer.cpu().numpy()
        return found

    def _element(self, group: NeuronGroup, order: Tensor) -> Element:
        return Element(architecture=self._architecture, permutations={**self._still, group.name: order})

    def _applied(self, element: Element) -> Networks:
        size = len(self._moved)
        alone = Batch(networks=[self._moved], order=np.arange(size), ids=np.arange(size))
        return apply(alone, (element,)).networks[0]

    def _distances(self, networks: Networks) -> Tensor:
        """Return ``(B,)`` float64 squared distances to the references."""
        return (networks.weights.double() - self._reference.weights.double()).square().sum(1)

    def _similar(self, occurrences: Sequence[Occurrence]) -> Tensor:
        """Return ``(B, m, n, n)`` products of the references' neurons (rows) with the networks' own (columns)."""
        similar: Tensor | None = None
        for occurrence in occurrences:
            own, other = (_view(occurrence, networks) for networks in (self._moved, self._reference))
            product = torch.einsum("bmik,bmjk->bmij", other.double(), own.double())
            similar = product if similar is None else similar + product
        assert similar is not None  # a group stands on some axis
        return similar


def _identity(architecture: Architecture, size: int, device: torch.device) -> dict[str, Tensor]:
    sizes = {group.name: group.size for group in architecture.groups}
    found = {}
    for group in architecture.groups:
        order = torch.arange(group.size, device=device)
        shape = (size, sizes[group.parent], group.size) if group.parent else (size, group.size)
        found[group.name] = order.expand(shape)
    return found


def _assign(similar: Tensor, damping: float, left: np.ndarray) -> Tensor:
    """Return ``(B, m, n)`` the orders of most similarity, of the networks that are left; the others stay.

    Args:
        similar: ``(B, m, n, n)``; row i, column j: how well neuron j fits place i.
        damping: the bonus of a neuron that stays, as a fraction of the most that one place can win by a move.
        left: ``(B,)`` bool.
    """
    size = similar.shape[-1]
    order = torch.arange(size).repeat(*similar.shape[:2], 1)
    if damping:
        stays = similar.diagonal(dim1=2, dim2=3)
        bonus = damping * (similar - stays.unsqueeze(3)).amax((2, 3))
        similar = similar + torch.diag_embed(bonus.unsqueeze(2).expand_as(stays))
    rows = similar.cpu().numpy()
    for number in np.flatnonzero(left):
        found = [linear_sum_assignment(matrix, maximize=True)[1] for matrix in rows[number]]
        order[number] = torch.from_numpy(np.stack(found))
    return order


def _occurrences(group: NeuronGroup, architecture: Architecture) -> Iterator[Occurrence]:
    """Yield where a group stands.

    Where its parent stands on another axis it is left out: a nested group is matched by its other places.
    """
    sizes = {each.name: each.size for each in architecture.groups}
    for parameter in architecture.parameters:
        for number, axis in enumerate(parameter.axes):
            start = 0
            for segment in axis:
                factors = tuple(factor if isinstance(factor, int) else sizes[factor] for factor in segment)
                if group.name in segment and (group.parent is None or group.parent in segment):
                    outer = None if group.parent is None else segment.index(group.parent)
                    place = segment.index(group.name)
                    yield Occurrence(parameter.name, number, start, factors, place, outer)
                start += math.prod(factors)


def _crossings(occurrences: Sequence[Occurrence]) -> Iterator[tuple[Occurrence, Occurrence]]:
    """Yield the pairs of occurrences on two axes of one parameter: there the distance is quadratic in the order."""
    for first, second in combinations(occurrences, 2):
        if first.parameter == second.parameter and first.axis != second.axis and first.outer is None:
            yield first, second


def _view(occurrence: Occurrence, networks: Networks) -> Tensor:
    """Return ``(B, m, n, rest)``: outer elements of a nested group, else m = 1; neurons; all else."""
    split = _along(networks.parameters()[occurrence.parameter], occurrence).movedim(occurrence.axis + 1, 1)
    split = split.unflatten(1, occurrence.factors)
    place = occurrence.place + 1
    if occurrence.outer is None:
        return split.movedim(place, 1).unsqueeze(1).unsqueeze(-1).flatten(3)
    return split.movedim((occurrence.outer + 1, place), (1, 2)).unsqueeze(-1).flatten(3)


def _crossed(first: Occurrence, second: Occurrence, networks: Networks) -> Tensor:
    """Return ``(B, n, n, rest)`` float64: what stands where the segments of one group on two axes cross."""
    values = networks.parameters()[first.parameter].double()
    # The later axis is split first and its neurons go to the end, so that the earlier axis keeps its number.
    for occurrence, to in ((second, -1), (first, 1)):
        axis = occurrence.axis + 1
        values = _along(values, occurrence).unflatten(axis, occurrence.factors)
        values = values.movedim(axis + occurrence.place, to)
    return values.movedim(-1, 2).unsqueeze(-1).flatten(3)


def _along(values: Tensor, occurrence: Occurrence) -> Tensor:
    """Return of a parameter ``(B, *shape)`` the stretch of an axis that the segment covers."""
    return values.narrow(occurrence.axis + 1, occurrence.start, math.prod(occurrence.factors))


def _corners(values: Tensor) -> Tensor:
    """Return ``(B, n, n, …)``: at i, j what stands at (i, i) and (j, j), less what stands at (i, j) and (j, i)."""
    diagonal = torch.diagonal(values, dim1=1, dim2=2).movedim(-1, 1)
    return diagonal.unsqueeze(1) + diagonal.unsqueeze(2) - values - values.transpose(1, 2)
