"""Build the blocks of a transformer, in which tokens of one network attend to each other."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from sneframe.config.validators import check_heads


class TransformerBlocks(nn.Module):
    """Pre-norm blocks y = x + A(LN x), z = y + F(LN y), and a last LayerNorm (arXiv 2002.04745).

    A is attention among the tokens of one network. F are two linear layers with an activation between them.
    Each block has its own initial weights; ``nn.TransformerEncoder`` would copy those of one block.

    Args:
        owner: the words for the part that has the blocks, for errors.
        width: D, the width of a token.
        heads: number of attention heads. It must divide the width.
        blocks: number of blocks.
        feed_forward: width between the two linear layers.
        dropout: rate of the dropout in attention and behind each linear layer.
        activation: ``relu`` or ``gelu``.

    Raises:
        PartError: ``heads`` does not divide ``width``.
    """

    def __init__(
        self,
        owner: str,
        *,
        width: int,
        heads: int,
        blocks: int,
        feed_forward: int,
        dropout: float = 0.0,
        activation: Literal["relu", "gelu"] = "relu",
    ) -> None:
        super().__init__()
        check_heads(owner, width, heads)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                heads,
                feed_forward,
                dropout=dropout,
                activation=activation,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return codes ``(B, Q, D)`` of tokens ``(B, Q, D)``. All tokens of a row attend to each other."""
        for block in self.blocks:
            tokens = block(tokens)
        codes: Tensor = self.norm(tokens)
        return codes
