"""Say which way the edges of a block are read: as they lead, or back."""

from __future__ import annotations

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sneframe.nn.graph.blocks import EdgeBlock, Ends, NodeGraph


@frozen(kw_only=True, eq=False)
class Direction:
    """The edges of a block in one direction.

    Args:
        block: the block.
        back: whether the edges lead from the targets of the block to its sources.
    """

    block: EdgeBlock
    back: bool

    @property
    def receivers(self) -> Ends:
        """The slots at which the edges end."""
        return self.block.sources if self.back else self.block.targets

    @property
    def degree(self) -> int:
        """The number of edges that end at a slot."""
        if not self.back:
            return self.block.degree
        return 1 if self.block.own else self.block.targets.size

    def at_receivers(self, values: Tensor) -> Tensor:
        """Return values ``(B, V, D)`` of nodes at the end of each edge, to be broadcast over the block."""
        return self.block.at_sources(values) if self.back else self.block.at_targets(values)

    def at_senders(self, values: Tensor) -> Tensor:
        """Return values ``(B, V, D)`` of nodes at the start of each edge, to be broadcast over the block."""
        return self.block.at_targets(values) if self.back else self.block.at_sources(values)

    @property
    def axis(self) -> int | None:
        """The axis of ``(B, targets, n, D)`` over which edges end at the same slot; None if there is none."""
        if not self.back:
            return 2
        return None if self.block.own else 1


@frozen(kw_only=True, eq=False)
class Directions:
    """All directions in which the edges of an architecture are read.

    Args:
        graph: the graph.
        all: the directions.
        nodes: ``(n,)``, the nodes of the receiving slots of all directions, one direction after the other.
        degrees: ``(V, 1)``, how many edges end at each node.
    """

    graph: NodeGraph
    all: tuple[Direction, ...]
    nodes: Tensor
    degrees: Tensor

    @classmethod
    def of(cls, graph: NodeGraph, *, reverse: bool, dtype: torch.dtype) -> Directions:
        """Return the directions of a graph: the edges as they lead, and also back if ``reverse``."""
        ways = (False, True) if reverse else (False,)
        found = tuple(Direction(block=block, back=back) for block in graph.blocks for back in ways)
        counted = np.zeros(graph.size, np.int64)
        for direction in found:
            np.add.at(counted, direction.receivers.nodes.cpu().numpy(), direction.degree)
        nodes = torch.cat([direction.receivers.nodes for direction in found])
        degrees = torch.from_numpy(counted).to(nodes.device, dtype).unsqueeze(1)
        return cls(graph=graph, all=found, nodes=nodes, degrees=degrees)
