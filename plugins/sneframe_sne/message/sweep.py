"""A sweep: codes pass from node to node through the weights, once in the order of the layers, then once back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from attrs import frozen
from einops import rearrange
from torch import Tensor, nn

from sneframe_sne.message.tensors import FEATURES, Layout, Move, Places

#: The functions that a network may have between its layers, as far as messages know them.
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
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


@frozen(kw_only=True, eq=False)
class Load:
    """What the weights of some networks put on a move, the same in every round.

    Args:
        forth: ``(B, 2 · places, n)``, W / √n on top of |W| / √n, from the n places read to those written, or
            ``(B, places, 2, n)`` where each reads its own; None: there are no edges.
        back: the same from the places written to those read; None where nothing goes back.
        vectors: ``(B, places, D)``, what lies on the places written, or None.
    """

    forth: Tensor | None
    back: Tensor | None
    vectors: Tensor | None

    @classmethod
    def of(cls, move: Move, weights: Tensor | None, vectors: Tensor | None) -> Load:
        """Return the load of weights ``(B, written, n)`` of a move's parameter and of vectors ``(B, written, D)``."""
        forth = back = None
        if weights is not None:
            forth = _doubled(weights.unsqueeze(2) if move.step.own else weights)
            if move.returns:
                back = _doubled(weights.unsqueeze(3) if move.step.own else weights.mT)
        return cls(forth=forth, back=back, vectors=vectors)


class Mixture(nn.Module):
    """φ: a learned convex mixture of functions, or the one that is recorded behind a layer.

    Args:
        recorded: whether to take the layer's own function where it is among :data:`FUNCTIONS`; where there is none, as
            behind a convolution with a norm, it is the mixture.
    """

    def __init__(self, *, recorded: bool) -> None:
        super().__init__()
        self.recorded = recorded
        self.logits = nn.Parameter(torch.zeros(len(MIXED)))

    def forward(self, x: Tensor, activation: str) -> Tensor:
        """Return φ(x)."""
        if self.recorded and activation in FUNCTIONS:
            return FUNCTIONS[activation](x)
        shares = self.logits.softmax(0)
        mixed = shares[0] * FUNCTIONS[MIXED[0]](x)
        for share, name in zip(shares[1:], MIXED[1:], strict=True):
            mixed = mixed + share * FUNCTIONS[name](x)
        return mixed


class Messages(nn.Module):
    """One direction: m = W (LN(H) A ⊙ e) / √n, m' the same with |W|, H ← Block(H + Σ ([m, m', φ(m + b)] O + b) ⊙ e' / √k).

    n is how many places a place reads; k at how many of the places written a node stands, over which the sum runs. e and
    e' tell places of one node apart (positions of a kernel or of a flattened map, gates, segments): 1 + a linear map of
    the sines and cosines of their coordinates. b is what the vectors on the written places (biases, norms) say, each
    weight times a direction for its type. Block is x + MLP(LN(x)). A place that holds nodes of several spaces
    is read as the sum of their codes, and all of them are written.

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
        parts = [piece.spread(self.source(self.norm(spaces[piece.space]))) for piece in places.pieces]
        codes = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if places.overlap:
            assert places.back is not None
            codes = codes.new_zeros(len(codes), places.size, codes.shape[2]).index_add(1, places.back, codes)
        elif places.order is not None:
            codes = codes.index_select(1, places.order)
        return _times(codes, places.waves, self.read_waves)

    def constant(self, code: Tensor, places: Places | None) -> Tensor:
        """Return ``(1, places, D)``: one code ``(D,)`` as it leaves from places that hold no node, or from one."""
        codes = self.source(self.norm(code)).expand(1, 1 if places is None else places.size, -1)
        return codes if places is None else _times(codes, places.waves, self.read_waves)

    def update(
        self, edges: Tensor | None, sources: Tensor | None, vectors: Tensor | None, activation: str
    ) -> Tensor:
        """Return ``(B, places, D)``: what arrives.

        Args:
            edges: see :class:`Load`, or None where there are vectors alone.
            sources: ``(B or 1, n, D)`` codes at their other end, or ``(B, places, n, D)`` where each place has its own.
            vectors: ``(B, places, D)`` what lies on the places, or None.
            activation: behind the layer.
        """
        if edges is None or sources is None:
            assert vectors is not None
            # m and m' are 0, and so is what their columns of O would add.
            columns = self.out.weight[:, -vectors.shape[-1] :]
            return F.linear(self.mixture(vectors, activation), columns, self.out.bias) + vectors
        both = torch.matmul(edges, sources)
        m, size = both.chunk(2, dim=-2)
        if both.ndim == 4:
            m, size = m.flatten(1, 2), size.flatten(1, 2)
        inner = m if vectors is None else m + vectors
        arrived: Tensor = self.out(torch.cat([m, size, self.mixture(inner, activation)], dim=-1))
        return arrived if vectors is None else arrived + vectors

    def write(self, spaces: list[Tensor], places: Places, arrived: Tensor) -> None:
        """Replace the codes of the nodes at some places."""
        arrived = _times(arrived, places.waves, self.written_waves).to(spaces[places.pieces[0].space].dtype)
        if places.back is not None:
            arrived = arrived.index_select(1, places.back)
        split = arrived.split([piece.size for piece in places.pieces], dim=1)
        for piece, own in zip(places.pieces, split, strict=True):
            codes = spaces[piece.space] + piece.gather(own)
            spaces[piece.space] = codes + self.block(codes)


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
        self, spaces: list[Tensor], layout: Layout, loads: Sequence[Load], code: Tensor, *, is_last: bool
    ) -> None:
        """Replace the codes ``(B, n, D)`` of every space.

        Args:
            spaces: codes of every space, replaced one by one.
            layout: of the architecture.
            loads: of every move.
            code: ``(D,)`` of the network's input.
            is_last: whether no round follows, so that codes which are not pooled need not be carried back.
        """
        for move, load in zip(layout.moves, loads, strict=True):
            sources: Tensor | None = None
            if load.forth is not None:
                sources = self._sources(spaces, move, code)
            arrived = self.forth.update(load.forth, sources, load.vectors, move.step.activation)
            self.forth.write(spaces, move.written, arrived)
        for move, load in zip(reversed(layout.moves), reversed(loads), strict=True):
            if move.read is not None and load.back is not None and (move.matters or not is_last):
                sources = self.back.read(spaces, move.written)
                if move.step.own:
                    sources = rearrange(sources, "b p d -> b p 1 d")
                arrived = self.back.update(load.back, sources, None, move.step.activation)
                self.back.write(spaces, move.read, arrived)

    def _sources(self, spaces: list[Tensor], move: Move, code: Tensor) -> Tensor:
        """Return the codes of the places that are read: ``(B or 1, n, D)``, or ``(B, places, n, D)`` of its own for each."""
        if not move.returns:
            return self.forth.constant(code, move.read)
        assert move.read is not None
        sources = self.forth.read(spaces, move.read)
        return rearrange(sources, "b (p n) d -> b p n d", p=move.written.size) if move.step.own else sources


def _doubled(weights: Tensor) -> Tensor:
    """Return ``(…, 2 · places, n)``: W / √n on top of |W| / √n, for ``(…, places, n)``."""
    scaled = weights / weights.shape[-1] ** 0.5
    return torch.cat([scaled, scaled.abs()], dim=-2)


def _times(codes: Tensor, waves: Tensor | None, linear: nn.Linear) -> Tensor:
    return codes if waves is None else codes * (1 + linear(waves))
