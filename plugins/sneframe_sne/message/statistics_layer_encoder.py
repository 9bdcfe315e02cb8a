"""Define ``sne/message-statistics``, which adds codes of statistics to the codes of ``sne/message``."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen
from torch import Tensor

from sneframe.batch import Networks
from sneframe.config.validators import check_heads
from sneframe.nn.level_type_encoding import LevelTypeEncoding
from sneframe.nn.perceptron import perceptron
from sneframe.nn.weight_statistics import COUNT, statistics
from sneframe.parts.carriers import LayerCodes, each_parameter
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_sne.message.layer_encoder import Message

#: Statistics of normalised weights enter linearly below this value, and logarithmically above it.
SMALL = 0.01


@final
class MessageStatistics(LayerEncoder):
    """Returns the codes of ``sne/message``, followed by a code of the statistics of each parameter.

    Messages show what a network computes, and statistics show the scale of its weights. The statistics are
    the mean, variance and quantiles of each parameter (StatNN, arXiv 2002.11448) on a logarithmic scale. A
    perceptron maps them to a code, to which SNE's encodings of level and type are added. Neither the codes of
    messages nor those of statistics depend on the order of neurons.
    """

    name = "sne/message-statistics"
    takes = (Networks,)
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config(Message.Config):
        """Options of the messages. The perceptron has the same width."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        check_heads(f"{self.slot} {self.name!r}", config.width, config.heads)
        self.message = Message(config, spec)
        self.encoding = LevelTypeEncoding(spec.architectures, config.width)
        self.perceptron = perceptron((COUNT, config.width, config.width))
        self.out = self.message.out

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[LayerCodes, ...]:
        """Return codes ``(B, L, D)`` for each architecture. L counts groups, outputs and parameters."""
        return tuple(
            LayerCodes(
                architecture=networks.architecture,
                codes=torch.cat([own.codes, self._codes(networks)], dim=1),
                units=own.units + each_parameter(networks.architecture),
            )
            for networks, own in zip(tokens, self.message(tokens), strict=True)
        )

    def _codes(self, networks: Networks) -> Tensor:
        """Return the codes ``(B, L, D)`` of the statistics of the L parameters."""
        values = torch.stack([statistics(view.flatten(1)) for view in networks.parameters().values()], dim=1)
        units = each_parameter(networks.architecture)
        codes: Tensor = self.perceptron(torch.asinh(values / SMALL))
        return codes + self.encoding(networks.architecture, units, values)
