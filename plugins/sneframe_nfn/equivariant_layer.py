"""One NF-layer: features on every weight and bias → features on every weight and bias (Zhou et al. 2023, eqs. 3, 4).

For every set S of axes, tensors that have these axes are averaged over all their others, laid side by side as channels,
mapped by one affine map along S, and sent back to the same tensors, broadcast over all their other axes:

    S = {l + 1, l}   weight l to itself
    S = {l}          weight l − 1, bias l − 1 and weight l to each other, for every neuron of axis l
    S = {}           every tensor to every other

These are all linear maps that commute with permutations along the axes.
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
    """What one map reads of one member.

    Args:
        member: its number.
        average: whether its fixed axis is averaged over, too.
    """

    member: int
    average: bool = False


@frozen(kw_only=True)
class Route:
    """What one map reads, and where its result goes.

    Args:
        along: S, the axes that it acts along.
        sources: what it reads, side by side.
        targets: numbers of the members that share its result.
    """

    along: Axes
    sources: tuple[Source, ...]
    targets: tuple[int, ...]


class EquivariantLayer(nn.Module):
    """A linear map between features on the members of a chain, equivariant along their exchangeable axes.

    Args:
        members: of the chain.
        inputs: channels it is given.
        outputs: channels it gives.
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
        """Return ``(B, *axes, folded · outputs)`` for each ``(B, *axes, folded · inputs)``, in order."""
        known = [pools(x, m.axes, torch.mean) for m, x in zip(self.members, tensors, strict=True)]
        totals: list[Tensor | None] = [None] * len(self.members)
        for route, affine in zip(self.routes, self.maps, strict=True):
            read = torch.cat([self._read(source, route.along, known) for source in route.sources], dim=-1)
            made = affine(read).split(self._widths(route), dim=-1)
            for target, piece in zip(route.targets, made, strict=True):
                whole = spread(piece, route.along, self.members[target].axes)
                before = totals[target]
                totals[target] = whole if before is None else before + whole
        return [total for total in totals if total is not None]

    def _read(self, source: Source, along: Axes, known: list[dict[Axes, Tensor]]) -> Tensor:
        x = known[source.member][along]
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
        """Draw from U(±1 / √n), n being how many values reach a target over all maps together."""
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
    """Return the routes, few axes first, so that few additions are of a weight's full size."""
    every = {subset for member in members for subset in subsets(member.axes)}
    found = []
    for along in sorted(every, key=lambda axes: (len(axes), axes)):
        targets: dict[tuple[Source, ...], list[int]] = {}
        for number, member in enumerate(members):
            if set(along) <= set(member.axes):
                targets.setdefault(_sources(members, along, member.layer), []).append(number)
        found += [Route(along=along, sources=read, targets=tuple(to)) for read, to in targets.items()]
    return tuple(found)


def _sources(members: Sequence[Member], along: Axes, layer: int) -> tuple[Source, ...]:
    """Return what reaches the members of a layer along some axes.

    As in the original, what varies along a fixed axis reaches other layers twice: value by value, and as a mean.
    """
    found = []
    for number, member in enumerate(members):
        if set(along) <= set(member.axes):
            found.append(Source(member=number))
            has_fixed = "fixed" in member.outside
            if has_fixed and (not along or member.layer != layer):
                found.append(Source(member=number, average=True))
    return tuple(found)
