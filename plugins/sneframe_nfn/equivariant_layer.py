"""Define one NF-layer (Zhou et al. 2023, arXiv 2302.14040, equations 3 and 4).

The layer maps features on every weight and bias of a chain to features on every weight and bias. Axis l is
the row of neurons after l layers. Weight l, counted from 0, has the axes l + 1 and l. Bias l has the axis l +
1. For each set S of axes, every tensor that has all axes of S is averaged over its other axes. The averages
are concatenated as channels, and one affine map acts on the channels at each index along S. The results are
broadcast over the other axes of each tensor, and added to that tensor's output:

    S = {l + 1, l}   weight l to itself
    S = {l}          weight l − 1, bias l − 1 and weight l to each other, for each neuron of axis l
    S = {}           every tensor to every tensor

Together these maps span all linear maps that commute with permutations along the axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from attrs import frozen
from einops import reduce
from torch import Tensor, nn

from sneframe.nn.chain_tensors import Axes, Member, pools, spread, subsets


@frozen(kw_only=True)
class Source:
    """One weight or bias that a map reads.

    Args:
        member: the index of the weight or bias among the members of the chain.
        average: whether the fixed axis of the member is averaged, too.
    """

    member: int
    average: bool = False


@frozen(kw_only=True)
class Route:
    """The sources and the targets of one affine map of a layer.

    Args:
        along: S, the axes along which the map acts.
        sources: the members that the map reads. Their channels are concatenated.
        targets: the indices of the members to which the map's outputs are added. Each target has separate
            outputs.
    """

    along: Axes
    sources: tuple[Source, ...]
    targets: tuple[int, ...]


class EquivariantLayer(nn.Module):
    """Maps the features on the weights and biases of a chain, and commutes with permutations of neurons.

    The map is affine. The permutations are those along exchangeable axes.

    Args:
        members: the weights and biases of the chain.
        inputs: number of channels of the input.
        outputs: number of channels of the output.
    """

    def __init__(self, members: Sequence[Member], inputs: int, outputs: int) -> None:
        super().__init__()
        self.members = tuple(members)
        self.outputs = outputs
        self.routes = _routes(self.members)
        self.maps = nn.ModuleList()
        fans = dict.fromkeys(range(len(members)), 0)
        for route in self.routes:
            width = inputs * sum(self._folded(source) for source in route.sources)
            self.maps.append(nn.Linear(width, sum(self._widths(route))))
            for target in route.targets:
                fans[target] += width
        self._initialise(fans)

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return ``(B, *axes, folded · outputs)`` for ``(B, *axes, folded · inputs)`` of each member."""
        means = [pools(x, m.axes, torch.mean) for m, x in zip(self.members, tensors, strict=True)]
        totals: list[Tensor | None] = [None] * len(self.members)
        for route, affine in zip(self.routes, self.maps, strict=True):
            inputs = torch.cat([self._read(source, route.along, means) for source in route.sources], dim=-1)
            results = affine(inputs).split(self._widths(route), dim=-1)
            for target, result in zip(route.targets, results, strict=True):
                broadcast = spread(result, route.along, self.members[target].axes)
                before = totals[target]
                totals[target] = broadcast if before is None else before + broadcast
        return [total for total in totals if total is not None]

    def _read(self, source: Source, along: Axes, means: list[dict[Axes, Tensor]]) -> Tensor:
        """Return the mean of a source over all its axes except ``along``, as a map along these axes reads it.

        For each member, ``means`` contains the mean for every subset of the axes that is not averaged.
        """
        x = means[source.member][along]
        if source.average:
            member = self.members[source.member]
            sizes = {"k": member.positions, "fixed": member.fixed}
            x = reduce(x, "... (k fixed c) -> ... (k c)", "mean", **sizes)
        return x

    def _folded(self, source: Source) -> int:
        member = self.members[source.member]
        return member.positions if source.average else member.folded

    def _widths(self, route: Route) -> list[int]:
        return [self.members[target].folded * self.outputs for target in route.targets]

    def _initialise(self, fans: dict[int, int]) -> None:
        """Draw the weights and biases of all maps from U(−1 / √n, 1 / √n).

        n is the number of channels that the maps to a target read together: ``fans[target]``.
        """
        with torch.no_grad():
            for route, affine in zip(self.routes, self.maps, strict=True):
                assert isinstance(affine, nn.Linear)
                widths = self._widths(route)
                pieces = zip(
                    route.targets, affine.weight.split(widths), affine.bias.split(widths), strict=True
                )
                for target, weight, bias in pieces:
                    bound = 1 / math.sqrt(fans[target])
                    weight.uniform_(-bound, bound)
                    bias.uniform_(-bound, bound)


def _routes(members: Sequence[Member]) -> tuple[Route, ...]:
    """Return the routes of a layer, in ascending order of the number of axes along which they act.

    With this order, few additions have the full size of a weight.
    """
    every = {subset for member in members for subset in subsets(member.axes)}
    routes: list[Route] = []
    for along in sorted(every, key=lambda axes: (len(axes), axes)):
        targets: dict[tuple[Source, ...], list[int]] = {}
        for number, member in enumerate(members):
            if set(along) <= set(member.axes):
                targets.setdefault(_sources(members, along, member.layer), []).append(number)
        routes += [Route(along=along, sources=read, targets=tuple(to)) for read, to in targets.items()]
    return tuple(routes)


def _sources(members: Sequence[Member], along: Axes, layer: int) -> tuple[Source, ...]:
    """Return the sources that the map along ``along`` reads for targets in the layer ``layer``.

    As in the original, targets in other layers read a member with a fixed axis twice: once with all values
    along the fixed axis, and once with the mean of these values. If ``along`` is empty, all targets do so,
    including those in the same layer.
    """
    sources = []
    for number, member in enumerate(members):
        if set(along) <= set(member.axes):
            sources.append(Source(member=number))
            has_fixed = "fixed" in member.outside
            if has_fixed and (not along or member.layer != layer):
                sources.append(Source(member=number, average=True))
    return tuple(sources)
