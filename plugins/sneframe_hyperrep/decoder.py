"""A decoder, which computes the weights of networks of one layout from their embeddings."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.neurons import units_of
from sneframe.nn.transformer_blocks import TransformerBlocks


class NeuronDecoder(nn.Module):
    """Mirrors the encoder: a linear map to one vector for each token, a transformer, a linear map per layer.

    Args:
        owner: the words for the part that has the decoder, for errors.
        layout: the layout of the networks.
        latent: E, the width of an embedding.
        width: D, the width of the vector of a token.
        heads: number of attention heads. It must divide the width.
        blocks: number of blocks of the transformer.
        feed_forward: width between the two linear layers of a block.
        dropout: dropout rate in the blocks.
    """

    places: Tensor

    def __init__(
        self,
        owner: str,
        layout: Architecture,
        *,
        latent: int,
        width: int,
        heads: int,
        blocks: int,
        feed_forward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.units = units_of(layout)
        tokens = sum(unit.neurons for unit in self.units)
        self.spread = nn.Linear(latent, tokens * width)
        self.tokens = tokens
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.transformer = TransformerBlocks(
            owner, width=width, heads=heads, blocks=blocks, feed_forward=feed_forward, dropout=dropout
        )
        self.weights = nn.ModuleList(nn.Linear(width, unit.width) for unit in self.units)
        order = np.concatenate([unit.weights.ravel() for unit in self.units])
        self.register_buffer("places", torch.from_numpy(np.argsort(order)), persistent=False)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return flat weights ``(B, P)``, in the order of the architecture, for embeddings ``(B, E)``."""
        vectors = rearrange(self.spread(embedding), "b (q d) -> b q d", q=self.tokens)
        codes = self.transformer(vectors + self.position)
        parts = codes.split([unit.neurons for unit in self.units], dim=1)
        flat = [linear(part).flatten(1) for linear, part in zip(self.weights, parts, strict=True)]
        return torch.cat(flat, dim=1).index_select(1, self.places)
