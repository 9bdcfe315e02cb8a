"""A decoder, which computes the weights of each token from its code."""

from __future__ import annotations

from attrs import evolve
from torch import Tensor, nn

from sneframe.nn.transformer_blocks import TransformerBlocks
from sneframe.parts.carriers import NeuronTokens
from sneframe_sane.positions import TokenPositions


class TokenDecoder(nn.Module):
    """Mirrors the encoder: a linear map of each code, positions, a transformer, a linear map to S weights.

    Args:
        owner: the words for the part that has the decoder, for errors.
        latent: D, the width of a code.
        size: S, the number of weights of a token.
        width: width of a token in the blocks.
        heads: number of attention heads. It must divide the width.
        blocks: number of blocks of the transformer.
        feed_forward: width between the two linear layers of a block.
        dropout: dropout rate in the blocks.
    """

    def __init__(
        self,
        owner: str,
        *,
        latent: int,
        size: int,
        width: int,
        heads: int,
        blocks: int,
        feed_forward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(latent, width)
        self.positions = TokenPositions(width)
        self.transformer = TransformerBlocks(
            owner,
            width=width,
            heads=heads,
            blocks=blocks,
            feed_forward=feed_forward,
            dropout=dropout,
            activation="gelu",
        )
        self.weights = nn.Linear(width, size)

    def forward(self, codes: Tensor, entry: NeuronTokens) -> NeuronTokens:
        """Return decoded tokens ``(B, Q, S)``. Numbers at the places of padding have no meaning.

        Args:
            codes: the codes ``(B, Q, D)`` of tokens.
            entry: tokens at the same positions. Their weights are not read.
        """
        vectors = self.embed(codes) + self.positions(entry)
        return evolve(entry, tokens=self.weights(self.transformer(vectors)))
