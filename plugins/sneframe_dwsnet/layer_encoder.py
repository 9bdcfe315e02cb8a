"""``dwsnet/dws-layers`` applies equivariant DWS layers to features on weights and biases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, final

import torch.nn.functional as F
from attrs import frozen
from attrs.validators import and_, ge, gt, lt
from torch import Tensor, nn

from sneframe.architecture.chain import Link
from sneframe.config.schema import option
from sneframe.config.validators import check_heads
from sneframe.errors import PartError
from sneframe.nn.chain_tensors import Member, fold, members_of, unfold
from sneframe.parts.carriers import NeuronFeatures, WeightFeatures
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_dwsnet.batch_norm import BatchNorm
from sneframe_dwsnet.dws_layer import DWSLayer, SetLayer, initialise
from sneframe_dwsnet.set_layer import DeepSets, SetAttention

MIN_LAYERS = 3  #: the published maps are defined for networks with at least three layers


@final
class DWSLayers(LayerEncoder):
    """DWS layers with batch norm, ReLU and dropout between them (Navon et al. 2023, arXiv 2301.12780).

    As in the original, the last layer has one attention head, and no batch norm, ReLU or dropout follows the
    last layer. There are two differences. First, the original encodes MLPs only. Here a weight may also be a
    convolution kernel. The entries of the kernel are extra channels of the first layer's input, and the
    output of each layer has ``width`` channels for each pair of neurons. Second, dropout is off in
    evaluation, where the original leaves dropout on.
    """

    name = "dwsnet/dws-layers"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(32, "number of channels of each layer", check=ge(1))
        hidden_layers: int = option(4, "number of DWS layers after the first", check=ge(1))
        set_layer: Literal["sab", "deepsets"] = option(
            "sab", "the map along a hidden axis that source and target share: set attention or DeepSets"
        )
        heads: int = option(
            8, "number of attention heads; it must divide the width; the last layer has one", check=ge(1)
        )
        reduction: Literal["max", "mean", "sum"] = option("max", "the pooling over hidden axes")
        depth: int = option(1, "number of linear layers of an affine map", check=ge(1))
        batch_norm: bool = option(True, "whether to normalise the channels of each tensor between layers")
        dropout: float = option(0.0, "dropout rate between layers", check=and_(ge(0), lt(1)))
        init_scale: float = option(1.0, "factor of the initial weights", check=gt(0))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.set_layer == "sab":
            check_heads(f"{self.slot} {self.name!r}", config.width, config.heads)
        links = self.one_chain(spec, layers=MIN_LAYERS)
        self.out = spec.gives(NeuronFeatures, config.width)
        self.input_members = _members(links, WeightFeatures)
        self.members = _members(links, NeuronFeatures)
        self.layers = nn.ModuleList()
        inputs = [spec.width * member.positions for member in self.input_members]
        for number in range(config.hidden_layers + 1):
            layer = DWSLayer(
                self.members,
                [config.width] * len(self.members) if number else inputs,
                config.width,
                set_layer=_set_layer(config, heads=config.heads if number < config.hidden_layers else 1),
                reduction=config.reduction,
                depth=config.depth,
            )
            initialise(layer, config.init_scale)
            self.layers.append(layer)
        self.norms = nn.ModuleList(
            nn.ModuleDict({member.label: BatchNorm(config.width) for member in self.members})
            for _ in range(config.hidden_layers if config.batch_norm else 0)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: tuple[WeightFeatures, ...]) -> tuple[NeuronFeatures, ...]:
        """Return weights ``(B, width, out, in)`` and biases ``(B, width, out)``."""
        return tuple(self._encode(features) for features in tokens)

    def _encode(self, features: WeightFeatures) -> NeuronFeatures:
        tensors = fold(features, self.input_members)
        for number, layer in enumerate(self.layers):
            tensors = layer(tensors)
            if number < self.config.hidden_layers:
                tensors = [self._activate(m, x, number) for m, x in zip(self.members, tensors, strict=True)]
        return unfold(tensors, self.members, NeuronFeatures, features.architecture)

    def _activate(self, member: Member, x: Tensor, number: int) -> Tensor:
        if self.config.batch_norm:
            # Statistics are computed over networks, hidden axes and fixed axes.
            norm = self.norms[number].get_submodule(member.label)
            try:
                x = norm(x.reshape(-1, self.config.width)).view_as(x)
            except ValueError as error:  # torch raises it where it would need the variance of a single value
                raise PartError(
                    f"{self.slot} {self.name!r}: batch norm needs at least two networks in each step, but "
                    f"got one; raise train.batch_size, or set layer_encoder.batch_norm=false"
                ) from error
        return self.dropout(F.relu(x))


def _members(links: Sequence[Link], carrier: type) -> tuple[Member, ...]:
    """Return all weights of a chain, followed by all biases. The original has its maps in this order."""
    members = members_of(links, exchangeable="hidden", carrier=carrier)
    return (*members[::2], *members[1::2])


def _set_layer(config: DWSLayers.Config, *, heads: int) -> SetLayer:
    if config.set_layer == "sab":
        return partial(SetAttention, heads=heads)
    return partial(DeepSets, reduction=config.reduction, depth=config.depth)
