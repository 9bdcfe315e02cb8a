"""``head/linear`` and ``head/mlp`` compute predictions from embeddings, and train with the encoder."""

from __future__ import annotations

from typing import final

from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, lt
from torch import Tensor, nn

from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.nn.perceptron import perceptron
from sneframe.parts.head import Head
from sneframe.parts.part import ANY_ACTION, Spec


@final
class LinearHead(Head):
    """Maps the embeddings ``(B, E)`` to T values for each network by one linear layer with a bias."""

    name = "head/linear"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.linear = nn.Linear(spec.width, spec.values)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the T raw outputs of each network, as ``(B, T)``."""
        return self.linear(embedding)


@final
class MLPHead(Head):
    """Applies linear layers E → hidden → … → T to the embeddings, with ReLU and dropout between layers."""

    name = "head/mlp"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """Options."""

        hidden: tuple[int, ...] = option(
            (64,), "widths of the hidden layers", converter=as_tuple, check=deep_iterable(ge(1))
        )
        dropout: float = option(0.0, "dropout rate after every hidden layer", check=and_(ge(0), lt(1)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.layers = perceptron((spec.width, *config.hidden, spec.values), dropout=config.dropout)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the T raw outputs of each network, as ``(B, T)``."""
        return self.layers(embedding)
