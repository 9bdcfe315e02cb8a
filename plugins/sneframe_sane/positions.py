"""Encode the positions of tokens of neurons by sinusoids, which are defined for networks of any size."""

from __future__ import annotations

from torch import Tensor, nn

from sneframe.nn.level_type_encoding import sinusoid
from sneframe.parts.carriers import NeuronTokens


class TokenPositions(nn.Module):
    """Maps sinusoids of the three numbers of a token to a vector.

    The numbers are that of the token, that of its layer, and that of its neuron in the layer. SANE learns a
    vector for each number instead, so it has none for larger numbers than those of its training.

    Args:
        width: D, the width of the vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(3 * width, width)

    def forward(self, entry: NeuronTokens) -> Tensor:
        """Return the vectors ``(Q, D)`` of the tokens of whole networks, or ``(B, Q, D)`` of windows."""
        positions = entry.positions
        waves = sinusoid(positions.flatten(), self.width)
        waves = waves.unflatten(0, tuple(positions.shape)).flatten(-2)
        vectors: Tensor = self.linear(waves.to(entry.tokens, non_blocking=True))
        return vectors
