"""Add to the codes of nodes what the neurons compute at learned inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.nn.graph.blocks import NodeGraph
from sneframe.nn.graph.places import places_of
from sneframe.nn.neuron_values import NeuronValues
from sneframe.nn.probed_layers import LayerValues, ProbedLayers

KINDS = ("input", "hidden", "output")  #: each kind of node has a linear map of its own


@final
class NodeProbes(nn.Module):
    """Maps the values of each neuron at K learned inputs to a code: LayerNorm(linear map).

    The values are those after the activation. If a neuron has values at several positions, such as pixels or
    tokens, their mean and their standard deviation over positions are read. Values enter as inverse sinh.
    The original (Kofinas et al., ICLR 2024) has a linear map for each layer of one architecture. Here
    inputs, hidden neurons and outputs have one each, so that any architecture can be read.

    Args:
        architectures: architectures of the training zoo.
        probes: K.
        width: D, the width of node codes.
        size: height and width of images, or length of texts, where a description does not tell it.
    """

    def __init__(
        self, architectures: Sequence[Architecture], *, probes: int, width: int, size: Sequence[int]
    ) -> None:
        super().__init__()
        self.probed = ProbedLayers(architectures, probes=probes, size=size)
        self.maps = nn.ModuleDict({kind: nn.Linear(2 * probes, width) for kind in KINDS})
        self.norms = nn.ModuleDict({kind: nn.LayerNorm(width) for kind in KINDS})

    def forward(self, networks: Networks, graph: NodeGraph) -> Tensor | None:
        """Return what to add to the codes of nodes, ``(B, V, D)``; None if networks cannot be evaluated."""
        architecture = networks.architecture
        if self.probed.obstacle(architecture) is not None:
            return None
        found = self.probed(networks)
        count = len(graph.graph.node_sets)
        parts: list[list[NeuronValues]] = [[] for _ in range(count)]
        if graph.inputs is not None and (entered := _entered(found, len(networks))) is not None:
            parts[graph.inputs].append(entered)
        for place in places_of(architecture, graph.graph):
            value = found.layers[place.layer]
            if value is not None and place.node_set is not None:
                parts[place.node_set].append(place.values(value, len(networks)))
        rows = []
        for number, node_set in enumerate(graph.graph.node_sets):
            kind = "input" if number == graph.inputs else "output" if number == graph.outputs else "hidden"
            codes = [
                self.norms[kind](values.first_codes(self._map(kind)))
                for values in parts[number]
                if values.means.shape[-1] == node_set.size
            ]
            width = self._map(kind).out_features
            empty = networks.weights.new_zeros(len(networks), node_set.size, width)
            rows.append(sum(codes, empty) / max(1, len(codes)) ** 0.5)
        return torch.cat(rows, dim=1)

    def _map(self, kind: str) -> nn.Linear:
        found = self.maps[kind]
        assert isinstance(found, nn.Linear)
        return found


def _entered(found: LayerValues, networks: int) -> NeuronValues | None:
    """Return the values of the nodes of the input: numbers, channels of an image, or rows of an embedding."""
    probes = found.inputs[0]
    if probes.ndim < 2:
        return None
    return NeuronValues.of(probes.expand(networks, *probes.shape), -1 if probes.ndim == 3 else 2)
