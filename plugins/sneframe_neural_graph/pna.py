"""One layer of the graph network: messages along edges, four means of collecting them, and new edge codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sneframe.nn.graph.directions import Direction, Directions

SMALLEST = 1e-5  #: a smaller variance of messages is taken for 0
COLLECTED = 4  #: mean, smallest, largest and standard deviation


@final
class PNALayer(nn.Module):
    """Principal neighbourhood aggregation with modulated messages (Corso et al., 2020; Kofinas et al., 2024).

    With an edge from node j to node i that has the code e, the message is

        m = s ⊙ (A [x_i, x_j] + a) + t,  where [s, t] = E e + b.

    Its mean, smallest and largest value and standard deviation over all edges to i, each also multiplied by
    log(degree + 1) / δ, are read with x_i by two linear maps. δ is the mean of log(degree + 1) over the nodes
    of the training zoo.

    Args:
        width: D, the width of node codes.
        edge_width: the width of edge codes.
        mean_log_degree: δ.
    """

    mean_log_degree: Tensor

    def __init__(self, width: int, edge_width: int, *, mean_log_degree: float) -> None:
        super().__init__()
        self.register_buffer("mean_log_degree", torch.tensor(mean_log_degree))
        self.modulate = nn.Linear(edge_width, 2 * width)
        self.message = nn.Linear(2 * width, width)
        self.post = nn.Linear((1 + 2 * COLLECTED) * width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self, nodes: Tensor, modulation: Sequence[tuple[Tensor, Tensor]], directions: Directions
    ) -> Tensor:
        """Return new codes ``(B, V, D)`` of nodes ``(B, V, D)``.

        Args:
            nodes: the codes.
            modulation: s and t, ``(B, targets, n, D)``, for each direction.
            directions: the directions of the graph.
        """
        to, come = self.message.weight.chunk(2, dim=1)
        received, sent = F.linear(nodes, to, self.message.bias), F.linear(nodes, come)
        collected = [
            _collected(direction, factor, shift, received, sent)
            for direction, (factor, shift) in zip(directions.all, modulation, strict=True)
        ]
        sums, squares, smallest, largest = map(torch.cat, zip(*collected, strict=True), [1] * COLLECTED)
        mean = _added(sums, directions) / directions.degrees.clamp(min=1).to(sums)
        variance = _added(squares, directions) / directions.degrees.clamp(min=1).to(sums) - mean.square()
        # Below the smallest variance the deviation is 0, and so is its gradient.
        spread = torch.where(variance > SMALLEST, variance.clamp(min=SMALLEST).sqrt(), 0)
        found = torch.cat(
            [mean, _extreme(smallest, directions, "amin"), _extreme(largest, directions, "amax"), spread],
            dim=2,
        )
        scale = ((directions.degrees + 1).log() / self.mean_log_degree).to(found)
        codes: Tensor = self.out(
            self.post(torch.cat([nodes, found.to(nodes), (found * scale).to(nodes)], dim=2))
        )
        return codes


@final
class EdgeUpdate(nn.Module):
    """New codes of edges: a linear map of SiLU(E e + S x_j + T x_i), for an edge from node j to node i.

    Args:
        width: the width of node codes.
        edge_width: the width of edge codes.
    """

    def __init__(self, width: int, edge_width: int) -> None:
        super().__init__()
        self.edge = nn.Linear(edge_width, edge_width)
        self.source = nn.Linear(width, edge_width)
        self.target = nn.Linear(width, edge_width)
        self.out = nn.Linear(edge_width, edge_width)

    def forward(self, own: Sequence[Tensor], nodes: Tensor, directions: Directions) -> list[Tensor]:
        """Return SiLU(…) for each direction, to which the caller applies :attr:`out`.

        Args:
            own: E e for each direction.
            nodes: x, ``(B, V, D)``.
            directions: the directions of the graph.
        """
        sources, targets = self.source(nodes), self.target(nodes)
        return [
            F.silu(each + (direction.at_senders(sources) + direction.at_receivers(targets)))
            for direction, each in zip(directions.all, own, strict=True)
        ]


def joined(codes: Tensor, readers: Sequence[nn.Linear], before: nn.Linear | None) -> Tensor:
    """Return several linear maps of edge codes in one product, side by side.

    Args:
        codes: edge codes, or what ``before`` has to be applied to first.
        readers: the maps.
        before: a linear map before the readers, or None. Its matrix is multiplied with theirs first, which
            saves a product for each edge.
    """
    weight = torch.cat([reader.weight for reader in readers])
    bias = torch.cat([reader.bias for reader in readers])
    if before is not None:
        bias = F.linear(before.bias, weight, bias)
        weight = weight @ before.weight
    return F.linear(codes, weight, bias)


def _collected(
    direction: Direction, factor: Tensor, shift: Tensor, received: Tensor, sent: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return sum, sum of squares, smallest and largest message at each receiving slot, ``(B, n, D)``."""
    both = direction.at_receivers(received) + direction.at_senders(sent)
    messages = torch.addcmul(shift, factor, both)
    if messages.dtype in (torch.bfloat16, torch.float16):
        messages = messages.float()  # squares and their differences need more digits
    if direction.axis is None:
        flat = messages.flatten(1, 2)
        return flat, flat.square(), flat, flat
    return (
        messages.sum(direction.axis),
        messages.square().sum(direction.axis),
        messages.amin(direction.axis),
        messages.amax(direction.axis),
    )


def _added(values: Tensor, directions: Directions) -> Tensor:
    """Add values ``(B, n, D)`` of receiving slots at their nodes, ``(B, V, D)``."""
    empty = values.new_zeros(len(values), directions.graph.size, values.shape[2])
    return empty.index_add(1, directions.nodes, values)


def _extreme(values: Tensor, directions: Directions, reduce: str) -> Tensor:
    """Return the smallest or largest values at nodes, ``(B, V, D)``, and 0 at nodes without edges."""
    empty = values.new_zeros(len(values), directions.graph.size, values.shape[2])
    index = directions.nodes[None, :, None].expand_as(values)
    return empty.scatter_reduce(1, index, values, reduce, include_self=False)
