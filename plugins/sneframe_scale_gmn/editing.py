"""Change the weights of networks: an equivariant map from weights to changes of weights.

This is no part of a chain, because it predicts no property. Use it in a loop of one's own, as for editing the
image that an INR encodes.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe_scale_gmn.maps import MapOptions
from sneframe_scale_gmn.network import GraphOptions, ScaleGraphNetwork


@final
class WeightChanges(nn.Module):
    """Returns a change for every weight of networks of one architecture (ScaleGMN, section 6, INR editing).

    If neurons of a network are permuted, scaled or flipped, the changes move in the same way. Each parameter
    has a learned factor for its changes, which starts small.

    Args:
        architecture: the architecture.
        width: width of all codes.
        layers: number of layers.
        symmetrised: whether a sign goes by ρ(x) + ρ(−x), or by absolute values.
        skip: whether each layer but the last adds a linear map of the codes that it was given.
        dropout: dropout rate of node codes after each layer.
        start: the factor of each parameter at the start.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        width: int = 48,
        layers: int = 4,
        symmetrised: bool = False,
        skip: bool = True,
        dropout: float = 0.0,
        start: float = 0.01,
    ) -> None:
        super().__init__()
        kernels = ScaleGraphNetwork((architecture,), GraphOptions(width=1, layers=0)).kernels
        self.out = max(kernels.counts.values())
        self.network = ScaleGraphNetwork(
            (architecture,),
            GraphOptions(
                width=width,
                layers=layers,
                skip=skip,
                dropout=dropout,
                maps=MapOptions(separate_outputs=True, symmetrised=symmetrised),
                change_last_edges=True,
                out=self.out,
            ),
        )
        self.factors = nn.Parameter(torch.full((len(architecture.parameters),), start))

    def forward(self, networks: Networks) -> Tensor:
        """Return the changes ``(B, P)``, in the order of the weights."""
        architecture, state = networks.architecture, self.network(networks)
        found: dict[int, Tensor] = {}
        for block, edges in zip(state.graph.blocks, state.edges, strict=True):
            if block.edges is None or block.edges.parameter is None:
                continue
            number, shape = block.edges.parameter, block.edges.shape
            values = edges @ self.network.kernels.places(block).to(edges)
            ordered = [shape[axis] for axis in block.edges.order]
            back = [0, *(1 + block.edges.order.index(axis) for axis in range(len(shape)))]
            found[number] = values.reshape(len(networks), *ordered).permute(back).flatten(1)
        for number, ends in state.graph.vectors:
            found[number] = ends.gather(state.nodes)[..., 0]
        return torch.cat([found[n] * self.factors[n] for n in range(len(architecture.parameters))], dim=1)
