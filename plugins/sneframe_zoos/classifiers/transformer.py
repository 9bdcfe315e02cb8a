"""Small vision transformers (Dosovitskiy et al., arXiv 2010.11929).

This module has a design, the module that the design builds, and a function that draws a design.
"""

from __future__ import annotations

import numpy as np
import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor, nn

from sneframe.errors import ZooError
from sneframe_zoos.classifiers.design import ACTIVATIONS, Design, Shape


@frozen(kw_only=True)
class VisionTransformer(Design):
    """The design of a vision transformer.

    Each patch of an image becomes a token, to which a learned position is added. The tokens pass through
    pre-norm blocks. A linear layer computes the logits from the mean over the tokens.

    Args:
        patch: height and width of a patch in pixels. Pixels at the right and lower edge that do not fill a
            patch are ignored.
        width: width of a token.
        blocks: number of blocks.
        heads: number of heads of each attention; ``width`` must be a multiple of ``heads``.
        mlp: width of the hidden layer of each block.
        activation: activation of the hidden layers of the blocks, a key of
            :data:`~sneframe_zoos.classifiers.design.ACTIVATIONS`.
    """

    patch: int = 7
    width: int = 32
    blocks: int = 2
    heads: int = 2
    mlp: int = 64
    activation: str = "gelu"

    def module(self, image: Shape, classes: int, *, dropout: float = 0.0) -> nn.Module:
        """See :class:`~sneframe_zoos.classifiers.design.Design`."""
        if self.width % self.heads:
            raise ZooError(
                f"a transformer's width must be a multiple of its heads, but got width {self.width} and "
                f"{self.heads} heads"
            )
        self.check("this transformer", image)
        return TransformerClassifier(self, image, classes, dropout)

    def smallest(self) -> int:
        """See :class:`~sneframe_zoos.classifiers.design.Design`. The smallest image has 2 × 2 patches."""
        return 2 * self.patch


class TransformerClassifier(nn.Module):
    """The network of a :class:`VisionTransformer`.

    Args:
        design: the design.
        image: shape of an image, ``(channels, height, width)``.
        classes: number of logits.
        dropout: probability of the dropout after each attention, hidden layer and block.
    """

    def __init__(self, design: VisionTransformer, image: Shape, classes: int, dropout: float) -> None:
        super().__init__()
        channels, height, width = image
        tokens = (height // design.patch) * (width // design.patch)
        self.patch = nn.Conv2d(channels, design.width, design.patch, design.patch)
        self.position = nn.Parameter(torch.zeros(1, tokens, design.width))
        self.blocks = nn.ModuleList(TransformerBlock(design, dropout) for _ in range(design.blocks))
        self.norm = nn.LayerNorm(design.width)
        self.head = nn.Linear(design.width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(B, classes)`` of images ``(B, channels, height, width)``."""
        stream = rearrange(self.patch(images), "b d h w -> b (h w) d") + self.position
        for block in self.blocks:
            stream = block(stream)
        logits: Tensor = self.head(self.norm(stream).mean(1))
        return logits


class TransformerBlock(nn.Module):
    """A pre-norm transformer block: attention, then an MLP.

    Each of the two reads the normalised residual stream, and its output is added to the stream.

    Args:
        design: the design of the transformer.
        dropout: probability of the dropouts.
    """

    def __init__(self, design: VisionTransformer, dropout: float) -> None:
        super().__init__()
        self.heads = design.heads
        self.norm1, self.norm2 = nn.LayerNorm(design.width), nn.LayerNorm(design.width)
        self.query, self.key, self.value, self.out = (nn.Linear(design.width, design.width) for _ in range(4))
        self.mlp = nn.Sequential(
            nn.Linear(design.width, design.mlp),
            ACTIVATIONS[design.activation](),
            nn.Dropout(dropout),
            nn.Linear(design.mlp, design.width),
        )
        self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, stream: Tensor) -> Tensor:
        """Return the residual stream after this block, for a ``stream`` ``(B, tokens, width)`` before it."""
        read = self.norm1(stream)
        query, key, value = (
            rearrange(layer(read), "b t (h d) -> b h t d", h=self.heads)
            for layer in (self.query, self.key, self.value)
        )
        # Attention is written out because torch's fused attention cannot be vectorised over networks.
        scores = query @ key.mT / query.shape[-1] ** 0.5
        seen = rearrange(scores.softmax(-1) @ value, "b h t d -> b t (h d)")
        stream = stream + self.dropout1(self.out(seen))
        after: Tensor = stream + self.dropout2(self.mlp(self.norm2(stream)))
        return after


def wild(generator: np.random.Generator, activation: str) -> VisionTransformer:
    """Draw a design with one to three blocks, 1, 2 or 4 heads, and a patch size of 4, 5 or 7 pixels."""
    return VisionTransformer(
        patch=int(generator.choice((4, 5, 7))),
        width=int(generator.choice((16, 24, 32))),
        blocks=int(generator.integers(1, 4)),
        heads=int(generator.choice((1, 2, 4))),
        mlp=int(generator.choice((32, 48, 64))),
        activation=activation,
    )
