"""``neural-graph/readout`` reads the codes of neurons as one embedding of the network."""

from __future__ import annotations

from typing import Literal, final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, lt, min_len
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.errors import ArchitecturesRefused, PartError
from sneframe.nn.graph.blocks import node_graph
from sneframe.nn.graph.node_codes import NodeCodes
from sneframe.nn.perceptron import perceptron
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding
from sneframe.parts.part import Spec


@final
class Readout(Aggregator):
    """Applies a perceptron to codes of nodes. Its last hidden layer is the embedding.

    ``read`` says what the perceptron reads:

    * ``outputs``: the codes of the output nodes, side by side, as in the original. Each number of outputs of
      the training zoo has a first layer of its own.
    * ``mean``: the mean of these codes, for any number of outputs.
    * ``graph``: the mean over the output nodes, and the mean and the largest values over the hidden nodes.
    """

    name = "neural-graph/readout"
    keeps = frozenset({"permute"})
    takes = (NodeCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        read: Literal["outputs", "mean", "graph"] = option(
            "outputs",
            "outputs: the codes of all output nodes; mean: their mean; graph: their mean, and the mean and "
            "the largest values of the hidden nodes",
        )
        hidden: tuple[int, ...] = option(
            (64, 64),
            "widths of the hidden layers; the last is E, the width of the embedding",
            converter=as_tuple,
            check=deep_iterable(ge(1), iterable_validator=min_len(1)),
        )
        dropout: float = option(0.0, "dropout rate after every hidden layer", check=and_(ge(0), lt(1)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        widths = config.hidden
        self.out = spec.gives(Embedding, widths[-1])
        counts_of = {architecture: _outputs(architecture) for architecture in spec.architectures}
        if config.read == "outputs" and not all(counts_of.values()):
            unordered = next(architecture for architecture, count in counts_of.items() if not count)
            raise ArchitecturesRefused(
                f"{self.slot} {self.name!r} reads outputs in their order, but the last neurons of "
                f"{unordered.summary} have none; aggregator.read = 'mean' takes any network"
            )
        sizes = sorted(set(counts_of.values()))
        counts = {"mean": {0: 1}, "graph": {0: 3}}.get(config.read) or {size: size for size in sizes}
        self.first = nn.ModuleDict(
            {str(size): nn.Linear(count * spec.width, widths[0]) for size, count in counts.items()}
        )
        self.dropout = nn.Dropout(config.dropout)
        self.layers = perceptron(widths, dropout=config.dropout) if len(widths) > 1 else None

    def forward(self, codes: tuple[NodeCodes, ...]) -> tuple[Embedding, ...]:
        """Return embeddings ``(B, E)`` for each architecture.

        Raises:
            PartError: no training network has this number of outputs, and ``read`` is ``outputs``.
        """
        return tuple(
            Embedding(architecture=entry.architecture, values=self._vector(entry)) for entry in codes
        )

    def _vector(self, entry: NodeCodes) -> Tensor:
        outputs = entry.codes[entry.outputs]
        ordered = self.config.read == "outputs" and entry.node_sets[entry.outputs].fixed
        size = outputs.shape[1] if ordered else 0
        if str(size) not in self.first:
            raise PartError(
                f"{self.slot} {self.name!r} reads {' or '.join(self.first)} outputs in their order, but "
                f"{entry.architecture.summary} has {size or 'none'}; aggregator.read = 'mean' takes any"
            )
        read = outputs.flatten(1) if ordered else outputs.mean(1)
        if self.config.read == "graph":
            ends = (entry.outputs, entry.inputs)
            hidden = [codes for number, codes in enumerate(entry.codes) if number not in ends]
            every = torch.cat(hidden or [outputs], dim=1)
            read = torch.cat([read, every.mean(1), every.amax(1)], dim=1)
        vector: Tensor = self.dropout(F.relu(self.first[str(size)](read)))
        return vector if self.layers is None else self.dropout(F.relu(self.layers(vector)))


def _outputs(architecture: Architecture) -> int:
    """Return the number of outputs of an architecture, or 0 if a group permutes them."""
    graph = node_graph(architecture, torch.device("cpu"), torch.float32)
    found = graph.graph.node_sets[graph.outputs]
    return found.size if found.fixed else 0
