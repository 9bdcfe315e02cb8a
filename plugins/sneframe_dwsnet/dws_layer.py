"""One DWS layer: features on every weight and bias → features on every weight and bias (Navon et al. 2023).

Every tensor sends to every other. A map pools its source over the hidden axes that the target lacks, acts
along those that both have, and is broadcast over those that only the target has, so it commutes with
permutations of hidden neurons. What it is follows from how many hidden axes the two share:

    none    an affine map of the pooled source
    one     a set layer along that axis
    two     the mean of four affine maps: of x, of x pooled over either axis, of x pooled over both

The layer sums over all sources, and divides by their number 2L.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from attrs import frozen
from torch import Tensor, nn

from sneframe.nn.chain_tensors import Axes, Member, pools, spread, subsets
from sneframe.nn.perceptron import perceptron
from sneframe_dwsnet.pooling import Reduction, pool

SetLayer = Callable[[int, int], nn.Module]


@frozen(kw_only=True)
class Route:
    """Where one map of a layer reads, and what becomes of its result.

    Args:
        name: of the map.
        source: number of the member it reads.
        share: what its result counts in the target's sum.
        copies: how often its result is repeated over the target's fixed axis.
    """

    name: str
    source: int
    share: float
    copies: int


class DWSLayer(nn.Module):
    """An equivariant map between features on the members of a chain.

    Args:
        members: of the chain, with its hidden axes.
        inputs: channels it is given, on each of the members.
        outputs: channels it gives.
        set_layer: makes a set layer for two widths.
        reduction: the pooling over hidden axes.
        depth: linear layers of the affine maps from weights to weights, from biases to biases, and between
            the last weight and the last bias; all others have one, as in the original.
    """

    def __init__(
        self,
        members: Sequence[Member],
        inputs: Sequence[int],
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
        #: for each member the routes to it, by the hidden axes of both that they act along, few axes first
        self.routes: list[dict[Axes, list[Route]]] = []
        for target in members:
            routes: dict[Axes, list[Route]] = {}
            for number, source in enumerate(members):
                shared = tuple(axis for axis in source.axes if axis in target.axes)
                copies = target.fixed if _is_copied(source, target, last=members[-1].layer) else 1
                widths = source.fixed * inputs[number], target.fixed // copies * outputs
                deep = depth if source.role == target.role or source.layer == target.layer else 1
                for along in subsets(shared) if len(shared) == 2 else [shared]:
                    name = f"{source.label}_to_{target.label}_{_words(along)}"
                    self.maps[name] = (
                        set_layer(*widths)
                        if len(shared) == 1
                        else perceptron((widths[0], *[widths[1]] * deep))
                    )
                    share = (0.25 if len(shared) == 2 else 1) / len(members)
                    route = Route(name=name, source=number, share=share, copies=copies)
                    routes.setdefault(along, []).append(route)
            self.routes.append({along: routes[along] for along in sorted(routes, key=len)})

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return ``(B, *hidden, fixed · outputs)`` for each ``(B, *hidden, fixed · its inputs)``, in order."""
        pooled = [pools(x, m.axes, self._pool) for x, m in zip(tensors, self.members, strict=True)]
        pairs = zip(self.members, self.routes, strict=True)
        return [self._gather(pooled, target.axes, routes) for target, routes in pairs]

    def _pool(self, x: Tensor, place: int) -> Tensor:
        return pool(x, place, self.reduction)

    def _gather(
        self, pooled: list[dict[Axes, Tensor]], hidden: Axes, routes: dict[Axes, list[Route]]
    ) -> Tensor:
        """Sum what comes along few axes first, so that few additions are of the target's full size."""
        total = pooled[0][()].new_zeros(())
        for along, group in routes.items():
            partial = total if along == hidden else total.new_zeros(())
            for route in group:
                result = self.maps[route.name](pooled[route.source][along])
                if route.copies > 1:
                    result = torch.cat([result] * route.copies, dim=-1)
                partial = torch.add(partial, result, alpha=route.share)
            total = partial if along == hidden else total + spread(partial, along, hidden)
        return total


def initialise(layer: DWSLayer, scale: float) -> None:
    """Draw weights from N(0, σ²), σ = √(2 / (in + out)) · √(2 in / out) · scale, and biases from U(±1e-4)."""
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            gain = math.sqrt(2 * module.in_features / module.out_features) * scale
            nn.init.xavier_normal_(module.weight, gain)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -1e-4, 1e-4)


def _is_copied(source: Member, target: Member, *, last: int) -> bool:
    """Return whether the last weight gets one vector for all its outputs, as the original has it."""
    if (target.role, target.layer) != ("weight", last):
        return False
    return source.layer == last - 1 if source.role == "weight" else source.layer < last - 1


def _words(along: Axes) -> str:
    return "_".join(["along", *map(str, sorted(along))]) if along else "pooled"
