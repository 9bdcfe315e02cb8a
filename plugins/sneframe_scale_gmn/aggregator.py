"""``scale-gmn/readout`` reads the codes of nodes as one embedding that no scale or sign changes."""

from __future__ import annotations

from typing import Literal, final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import ge
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.config.schema import option
from sneframe.errors import ArchitecturesRefused, PartError
from sneframe.nn.graph.graphs import Graphs
from sneframe.nn.graph.node_codes import NodeCodes
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding
from sneframe.parts.part import ANY_ACTION, Spec
from sneframe_scale_gmn.maps import Invariant
from sneframe_scale_gmn.symmetries import NodeKinds, kinds_of


@final
class ScaleReadout(Aggregator):
    """Applies Linear, LayerNorm and SiLU to codes that have no scale or sign.

    ``read`` says what is read:

    * ``graph``: the mean codes of the outputs and of the inputs, and the mean of invariants of the hidden
      nodes, for any network.
    * ``ends``: linear maps of the codes of all outputs and of all inputs, in their order. Messages back reach
      the inputs.
    * ``outputs``: the codes of all outputs, in their order.

    With L layers, ``ends`` and ``outputs`` do not depend on weights that are more than L steps from every
    input or output.
    """

    name = "scale-gmn/readout"
    keeps = ANY_ACTION
    takes = (NodeCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        read: Literal["graph", "ends", "outputs"] = option(
            "graph",
            "graph: means of outputs, inputs and hidden nodes, for any network; ends: all outputs and inputs "
            "in their order; outputs: all outputs",
        )
        width: int = option(64, "E, the width of the embedding", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(Embedding, config.width)
        self._graphs = Graphs()
        self._kinds: dict[str, NodeKinds] = {}
        for architecture in spec.architectures:
            if not self._counts(architecture)[1]:
                raise ArchitecturesRefused(
                    f"{self.slot} {self.name!r} reads outputs, but the last neurons of "
                    f"{architecture.summary} are permuted like hidden ones"
                )
        sizes = sorted(set(map(self._counts, spec.architectures)))
        if config.read != "graph" and len(sizes) > 1:
            shown = ", ".join(f"{inputs} and {outputs}" for inputs, outputs in sizes)
            raise ArchitecturesRefused(
                f"{self.slot} {self.name!r} reads inputs and outputs in their order, so all networks must "
                f"have the same number of them, but got {shown}; aggregator.read = 'graph' takes any number"
            )
        self.inputs, self.outputs = sizes[0] if config.read != "graph" else (1, 1)
        width = spec.width
        kinds = kinds_of([self._kinds_of(architecture) for architecture in spec.architectures])
        reads_inputs = config.read != "outputs"
        self.from_outputs = nn.Linear(self.outputs * width, width) if reads_inputs else None
        self.from_inputs = nn.Linear(self.inputs * width, width) if reads_inputs else None
        self.invariant = (
            Invariant(width, width, kinds, symmetrised=True) if config.read == "graph" and kinds else None
        )
        given = {"graph": 3 * width, "ends": 2 * width, "outputs": self.outputs * width}[config.read]
        self.first = nn.Linear(given, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, codes: tuple[NodeCodes, ...]) -> tuple[Embedding, ...]:
        """Return embeddings ``(B, E)`` for each architecture.

        Raises:
            PartError: a network has another number of inputs or outputs, and ``read`` is not ``graph``; or a
                kind of neuron that no training network has.
        """
        return tuple(
            Embedding(architecture=entry.architecture, values=self._vector(entry)) for entry in codes
        )

    def _vector(self, entry: NodeCodes) -> Tensor:
        outputs = entry.codes[entry.outputs]
        inputs = outputs[:, :0] if entry.inputs is None else entry.codes[entry.inputs]
        if self.config.read == "graph":
            outputs = outputs.mean(1, keepdim=True)
            inputs = inputs.mean(1, keepdim=True) if inputs.shape[1] else torch.zeros_like(outputs)
        if (inputs.shape[1], outputs.shape[1]) != (self.inputs, self.outputs):
            raise PartError(
                f"{self.slot} {self.name!r} reads {self.inputs} inputs and {self.outputs} outputs, but "
                f"{entry.architecture.summary} has {inputs.shape[1]} and {outputs.shape[1]}; "
                f"aggregator.read = 'graph' takes any number"
            )
        read = [outputs.flatten(1)]
        if self.from_outputs is not None and self.from_inputs is not None:
            read = [self.from_outputs(read[0]), self.from_inputs(inputs.flatten(1))]
        if self.config.read == "graph":
            read.append(self._hidden(entry, read[0]))
        return F.silu(self.norm(self.first(torch.cat(read, dim=1))))

    def _hidden(self, entry: NodeCodes, like: Tensor) -> Tensor:
        """Return the mean ``(B, D)`` over hidden nodes of invariants of their codes, or 0 without any."""
        found = []
        kinds = self._kinds_of(entry.architecture).of_set if entry.scaled else ("permute",) * len(entry.codes)
        for number, (codes, kind) in enumerate(zip(entry.codes, kinds, strict=True)):
            if number not in (entry.outputs, entry.inputs) and self.invariant is not None:
                found.append(self.invariant(codes, kind))
        return torch.cat(found, dim=1).mean(1) if found else torch.zeros_like(like)

    def _kinds_of(self, architecture: Architecture) -> NodeKinds:
        if architecture.id not in self._kinds:
            graph = self._graphs(architecture, torch.zeros(1))
            self._kinds[architecture.id] = NodeKinds.of(architecture, graph, known=True)
        return self._kinds[architecture.id]

    def _counts(self, architecture: Architecture) -> tuple[int, int]:
        """Return the number of inputs and of outputs; 0 outputs if a group permutes them."""
        graph = self._graphs(architecture, torch.zeros(1))
        inputs = 0 if graph.inputs is None else graph.graph.node_sets[graph.inputs].size
        outputs = graph.graph.node_sets[graph.outputs]
        return inputs, outputs.size if outputs.fixed else 0
