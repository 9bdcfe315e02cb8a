"""``mlp/perceptron`` sums the codes of ``mlp/columns``, and applies the other hidden layers.

The codes are the terms of the perceptron's first layer.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, lt
from torch import Tensor, nn

from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.nn.perceptron import perceptron
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, LayerCodes
from sneframe.parts.part import ANY_ACTION, Spec


@final
class Perceptron(Aggregator):
    """Computes the last hidden layer of a perceptron on flat weights.

    The codes of ``mlp/columns`` are the terms W_l *x_l* of the first layer. This part sums them over the
    parameters l, adds the first layer's bias, and applies ReLU and the other hidden layers. The embedding
    ``(E,)`` is the last hidden layer after its ReLU. The output layer is the head, ``head/linear``.
    """

    name = "mlp/perceptron"
    keeps = ANY_ACTION
    takes = (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        hidden: tuple[int, ...] = option(
            (256,),
            "widths of the hidden layers after the first",
            converter=as_tuple,
            check=deep_iterable(ge(1)),
        )
        dropout: float = option(0.0, "dropout rate after every hidden layer", check=and_(ge(0), lt(1)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        widths = (spec.width, *config.hidden)
        self.out = spec.gives(Embedding, widths[-1])
        self.bias = nn.Parameter(torch.zeros(spec.width))
        self.dropout = nn.Dropout(config.dropout)
        self.layers = perceptron(widths, dropout=config.dropout) if config.hidden else None

    def forward(self, codes: tuple[LayerCodes, ...]) -> tuple[Embedding, ...]:
        """Return embeddings ``(B, E)`` for each architecture."""
        return tuple(
            Embedding(architecture=entry.architecture, values=self._vector(entry.codes)) for entry in codes
        )

    def _vector(self, codes: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(F.relu(codes.sum(dim=1) + self.bias))
        return hidden if self.layers is None else self.dropout(F.relu(self.layers(hidden)))
