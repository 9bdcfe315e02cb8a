"""Define one DWS layer (Navon et al. 2023, arXiv 2301.12780).

A DWS layer maps features on every weight and bias of a chain of L layers to features on every weight and
bias. The layer has a map from every tensor (the source) to every tensor (the target). A map pools the source
over the hidden axes that the target lacks, acts along the hidden axes that both tensors have, and broadcasts
the result over the hidden axes that the source lacks. So the layer commutes with permutations of hidden
neurons. The number of hidden axes that both tensors have decides the kind of the map:

    none    an affine map of the pooled source
    one     a set layer along that axis
    two     the mean of four affine maps: of x, of x pooled over either axis, and of x pooled over both

The output for a target is the sum of the results of its 2L maps, divided by 2L.
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
class DWSRoute:
    """One map of a layer to a given target.

    Args:
        name: the name of the map.
        source: the index of the member that the map reads.
        factor: the factor of the map's result in the sum for the target.
        copies: how often the map's result is repeated along the target's fixed axis.
    """

    name: str
    source: int
    factor: float
    copies: int


class DWSLayer(nn.Module):
    """Maps features on the weights and biases of a chain, and commutes with permutations of hidden neurons.

    Args:
        members: the weights and biases of the chain, with their hidden axes.
        inputs: number of input channels of each member.
        outputs: number of output channels.
        set_layer: returns a set layer for an input width and an output width.
        reduction: the pooling over hidden axes.
        depth: number of linear layers of the affine maps from weights to weights, from biases to biases, and
            between the last weight and the last bias. All other affine maps have one linear layer, as in the
            original.
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
        #: for each member, the routes to it by the hidden axes along which they act, few axes first
        self.routes: list[dict[Axes, list[DWSRoute]]] = []
        for target in members:
            routes: dict[Axes, list[DWSRoute]] = {}
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
                    factor = (0.25 if len(shared) == 2 else 1) / len(members)
                    route = DWSRoute(name=name, source=number, factor=factor, copies=copies)
                    routes.setdefault(along, []).append(route)
            self.routes.append({along: routes[along] for along in sorted(routes, key=len)})

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return ``(B, *hidden, fixed · outputs)`` for ``(B, *hidden, fixed · inputs)`` of each member."""
        pooled = [pools(x, m.axes, self._pool) for x, m in zip(tensors, self.members, strict=True)]
        pairs = zip(self.members, self.routes, strict=True)
        return [self._gather(pooled, target.axes, routes) for target, routes in pairs]

    def _pool(self, x: Tensor, axis: int) -> Tensor:
        return pool(x, axis, self.reduction)

    def _gather(
        self, pooled: list[dict[Axes, Tensor]], hidden: Axes, routes: dict[Axes, list[DWSRoute]]
    ) -> Tensor:
        """Return the sum of the results of all maps to a target.

        Maps along few axes are added first, so that few additions have the full size of the target.

        Args:
            pooled: the sources, pooled to each subset of their axes.
            hidden: the hidden axes of the target.
            routes: the routes to the target, by the axes along which they act.
        """
        total = pooled[0][()].new_zeros(())
        for along, group in routes.items():
            partial = total if along == hidden else total.new_zeros(())
            for route in group:
                result = self.maps[route.name](pooled[route.source][along])
                if route.copies > 1:
                    result = torch.cat([result] * route.copies, dim=-1)
                partial = torch.add(partial, result, alpha=route.factor)
            total = partial if along == hidden else total + spread(partial, along, hidden)
        return total


def initialise(layer: DWSLayer, scale: float) -> None:
    """Draw the initial values of all linear maps of a layer.

    Weights are from N(0, σ²) with σ = √(2 / (in + out)) · √(2 in / out) · scale, and biases from U(−1e-4,
    1e-4).
    """
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            gain = math.sqrt(2 * module.in_features / module.out_features) * scale
            nn.init.xavier_normal_(module.weight, gain)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -1e-4, 1e-4)


def _is_copied(source: Member, target: Member, *, last: int) -> bool:
    """Return whether the map from a source to a target computes one vector for all outputs of the network.

    As in the original, this is so for maps to the last weight from the second-last weight and from the biases
    of layers 0 … L − 3. Any other map computes a vector for each output.
    """
    if (target.role, target.layer) != ("weight", last):
        return False
    return source.layer == last - 1 if source.role == "weight" else source.layer < last - 1


def _words(along: Axes) -> str:
    return "_".join(["along", *map(str, sorted(along))]) if along else "pooled"
