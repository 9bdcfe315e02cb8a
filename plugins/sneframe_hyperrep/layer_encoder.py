"""``hyperrep/transformer`` encodes tokens of neurons together with a compression token."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen
from attrs.validators import ge
from torch import Tensor, nn

from sneframe.architecture.neurons import units_of, widest
from sneframe.config.schema import option
from sneframe.errors import PartError
from sneframe.nn.transformer_blocks import TransformerBlocks
from sneframe.nn.views import RATE
from sneframe.parts.carriers import NeuronTokens, TokenCodes
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec

STD = 0.02  #: standard deviation of learned positions at the start


@final
class CompressionTransformer(LayerEncoder):
    """Maps the tokens of each layer by a linear map of this layer, and encodes all tokens by a transformer.

    A learned vector is added to each token for its position, so the part is not invariant to permutations. A
    further token, the compression token, comes first; its code stands for the network (Schürholt et al.,
    arXiv 2110.15288, section 3). The part is built for networks of one layout.
    """

    name = "hyperrep/transformer"
    takes = (NeuronTokens,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "D, the width of a code", check=ge(1))
        heads: int = option(4, "number of attention heads; it must divide the width", check=ge(1))
        blocks: int = option(2, "number of blocks", check=ge(1))
        feed_forward: int = option(128, "width between the two linear layers of a block", check=ge(1))
        dropout: float = option(0.0, "dropout rate in the blocks", check=RATE)

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        architecture = self.one_layout(spec)
        if spec.width < (needed := widest([architecture])):
            raise PartError(
                f"{self.slot} {self.name!r} needs whole neurons as tokens, of at least {needed} weights, but "
                f"got tokens of {spec.width}; set tokenizer.token_size = 'none'"
            )
        self.units = units_of(architecture)
        self.tokens = sum(unit.neurons for unit in self.units)
        self.out = spec.gives(TokenCodes, config.width)
        self.embed = nn.ModuleList(nn.Linear(unit.width, config.width) for unit in self.units)
        self.compression = nn.Parameter(STD * torch.randn(config.width))
        self.position = nn.Parameter(STD * torch.randn(self.tokens, config.width))
        self.transformer = TransformerBlocks(
            f"{self.slot} {self.name!r}",
            width=config.width,
            heads=config.heads,
            blocks=config.blocks,
            feed_forward=config.feed_forward,
            dropout=config.dropout,
        )

    def forward(self, tokens: tuple[NeuronTokens, ...]) -> tuple[TokenCodes, ...]:
        """Return codes ``(B, 1 + Q, D)``, that of the compression token first.

        Raises:
            PartError: a network does not have the layout for which the part was built.
        """
        return tuple(self._encode(entry) for entry in tokens)

    def _encode(self, entry: NeuronTokens) -> TokenCodes:
        self.check_layout(entry.architecture)
        parts = entry.tokens.split([unit.neurons for unit in self.units], dim=1)
        embedded = torch.cat([self._of_unit(number, part) for number, part in enumerate(parts)], dim=1)
        first = self.compression.expand(len(embedded), 1, -1)
        both = torch.cat([first.to(embedded.dtype), embedded + self.position], dim=1)
        return TokenCodes(architecture=entry.architecture, codes=self.transformer(both))

    def _of_unit(self, number: int, tokens: Tensor) -> Tensor:
        """Map the tokens ``(B, n, S)`` of a unit, without their padding, to vectors ``(B, n, D)``."""
        vectors: Tensor = self.embed[number](tokens[..., : self.units[number].width])
        return vectors
