"""Cut a window of tokens out of each network, and hide tokens."""

from __future__ import annotations

import torch
from attrs import evolve
from einops import rearrange, repeat
from torch import Tensor

from sneframe.parts.carriers import NeuronTokens
from sneframe.rng import counted, uniform

HIDE = 1  #: the salt of the numbers that decide which tokens are hidden


def windows(entry: NeuronTokens, size: int, stream: Tensor) -> NeuronTokens:
    """Return a window of ``size`` consecutive tokens of each network, or all tokens if there are fewer.

    Args:
        entry: all tokens of networks of one architecture, ``(B, Q, S)``.
        size: number of tokens in a window.
        stream: the streams ``(B, 1)`` of the networks, which decide where their windows start.
    """
    count, width = entry.tokens.shape[1:]
    if size >= count:
        return entry
    start = (uniform(counted(stream, 1)) * (count - size + 1)).long()
    index = start + torch.arange(size, device=start.device)
    return evolve(
        entry,
        tokens=entry.tokens.gather(1, repeat(index, "b q -> b q s", s=width)),
        mask=entry.mask[index],
        positions=entry.positions[index],
    )


def hidden(entry: NeuronTokens, fraction: float, stream: Tensor, token: Tensor) -> NeuronTokens:
    """Return tokens of which some are replaced by another token ``(S,)``.

    Args:
        entry: the tokens ``(B, Q, S)``.
        fraction: the probability that a token is replaced.
        stream: the streams ``(B, 1)`` of the networks, which decide which tokens are replaced.
        token: the token that stands for all hidden tokens.
    """
    chance = uniform(counted(stream, entry.tokens.shape[1], salt=HIDE))
    tokens = torch.where(rearrange(chance < fraction, "b q -> b q 1"), token, entry.tokens)
    return evolve(entry, tokens=tokens)


def errors(decoded: NeuronTokens, target: NeuronTokens) -> Tensor:
    """Return the mean squared error of each network, ``(B,)``, over its true weights. Padding is left out."""
    mask = target.mask.expand(target.tokens.shape)
    # Numbers at the places of padding may be anything, so they are replaced and not multiplied by 0.
    squares = (decoded.tokens.float() - target.tokens.float()).square().masked_fill(~mask, 0)
    return squares.sum((1, 2)) / mask.sum((1, 2))
