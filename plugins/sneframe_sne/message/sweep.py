"""A sweep: codes pass from node to node through the weights, once in the order of the layers, then once back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sneframe_sne.message.tensors import FEATURES, Layout, Move, Places

#: The functions that a network may have between its layers, as far as messages know them.
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "sine": torch.sin,
    "cosine": torch.cos,
}
MIXED = ("relu", "tanh", "sine", "gelu")


class Mixture(nn.Module):
    """φ: a learned convex mixture of functions, or the one that is recorded behind a layer.

    Args:
        recorded: whether to take the layer's own function where it is among :data:`FUNCTIONS`.
    """

    def __init__(self, *, recorded: bool) -> None:
        super().__init__()
        self.recorded = recorded
        self.logits = nn.Parameter(torch.zeros(len(MIXED)))

    def forward(self, x: Tensor, activation: str) -> Tensor:
        """Return φ(x)."""
        if self.recorded and activation in FUNCTIONS and activation != "none":
            return FUNCTIONS[activation](x)
        shares = self.logits.softmax(0)
        return torch.stack(
            [share * FUNCTIONS[name](x) for share, name in zip(shares, MIXED, strict=True)]
        ).sum(0)


class Messages(nn.Module):
    """One direction: m = W (LN(H) A ⊙ e) / √n, m' the same with |W|, H ← Block(H + [m, m', φ(m + b)] O + b).

    e tells places of one node apart: positions of a kernel or of a flattened map, gates, segments. b is what the vectors on
    the written places (biases, norms) say, each with a direction for its type. Block is x + MLP(LN(x)).

    Args:
        width: D.
        recorded: see :class:`Mixture`.
    """

    def __init__(self, width: int, *, recorded: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.source = nn.Linear(width, width)
        self.read_waves = nn.Linear(FEATURES, width, bias=False)
        self.written_waves = nn.Linear(FEATURES, width, bias=False)
        self.mixture = Mixture(recorded=recorded)
        self.out = nn.Linear(3 * width, width)
        self.block = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def read(self, spaces: Sequence[Tensor], places: Places) -> Tensor:
        """Return codes ``(B, places, D)`` as they leave along edges."""
        parts = []
        for space, nodes, _ in places.pieces:
            codes = self.source(self.norm(spaces[space]))
            parts.append(codes if nodes is None else codes.index_select(1, nodes))
        codes = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if places.order is not None:
            codes = codes.index_select(1, places.order)
        return _times(codes, places, self.read_waves)

    def constant(self, code: Tensor, places: Places) -> Tensor:
        """Return ``(1, places, D)``: one code ``(D,)`` as it leaves from places that hold no node."""
        codes = self.source(self.norm(code)).expand(1, places.size, -1)
        return _times(codes, places, self.read_waves)

    def update(
        self, weights: Tensor | None, sources: Tensor | None, vectors: Tensor | None, activation: str
    ) -> Tensor:
        """Return ``(B, places, D)``: what arrives.

        Args:
            weights: ``(B, places, n)`` edges, or None where there are vectors alone.
            sources: ``(B or 1, n, D)`` codes at their other end, or ``(B, places, n, D)`` where each place has its own.
            vectors: ``(B, places, D)`` what lies on the places, or None.
            activation: behind the layer.
        """
        if weights is None or sources is None:
            assert vectors is not None
            zero = torch.zeros_like(vectors)
            return self.out(torch.cat([zero, zero, self.mixture(vectors, activation)], dim=-1)) + vectors
        root = sources.shape[-2] ** 0.5
        m, size = (_carried(w, sources) / root for w in (weights, weights.abs()))
        inner = m if vectors is None else m + vectors
        arrived = self.out(torch.cat([m, size, self.mixture(inner, activation)], dim=-1))
        return arrived if vectors is None else arrived + vectors

    def write(self, spaces: list[Tensor], places: Places, arrived: Tensor) -> None:
        """Replace the codes of the nodes at some places."""
        arrived = _times(arrived, places, self.written_waves)
        if places.back is not None:
            arrived = arrived.index_select(1, places.back)
        start = 0
        for space, nodes, roots in places.pieces:
            codes = spaces[space]
            count = codes.shape[1] if nodes is None else len(nodes)
            own = arrived[:, start : start + count]
            if nodes is not None:
                own = torch.zeros_like(codes).index_add(1, nodes, own) / roots
            codes = codes + own
            spaces[space] = codes + self.block(codes)
            start += count


class Round(nn.Module):
    """A forward and a backward sweep over the moves of an architecture.

    Args:
        width: D.
        recorded: see :class:`Mixture`.
    """

    def __init__(self, width: int, *, recorded: bool) -> None:
        super().__init__()
        self.forth = Messages(width, recorded=recorded)
        self.back = Messages(width, recorded=recorded)

    def forward(
        self,
        spaces: list[Tensor],
        layout: Layout,
        weights: Callable[[Move], Tensor | None],
        vectors: Callable[[Move], Tensor | None],
        code: Tensor,
    ) -> None:
        """Replace the codes ``(B, n, D)`` of every space.

        Args:
            spaces: codes of every space, replaced one by one.
            layout: of the architecture.
            weights: ``(B, written, read)`` of a move.
            vectors: ``(B, written, D)`` of a move.
            code: ``(D,)`` of the network's input.
        """
        for move in layout.moves:
            self._forth(spaces, move, weights(move), vectors(move), code)
        for move in reversed(layout.moves):
            if move.read is not None and move.read.pieces:
                w = weights(move)
                assert w is not None
                codes = self.back.read(spaces, move.written)
                arrived = self.back.update(w.transpose(1, 2), codes, None, move.step.activation)
                self.back.write(spaces, move.read, arrived)

    def _forth(
        self, spaces: list[Tensor], move: Move, weights: Tensor | None, vectors: Tensor | None, code: Tensor
    ) -> None:
        sources: Tensor | None = None
        if move.step.itself:  # each node reads itself, once for each position of the kernel
            own = self.forth.read(spaces, move.written).unsqueeze(2)
            sources = own if move.read is None else own * self.forth.constant(code, move.read).unsqueeze(1)
        elif move.read is not None and move.read.pieces:
            sources = self.forth.read(spaces, move.read)
        elif move.read is not None:
            sources = self.forth.constant(code, move.read)
        elif weights is not None:
            sources = self.forth.source(self.forth.norm(code)).expand(1, 1, -1)
        self.forth.write(
            spaces, move.written, self.forth.update(weights, sources, vectors, move.step.activation)
        )


def _carried(weights: Tensor, sources: Tensor) -> Tensor:
    """Return ``(B, places, D)``: sources ``(B or 1, n, D)`` or ``(B, places, n, D)`` summed over edges."""
    if sources.ndim == 4:
        return (weights.unsqueeze(-1) * sources).sum(2)
    return torch.matmul(weights, sources)


def _times(codes: Tensor, places: Places, waves: nn.Linear) -> Tensor:
    return codes if places.waves is None else codes * (1 + waves(places.waves.to(codes.dtype)))
