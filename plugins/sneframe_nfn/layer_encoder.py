"""``nfn/np-layers``, ``nfn/hnp-layers``, ``nfn/attention-blocks``: equivariant features on weights and biases."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch.nn.functional as F
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, lt, min_len
from torch import Tensor, nn

from sneframe.config.schema import option
from sneframe.config.validators import check_heads
from sneframe.errors import PartError
from sneframe.nn.chain_tensors import fold, members_of, unfold
from sneframe.parts.carriers import WeightFeatures
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_nfn.attention_block import AttentionBlock, ChannelMap
from sneframe_nfn.encoding import LayerEmbedding, PositionEmbedding
from sneframe_nfn.equivariant_layer import EquivariantLayer


@frozen(kw_only=True)
class Layers:
    """Options of every stack of equivariant layers."""

    widths: tuple[int, ...] = option(
        (16, 16, 5),
        "channels of every layer",
        converter=tuple,
        check=deep_iterable(ge(1), iterable_validator=min_len(1)),
    )
    dropout: float = option(0.0, "of whole channels, after every layer", check=and_(ge(0), lt(1)))


@final
class NPLayers(LayerEncoder):
    """NP layers, each with ReLU and channel dropout (Zhou et al. 2023, arXiv 2302.14040).

    They commute with permutations of inputs and outputs, too, until these are told apart by an embedding (NP-PosEmb)
    or by the tokenizer's encoding.
    """

    name = "nfn/np-layers"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures,)

    @frozen(kw_only=True)
    class Config(Layers):
        """Options."""

        embedding: bool = option(True, "add a learned vector per input and output before every layer")

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        links = self.one_chain(spec)
        self.members = members_of(links, exchangeable="all")
        widths = (spec.width, *config.widths)
        self.out = spec.gives(WeightFeatures, config.widths[-1])
        self.embeddings = nn.ModuleList(
            PositionEmbedding(links, width) for width in (widths[:-1] if config.embedding else ())
        )
        self.layers = nn.ModuleList(EquivariantLayer(self.members, *pair) for pair in pairwise(widths))

    def forward(self, tokens: tuple[WeightFeatures, ...]) -> tuple[WeightFeatures, ...]:
        """Return features of as many channels as the last layer has, on the same weights and biases."""
        return tuple(self._encode(features) for features in tokens)

    def _encode(self, features: WeightFeatures) -> WeightFeatures:
        tensors = fold(features, self.members)
        for number, layer in enumerate(self.layers):
            if self.config.embedding:
                tensors = self.embeddings[number](tensors)
            tensors = _activate(layer(tensors), self.config.widths[number], self._dropout)
        return unfold(tensors, self.members, WeightFeatures, features.architecture)

    @property
    def _dropout(self) -> float:
        return self.config.dropout if self.training else 0.0


@final
class HNPLayers(LayerEncoder):
    """HNP layers, each with ReLU and channel dropout (Zhou et al. 2023, arXiv 2302.14040).

    They commute with permutations of hidden neurons, and have weights of their own for every input and output.
    """

    name = "nfn/hnp-layers"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures,)

    @frozen(kw_only=True)
    class Config(Layers):
        """Options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.members = members_of(self.one_chain(spec), exchangeable="hidden")
        self.out = spec.gives(WeightFeatures, config.widths[-1])
        widths = (spec.width, *config.widths)
        self.layers = nn.ModuleList(EquivariantLayer(self.members, *pair) for pair in pairwise(widths))

    def forward(self, tokens: tuple[WeightFeatures, ...]) -> tuple[WeightFeatures, ...]:
        """Return features of as many channels as the last layer has, on the same weights and biases."""
        return tuple(self._encode(features) for features in tokens)

    def _encode(self, features: WeightFeatures) -> WeightFeatures:
        tensors = fold(features, self.members)
        for width, layer in zip(self.config.widths, self.layers, strict=True):
            tensors = _activate(layer(tensors), width, self.config.dropout if self.training else 0.0)
        return unfold(tensors, self.members, WeightFeatures, features.architecture)


@final
class AttentionBlocks(LayerEncoder):
    """Weight-space attention blocks of a neural functional transformer (Zhou et al. 2023, arXiv 2305.13546).

    Features are lifted to ``width`` channels where the tokenizer gives another number, layers, inputs and outputs are
    told apart by learned embeddings, and every block adds x + A(LN x) and x + F(LN x).
    """

    name = "nfn/attention-blocks"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(32, "channels of every block", check=ge(1))
        blocks: int = option(4, "how many", check=ge(1))
        heads: int = option(4, "attention heads, a divisor of width", check=ge(1))
        factor: int = option(2, "hidden channels of the feed-forward maps, over width", check=ge(1))
        shared_projections: bool = option(
            False, "one query, key and value map for all layers; not with convolutions"
        )
        embedding: bool = option(
            True, "add a learned vector per layer, input and output before the first block"
        )
        dropout: float = option(0.0, "of attention and in the feed-forward maps", check=and_(ge(0), lt(1)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        check_heads(f"{self.slot} {self.name!r}", config.width, config.heads)
        links = self.one_chain(spec)
        wide = next((link for link in links if link.positions > 1), None)
        if config.shared_projections and wide is not None:
            raise PartError(
                f"{self.slot} {self.name!r}: shared_projections needs one weight between two neurons, "
                f"{wide.weight.name!r} has {wide.positions}; set layer_encoder.shared_projections=false"
            )
        self.members = members_of(links, exchangeable="all")
        self.out = spec.gives(WeightFeatures, config.width)
        lifts = spec.width != config.width
        self.lift = ChannelMap(self.members, spec.width, config.width) if lifts else None
        self.embedding = LayerEmbedding(links, config.width) if config.embedding else None
        self.blocks = nn.ModuleList(
            AttentionBlock(
                self.members,
                config.width,
                heads=config.heads,
                factor=config.factor,
                shared=config.shared_projections,
                dropout=config.dropout,
            )
            for _ in range(config.blocks)
        )

    def forward(self, tokens: tuple[WeightFeatures, ...]) -> tuple[WeightFeatures, ...]:
        """Return features of ``width`` channels on the same weights and biases."""
        return tuple(self._encode(features) for features in tokens)

    def _encode(self, features: WeightFeatures) -> WeightFeatures:
        tensors = fold(features, self.members)
        for module in (self.lift, self.embedding, *self.blocks):
            tensors = tensors if module is None else module(tensors)
        return unfold(tensors, self.members, WeightFeatures, features.architecture)


def _activate(tensors: Sequence[Tensor], channels: int, dropout: float) -> list[Tensor]:
    """Apply ReLU, and drop channels: each as a whole, on one weight or bias of one network."""
    made = [F.relu(x) for x in tensors]
    if dropout:
        made = [_drop(x, channels, dropout) for x in made]
    return made


def _drop(x: Tensor, channels: int, dropout: float) -> Tensor:
    apart = x.unflatten(-1, (-1, channels))
    kept = F.dropout(apart.new_ones(len(x), *[1] * (apart.ndim - 2), channels), dropout)
    return (apart * kept).flatten(-2)
