"""Keep the graph of each architecture, which is built once for each device and type."""

from __future__ import annotations

import torch
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.nn.graph.blocks import NodeGraph, node_graph


class Graphs:
    """The graphs of architectures, each built once for each device and type."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[str, torch.device, torch.dtype], NodeGraph] = {}

    def __call__(self, architecture: Architecture, like: Tensor) -> NodeGraph:
        """Return the graph of an architecture on the device of ``like``, with numbers of its type."""
        key = (architecture.id, like.device, like.dtype)
        if key not in self._graphs:
            self._graphs[key] = node_graph(architecture, like.device, like.dtype)
        return self._graphs[key]

    def known(self, architectures: tuple[Architecture, ...]) -> list[tuple[Architecture, NodeGraph]]:
        """Return the graph of each architecture, to build a part for them."""
        like = torch.zeros(1, device="cpu")
        return [(architecture, self(architecture, like)) for architecture in architectures]
