"""One DWS layer: features on every weight and bias → features on every weight and bias (Navon et al. 2023, §5).

Every tensor sends to every other. A map pools its source over the hidden axes that the target lacks, acts along those
that both have, and is broadcast over those that only the target has, so it commutes with permutations of hidden
neurons. What it is follows from how many hidden axes the two share:

    none    an affine map of the pooled source
    one     a set layer along that axis
    two     the mean of four affine maps: of x, of x pooled over either axis, of x pooled over both

The layer sums over all sources, and divides by their number 2L.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from attrs import frozen
from torch import Tensor, nn

from sneframe_dwsnet.chain import Axes, Member
from sneframe_dwsnet.set_layer import Reduction, affine, pool

SetLayer = Callable[[int, int], nn.Module]


@frozen(kw_only=True)
class Route:
    """Where one map of a layer reads, and what becomes of its result.

    Args:
        name: of the map.
        source: number of the member it reads.
        along: the hidden axes of the source that it acts along; the others are pooled.
        share: what its result counts in the target's sum.
        copies: how often its result is repeated over the target's fixed axis.
    """

    name: str
    source: int
    along: Axes
    share: float
    copies: int


class DWSLayer(nn.Module):
    """An equivariant map between features on the members of a chain.

    Args:
        members: of the chain.
        inputs: channels it is given.
        outputs: channels it gives.
        set_layer: makes a set layer for two widths.
        reduction: the pooling over hidden axes.
        depth: linear layers of an affine map.
    """

    def __init__(
        self,
        members: Sequence[Member],
        inputs: int,
        outputs: int,
        *,
        set_layer: SetLayer,
        reduction: Reduction,
        depth: int,
    ) -> None:
        super().__init__()
        self.members = tuple(members)
        self.reduction = reduction
        self.maps = nn.ModuleDict()
        self.routes: tuple[list[Route], ...] = tuple([] for _ in members)
        last = members[-1].layer
        for target, routes in zip(members, self.routes, strict=True):
            for number, source in enumerate(members):
                shared = tuple(axis for axis in source.hidden if axis in target.hidden)
                copies = target.fixed if _is_copied(source, target, last) else 1
                widths = source.fixed * inputs, target.fixed // copies * outputs
                deep = depth if source.role == target.role or source.layer == target.layer else 1
                for along in _subsets(shared) if len(shared) == 2 else [shared]:
                    name = "_".join([source.label, "to", target.label, *map(str, ["along", *along] if along else ["pooled"])])
                    self.maps[name] = set_layer(*widths) if len(shared) == 1 else affine(*widths, depth=deep)
                    share = (0.25 if len(shared) == 2 else 1) / len(members)
                    routes.append(Route(name=name, source=number, along=along, share=share, copies=copies))

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return ``(B, *hidden, fixed · outputs)`` for each ``(B, *hidden, fixed · inputs)``, in the members' order."""
        pooled = [_pools(x, m.hidden, self.reduction) for x, m in zip(tensors, self.members, strict=True)]
        return [self._gather(target, routes, pooled) for target, routes in zip(self.members, self.routes, strict=True)]

    def _gather(self, target: Member, routes: list[Route], pooled: list[dict[Axes, Tensor]]) -> Tensor:
        sums: dict[Axes, Tensor] = {}
        for route in routes:
            result = self.maps[route.name](pooled[route.source][route.along])
            if route.copies > 1:
                result = torch.cat([result] * route.copies, dim=-1)
            partial = sums.get(route.along)
            sums[route.along] = (
                result * route.share if partial is None else torch.add(partial, result, alpha=route.share)
            )
        # Few axes first, so that as few additions as can be are of the target's full size.
        first, *others = (_broadcast(sums[along], along, target.hidden) for along in sorted(sums, key=len))
        return sum(others, start=first)


def initialise(layer: DWSLayer, scale: float) -> None:
    """Draw weights from N(0, σ²), σ = √(2 / (in + out)) · √(2 in / out) · scale, and biases from U(±1e-4)."""
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            gain = math.sqrt(2 * module.in_features / module.out_features) * scale
            nn.init.xavier_normal_(module.weight, gain)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -1e-4, 1e-4)


def _is_copied(source: Member, target: Member, last: int) -> bool:
    """Return whether the last weight gets one vector for all of its outputs: from these sources the original's does."""
    if (target.role, target.layer) != ("weight", last):
        return False
    return source.layer == last - 1 if source.role == "weight" else source.layer < last - 1


def _subsets(axes: Axes) -> list[Axes]:
    return [subset for size in range(len(axes) + 1) for subset in combinations(axes, size)]


def _pools(x: Tensor, hidden: Axes, reduction: Reduction) -> dict[Axes, Tensor]:
    """Return ``x`` pooled to every subset of its hidden axes, each from the subset with one axis more."""
    found = {hidden: x}
    for kept in reversed(_subsets(hidden)[:-1]):
        dropped = next(axis for axis in hidden if axis not in kept)
        wider = tuple(axis for axis in hidden if axis in (*kept, dropped))
        found[kept] = pool(found[wider], 1 + wider.index(dropped), reduction)
    return found


def _broadcast(x: Tensor, along: Axes, hidden: Axes) -> Tensor:
    """Give ``x (B, *along, D)`` an axis of size 1 for every hidden axis it lacks."""
    for place, axis in enumerate(hidden, start=1):
        if axis not in along:
            x = x.unsqueeze(place)
    return x
