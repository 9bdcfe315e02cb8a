"""Learn vectors that tell kinds of nodes apart: inputs, hidden layers, and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.errors import PartError
from sneframe.nn.graph.blocks import NodeGraph


@final
class NodeVectors(nn.Module):
    """One learned vector for each input, for each hidden layer, and for each output.

    All neurons of a hidden layer share one vector, because their order has no meaning. A network with more
    hidden layers than any training network reads vectors that are interpolated at the relative depths of its
    layers.

    Args:
        graphs: the graphs of the training zoo.
        width: D.
    """

    def __init__(self, graphs: Sequence[NodeGraph], width: int) -> None:
        super().__init__()
        self.inputs = _vectors(max((_size(g, g.inputs) for g in graphs), default=0), width)
        self.hidden = _vectors(max(g.hidden for g in graphs), width)
        self.outputs = _vectors(max(_size(g, _ordered_outputs(g)) for g in graphs), width)

    def forward(self, architecture: Architecture, graph: NodeGraph) -> Tensor:
        """Return the vector of each node, ``(V, D)``.

        Raises:
            PartError: a network has more inputs or outputs than any training network.
        """
        hidden = self._hidden(graph.hidden)
        rows = []
        for number, node_set in enumerate(graph.graph.node_sets):
            level = graph.levels[number]
            if level is not None:
                rows.append(hidden[level].expand(node_set.size, -1))
                continue
            is_output = number == graph.outputs
            table = self.outputs if is_output else self.inputs
            if node_set.size > len(table):
                raise PartError(
                    f"{architecture.summary} has {node_set.size} {'outputs' if is_output else 'inputs'}, "
                    f"but the training networks have at most {len(table)}"
                )
            rows.append(table[: node_set.size])
        return torch.cat(rows)

    def _hidden(self, count: int) -> Tensor:
        """Return the vectors of ``count`` hidden layers, ``(count, D)``."""
        known = len(self.hidden)
        if count <= known:
            return self.hidden[:count]
        place = torch.linspace(0, known - 1, count, device=self.hidden.device)
        below = place.floor().long().clamp(max=max(0, known - 2))
        above = (below + 1).clamp(max=known - 1)
        share = (place - below).unsqueeze(1).to(self.hidden.dtype)
        return self.hidden[below] * (1 - share) + self.hidden[above] * share

    def unseen(self, graph: NodeGraph) -> str | None:
        """Return what the vectors do not tell about the networks of a graph, in one line, or None."""
        if graph.hidden <= len(self.hidden):
            return None
        return (
            f"{graph.hidden} hidden layers, but training networks have at most {len(self.hidden)}: "
            f"the vectors that tell layers apart are interpolated"
        )


def _ordered_outputs(graph: NodeGraph) -> int | None:
    """Return the node set of the outputs, or None if a group permutes them."""
    return graph.outputs if graph.levels[graph.outputs] is None else None


def _size(graph: NodeGraph, node_set: int | None) -> int:
    return 0 if node_set is None else graph.graph.node_sets[node_set].size


def _vectors(count: int, width: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(count, width))
