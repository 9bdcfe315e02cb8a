"""``sane/transformer`` gives a code to each token of a network of any architecture."""

from __future__ import annotations

from typing import final

from attrs import frozen
from attrs.validators import ge
from torch import nn

from sneframe.config.schema import option
from sneframe.nn.transformer_blocks import TransformerBlocks
from sneframe.nn.views import RATE
from sneframe.parts.carriers import NeuronTokens, TokenCodes
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_sane.positions import TokenPositions


@final
class TokenTransformer(LayerEncoder):
    """Encodes tokens by a transformer, and maps each result to a code (Schürholt et al., arXiv 2406.09997).

    All tokens of a network attend to each other, and to no token of another network. A vector is added to
    each token for its position, so the part is not invariant to permutations.
    """

    name = "sane/transformer"
    takes = (NeuronTokens,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "width of a token in the blocks", check=ge(1))
        heads: int = option(4, "number of attention heads; it must divide the width", check=ge(1))
        blocks: int = option(2, "number of blocks", check=ge(1))
        feed_forward: int = option(128, "width between the two linear layers of a block", check=ge(1))
        latent: int = option(64, "D, the width of a code", check=ge(1))
        dropout: float = option(0.0, "dropout rate in the blocks", check=RATE)

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        # The loss learns from the sizes how many weights a decoded token has.
        sizes = (spec.width,) * len(spec.architectures)
        self.out = spec.gives(TokenCodes, config.latent, sizes=sizes)
        self.embed = nn.Linear(spec.width, config.width)
        self.positions = TokenPositions(config.width)
        self.transformer = TransformerBlocks(
            f"{self.slot} {self.name!r}",
            width=config.width,
            heads=config.heads,
            blocks=config.blocks,
            feed_forward=config.feed_forward,
            dropout=config.dropout,
            activation="gelu",
        )
        self.latent = nn.Linear(config.width, config.latent)

    def forward(self, tokens: tuple[NeuronTokens, ...]) -> tuple[TokenCodes, ...]:
        """Return codes ``(B, Q, D)`` for each architecture."""
        return tuple(self._encode(entry) for entry in tokens)

    def _encode(self, entry: NeuronTokens) -> TokenCodes:
        vectors = self.embed(entry.tokens) + self.positions(entry)
        codes = self.latent(self.transformer(vectors))
        return TokenCodes(architecture=entry.architecture, codes=codes)
