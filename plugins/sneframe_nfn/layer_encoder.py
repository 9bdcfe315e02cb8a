"""``nfn/np-layers``, ``nfn/hnp-layers`` and ``nfn/attention-blocks`` map features on weights and biases."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch.nn.functional as F
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, lt, min_len
from torch import Tensor, nn

from sneframe.config.schema import option
from sneframe.config.validators import as_tuple, check_heads
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
    """Options of NP layers and HNP layers."""

    widths: tuple[int, ...] = option(
        (16, 16, 5),
        "number of channels of each layer",
        converter=as_tuple,
        check=deep_iterable(ge(1), iterable_validator=min_len(1)),
    )
    dropout: float = option(
        0.0, "rate at which whole channels are dropped after each layer", check=and_(ge(0), lt(1))
    )


@final
class NPLayers(LayerEncoder):
    """NP layers, each followed by ReLU and channel dropout (Zhou et al. 2023, arXiv 2302.14040).

    NP layers commute with permutations of all neurons, including inputs and outputs. An embedding of inputs
    and outputs (NP-PosEmb), or the encoding of the tokenizer, distinguishes the inputs and the outputs. If
    one of these two is used, the layers commute only with permutations of hidden neurons.
    """

    name = "nfn/np-layers"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures,)

    @frozen(kw_only=True)
    class Config(Layers):
        """Options."""

        embedding: bool = option(
            True, "whether to add a learned vector for each input and output before each layer"
        )

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
        """Return features on the same weights and biases, with the channels of the last layer."""
        return tuple(_encode(self, features, self.embeddings) for features in tokens)


@final
class HNPLayers(LayerEncoder):
    """HNP layers, each followed by ReLU and channel dropout (Zhou et al. 2023, arXiv 2302.14040).

    HNP layers commute with permutations of hidden neurons, and have separate weights for each input and
    output. There is one difference from the authors' package. In the package, the last weight does not read
    the last hidden bias neuron by neuron, so one map for each output is missing. Here the layers span all
    equivariant linear maps.
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
        """Return features on the same weights and biases, with the channels of the last layer."""
        return tuple(_encode(self, features) for features in tokens)


@final
class AttentionBlocks(LayerEncoder):
    """Weight-space attention blocks of a neural functional transformer (Zhou et al. 2023, arXiv 2305.13546).

    If the tokenizer gives another number of channels than ``width``, an affine map lifts the features to
    ``width`` channels. Learned embeddings then distinguish layers, inputs and outputs. Each block computes y
    = x + A(LN x), where A is weight-space attention, and returns y + F(LN y), where F is a perceptron.
    """

    name = "nfn/attention-blocks"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(32, "number of channels of each block", check=ge(1))
        blocks: int = option(4, "number of blocks", check=ge(1))
        heads: int = option(4, "number of attention heads; it must divide the width", check=ge(1))
        factor: int = option(
            2, "number of hidden channels of the feed-forward maps, divided by the width", check=ge(1)
        )
        shared_projections: bool = option(
            False,
            "whether all layers share one map to queries, keys and values; impossible with convolutions",
        )
        embedding: bool = option(
            True, "whether to add a learned vector for each layer, input and output before the first block"
        )
        dropout: float = option(
            0.0, "dropout rate in attention and in the feed-forward maps", check=and_(ge(0), lt(1))
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        check_heads(f"{self.slot} {self.name!r}", config.width, config.heads)
        links = self.one_chain(spec)
        wide = next((link for link in links if link.positions > 1), None)
        if config.shared_projections and wide is not None:
            raise PartError(
                f"{self.slot} {self.name!r}: shared_projections needs one weight for each pair of neurons, "
                f"but {wide.weight.name!r} has {wide.positions}; set layer_encoder.shared_projections=false"
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
        """Return features on the same weights and biases, with ``width`` channels."""
        return tuple(self._encode(features) for features in tokens)

    def _encode(self, features: WeightFeatures) -> WeightFeatures:
        tensors = fold(features, self.members)
        for module in (self.lift, self.embedding, *self.blocks):
            tensors = tensors if module is None else module(tensors)
        return unfold(tensors, self.members, WeightFeatures, features.architecture)


def _encode(
    part: NPLayers | HNPLayers, features: WeightFeatures, embeddings: Sequence[nn.Module] | nn.ModuleList = ()
) -> WeightFeatures:
    """Return the features after all layers of ``part``.

    ``embeddings`` contains one module for each layer, which is applied before the layer, or is empty.
    """
    tensors = fold(features, part.members)
    dropout = part.config.dropout if part.training else 0.0
    for number, (width, layer) in enumerate(zip(part.config.widths, part.layers, strict=True)):
        if embeddings:
            tensors = embeddings[number](tensors)
        tensors = [F.relu(x) for x in layer(tensors)]
        if dropout:
            tensors = [_drop(x, width, dropout) for x in tensors]
    return unfold(tensors, part.members, WeightFeatures, features.architecture)


def _drop(x: Tensor, channels: int, dropout: float) -> Tensor:
    """Set random channels to 0, and scale up the other channels.

    The channels are drawn for each network. A channel is set to 0 at all neurons and positions.
    """
    separate = x.unflatten(-1, (-1, channels))
    kept = F.dropout(separate.new_ones(len(x), *[1] * (separate.ndim - 2), channels), dropout)
    return (separate * kept).flatten(-2)
