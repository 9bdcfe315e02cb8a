"""``dwsnet/dws-layers``: features on weights and biases → equivariant features on weights and biases."""

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

MIN_LAYERS = 3  #: the published layer maps are defined from three layers on


@final
class DWSLayers(LayerEncoder):
    """DWS layers with batch norm, ReLU and dropout between them (Navon et al. 2023, arXiv 2301.12780).

    The last layer has one attention head and nothing after it, as in the original. The entries of a kernel are folded into
    the channels of the first layer's input; what every layer gives has ``width`` channels for a kernel as for a weight.
    """

    name = "dwsnet/dws-layers"
    keeps = frozenset({"permute"})
    takes = (WeightFeatures,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(32, "channels of every layer", check=ge(1))
        hidden_layers: int = option(4, "DWS layers after the first", check=ge(1))
        set_layer: Literal["sab", "deepsets"] = option(
            "sab", "sab | deepsets: the map along a shared hidden axis"
        )
        heads: int = option(8, "attention heads, a divisor of width; the last layer has one", check=ge(1))
        reduction: Literal["max", "mean", "sum"] = option(
            "max", "max | mean | sum: the pooling over hidden axes"
        )
        depth: int = option(1, "linear layers of an affine map", check=ge(1))
        batch_norm: bool = option(True, "normalise channels, per tensor, between layers")
        dropout: float = option(0.0, "between layers", check=and_(ge(0), lt(1)))
        init_scale: float = option(1.0, "factor of the initial weights", check=gt(0))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.set_layer == "sab":
            check_heads(f"{self.slot} {self.name!r}", config.width, config.heads)
        links = self.one_chain(spec, layers=MIN_LAYERS)
        self.out = spec.gives(NeuronFeatures, config.width)
        self.given = _members(links, WeightFeatures)
        self.members = _members(links, NeuronFeatures)
        self.layers = nn.ModuleList()
        inputs = [spec.width * member.positions for member in self.given]
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
        """Return features of ``width`` channels on the same pairs of neurons, and on the neurons."""
        return tuple(self._encode(features) for features in tokens)

    def _encode(self, features: WeightFeatures) -> NeuronFeatures:
        tensors = fold(features, self.given)
        for number, layer in enumerate(self.layers):
            tensors = layer(tensors)
            if number < self.config.hidden_layers:
                tensors = [self._activate(m, x, number) for m, x in zip(self.members, tensors, strict=True)]
        return unfold(tensors, self.members, NeuronFeatures, features.architecture)

    def _activate(self, member: Member, x: Tensor, number: int) -> Tensor:
        if self.config.batch_norm:
            # A fixed axis is, like a hidden one, a place to take statistics over.
            norm = self.norms[number].get_submodule(member.label)
            try:
                x = norm(x.reshape(-1, self.config.width)).view_as(x)
            except ValueError as error:  # torch's, for a variance of one value
                raise PartError(
                    f"{self.slot} {self.name!r}: batch norm needs two networks at least in every step, got one; raise "
                    f"train.batch_size, or set layer_encoder.batch_norm=false"
                ) from error
        return self.dropout(F.relu(x))


def _members(links: Sequence[Link], carrier: type) -> tuple[Member, ...]:
    """Return the weights, then the biases, as the original numbers its maps."""
    found = members_of(links, exchangeable="hidden", carrier=carrier)
    return (*found[::2], *found[1::2])


def _set_layer(config: DWSLayers.Config, *, heads: int) -> SetLayer:
    if config.set_layer == "sab":
        return partial(SetAttention, heads=heads)
    return partial(DeepSets, reduction=config.reduction, depth=config.depth)
