"""Find where the values of an architecture's layers belong: in which node set, at which axis."""

from __future__ import annotations

from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.evaluate import neuron_axis
from sneframe.nn.graph.graph import Graph
from sneframe.nn.neuron_values import NeuronValues


@frozen(kw_only=True)
class Place:
    """A layer with parameters, the axis of its neurons in its value (K, …), and the node set of its neurons.

    ``node_set`` is None if no node set of the graph holds the neurons.
    """

    layer: int
    axis: int
    node_set: int | None

    def values(self, value: Tensor, networks: int) -> NeuronValues:
        """Return the values of the neurons, for the layer's value ``(networks or 1, K, …)``."""
        every = value.expand(networks, *[-1] * (value.ndim - 1))
        # Axis 0 of a module's value is that of the probes; here the networks come before it.
        return NeuronValues.of(every, self.axis + 1 if self.axis >= 0 else self.axis)


def places_of(architecture: Architecture, graph: Graph) -> tuple[Place, ...]:
    """Return the layers with parameters whose kind says along which axis their neurons lie."""
    owner = architecture.layer_of_parameter
    found = []
    for index, layer in enumerate(architecture.layers):
        axis = neuron_axis(layer)
        if axis is None:
            continue
        sets = [
            number
            for number, node_set in enumerate(graph.node_sets)
            if any(owner[parameter] == index for parameter in node_set.parameters)
        ]
        found.append(Place(layer=index, axis=axis, node_set=sets[-1] if sets else None))
    return tuple(found)


def output_set(graph: Graph) -> int:
    """Return the index of the node set of the outputs: that to which the last parameter leads."""
    last = {
        number: max(node_set.parameters)
        for number, node_set in enumerate(graph.node_sets)
        if node_set.parameters
    }
    return max(last, key=lambda number: last[number])
