"""``probe/values`` maps the outputs of a network at K probes to its embedding."""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, in_, lt, min_len
from torch import Tensor, nn

from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.errors import PartError
from sneframe.nn.perceptron import perceptron
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding
from sneframe.parts.part import ANY_ACTION, Spec
from sneframe_probe.probe_values import ProbeValues

POOLED = 6  #: number of values for each probe that do not depend on the number of outputs


@final
class OutputValues(Aggregator):
    """Applies a perceptron to the outputs of a network at all probes. Its last hidden layer is the embedding.

    ``order`` says what the perceptron reads:

    * ``given``: the K · O outputs, in the order of the network. Regression and INRs need this order, because
      each output has a meaning of its own. Each output y enters as asinh(y), which is about y for small y and
      grows as log y for large y, so that networks that diverged do no harm.
    * ``sorted``: for classifiers. The probabilities (softmax) of each probe in descending order, and their
      means over all probes in descending order. The names of the classes do not matter.
    * ``pooled``: for classifiers with any number of classes. Six values for each probe: the largest
      probability, its lead over the second, the entropy, the entropy divided by that of a uniform guess, the
      standard deviation of the outputs (as asinh), and the mean probability, over all probes, of the class
      that is the likeliest at this probe.

    If the order is ``given`` or ``sorted``, then each number of outputs O of the training zoo has a first
    layer of its own. The first hidden layer is normalised (LayerNorm) before its ReLU: on sine INRs, the
    squared error is a tenth of that without.
    """

    name = "probe/values"
    keeps = ANY_ACTION
    takes = (ProbeValues,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        order: str = option(
            "given",
            "given | sorted | pooled: given keeps the order of the outputs, for regression; the others hide "
            "it, for classifiers: sorted for a fixed number of classes, pooled for any number",
            check=in_(("given", "sorted", "pooled")),
        )
        hidden: tuple[int, ...] = option(
            (128, 128),
            "widths of the hidden layers; the last is E, the width of the embedding",
            converter=as_tuple,
            check=deep_iterable(ge(1), iterable_validator=min_len(1)),
        )
        dropout: float = option(0.0, "dropout rate after every hidden layer", check=and_(ge(0), lt(1)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        widths = config.hidden
        self.out = spec.gives(Embedding, widths[-1])
        self.first = nn.ModuleDict(
            {
                str(size): nn.Linear(self._count(size, spec.width), widths[0])
                for size in sorted(set(self._sizes(spec)))
            }
        )
        self.norm = nn.LayerNorm(widths[0])
        self.dropout = nn.Dropout(config.dropout)
        self.layers = perceptron(widths, dropout=config.dropout) if len(widths) > 1 else None

    def _sizes(self, spec: Spec) -> tuple[int, ...]:
        return (0,) if self.config.order == "pooled" else spec.sizes

    def _count(self, size: int, probes: int) -> int:
        """Return how many values the perceptron reads for networks with this number of outputs."""
        order = self.config.order
        return probes * POOLED if order == "pooled" else (probes + (order == "sorted")) * size

    def forward(self, codes: tuple[ProbeValues, ...]) -> tuple[Embedding, ...]:
        """Return embeddings ``(B, E)`` for each architecture.

        Raises:
            PartError: no training network has this number of outputs, and the order is not ``pooled``.
        """
        return tuple(
            Embedding(architecture=entry.architecture, values=self._vector(entry)) for entry in codes
        )

    def _vector(self, entry: ProbeValues) -> Tensor:
        pooled = self.config.order == "pooled"
        size = 0 if pooled else entry.values.shape[2]
        if str(size) not in self.first:
            raise PartError(
                f"{self.slot} {self.name!r} reads {' or '.join(self.first)} outputs, but "
                f"{entry.architecture.summary} has {size}; aggregator.order = 'pooled' takes any number"
            )
        values = torch.nan_to_num(entry.values)
        if self.config.order == "given":
            read = values.asinh()
        else:
            read = _pooled(values) if pooled else _sorted(values)
        hidden: Tensor = self.dropout(F.relu(self.norm(self.first[str(size)](read.flatten(1)))))
        return hidden if self.layers is None else self.dropout(F.relu(self.layers(hidden)))


def _sorted(values: Tensor) -> Tensor:
    """Return the probabilities at each probe and their means, each in descending order, ``(B, K + 1, O)``."""
    chances = values.softmax(dim=-1)
    return torch.cat([chances, chances.mean(dim=1, keepdim=True)], dim=1).sort(dim=-1, descending=True).values


def _pooled(values: Tensor) -> Tensor:
    """Return POOLED values for each probe, ``(B, K, POOLED)``, from the outputs ``(B, K, O)``."""
    logs = values.log_softmax(dim=-1)
    chances, count = logs.exp(), values.shape[-1]
    largest, place = chances.max(dim=-1)
    second = chances.topk(2, dim=-1).values[..., 1] if count > 1 else torch.zeros_like(largest)
    entropy = -(chances * logs).sum(dim=-1)
    agreed = chances.mean(dim=1).gather(1, place)
    spread = values.asinh().std(dim=-1, correction=0)
    relative = entropy / math.log(max(2, count))
    return torch.stack([largest, largest - second, entropy, relative, spread, agreed], dim=-1)
