"""The graph of an architecture as tensors on a device, made once for each."""

from __future__ import annotations

import math

import numpy as np
import torch
from attrs import frozen
from einops import reduce, repeat
from torch import Tensor

from sneframe_sne.message.graph import COORDINATES, End, Graph, Step

WAVES = (1, 2, 4)  #: half periods over an axis
FEATURES = COORDINATES * 2 * len(WAVES)


@frozen(kw_only=True, eq=False)
class Nodes:
    """The nodes of one space that stand at some places.

    Args:
        space: its number.
        size: how many places.
        index: ``(size,)`` which node stands at each; None: each in order, as often as the next.
        roots: ``(nodes, 1)``, of how many places hold each node.
    """

    space: int
    size: int
    index: Tensor | None
    roots: Tensor

    def spread(self, codes: Tensor) -> Tensor:
        """Return ``(B, places, D)``: the codes ``(B, nodes, D)`` at their places."""
        if self.index is not None:
            return codes.index_select(1, self.index)
        repeats = self.size // codes.shape[1]
        return codes if repeats == 1 else repeat(codes, "b n d -> b (n k) d", k=repeats)

    def gather(self, codes: Tensor) -> Tensor:
        """Return ``(B, nodes, D)``: what stands at places ``(B, places, D)``, summed over those of each node, / roots."""
        count = len(self.roots)
        if self.index is not None:
            summed = codes.new_zeros(len(codes), count, codes.shape[2]).index_add(1, self.index, codes)
        elif self.size == count:
            return codes
        else:
            summed = reduce(codes, "b (n k) d -> b n d", "sum", n=count)
        return summed / self.roots


@frozen(kw_only=True, eq=False)
class Places:
    """The places of an :class:`~sneframe_sne.message.graph.End`.

    Args:
        size: how many.
        pieces: the nodes that stand there.
        order: ``(size,)`` brings the concatenated pieces into the order of the places; None: they are in order, or
            overlap.
        back: ``(n,)`` the places of the concatenated pieces; None: they are in order.
        overlap: whether some places hold nodes of several spaces.
        waves: ``(size, FEATURES)`` of the coordinates; None where nothing tells places of one node apart.
    """

    size: int
    pieces: tuple[Nodes, ...]
    order: Tensor | None
    back: Tensor | None
    overlap: bool
    waves: Tensor | None


@frozen(kw_only=True, eq=False)
class Move:
    """A :class:`~sneframe_sne.message.graph.Step` with its ends as tensors.

    Args:
        step: with the parameters.
        written: its places written.
        read: its places read.
        returns: whether it carries codes back: there are nodes at the other end.
        matters: whether these are written by some parameter, so that their codes are pooled in the end.
    """

    step: Step
    written: Places
    read: Places | None
    returns: bool
    matters: bool


@frozen(kw_only=True, eq=False)
class Layout:
    """The moves of an architecture, and ``(nodes, FEATURES)`` of positions for each space, None where it has none."""

    moves: tuple[Move, ...]
    positions: tuple[Tensor | None, ...]


def layout_of(graph: Graph, device: torch.device, dtype: torch.dtype) -> Layout:
    """Return the graph of an architecture as tensors; all but indices are of the type of its weights."""
    sizes = [space.size for space in graph.spaces]
    moves = []
    for step in graph.steps:
        read = _places(step.read, sizes, device, dtype) if step.read is not None else None
        ends = [graph.spaces[piece.space] for piece in step.read.pieces] if step.read is not None else []
        moves.append(
            Move(
                step=step,
                written=_places(step.written, sizes, device, dtype),
                read=read,
                returns=bool(ends),
                matters=any(space.parameters for space in ends),
            )
        )
    positions = [
        waves((2 * np.arange(space.size) + 1) / space.size - 1).to(device, dtype)
        if space.fixed and space.size > 1
        else None
        for space in graph.spaces
    ]
    return Layout(moves=tuple(moves), positions=tuple(positions))


def waves(coordinates: np.ndarray) -> Tensor:
    """Return ``(n, 2 · len(WAVES) · k)`` sines and cosines of coordinates ``(n,)`` or ``(n, k)``; 0 where they are NaN."""
    values = torch.from_numpy(coordinates.reshape(len(coordinates), -1)).double()
    angles = values.unsqueeze(-1) * torch.tensor([wave * math.pi / 2 for wave in WAVES], dtype=torch.double)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).nan_to_num(0.0).flatten(1)


def _places(end: End, sizes: list[int], device: torch.device, dtype: torch.dtype) -> Places:
    pieces = []
    for piece in end.pieces:
        size, count = sizes[piece.space], len(piece.nodes)
        alike = np.bincount(piece.nodes, minlength=size)[:, None]
        in_order = count % size == 0 and np.array_equal(piece.nodes, np.arange(count) // (count // size))
        pieces.append(
            Nodes(
                space=piece.space,
                size=count,
                index=None if in_order else torch.from_numpy(piece.nodes).to(device),
                roots=torch.from_numpy(np.sqrt(np.maximum(alike, 1))).to(device, dtype),
            )
        )
    places = np.concatenate([piece.places for piece in end.pieces]) if end.pieces else np.arange(end.size)
    straight = np.array_equal(places, np.arange(end.size))
    overlap = len(places) > end.size
    told = not np.isnan(end.coordinates).all()
    return Places(
        size=end.size,
        pieces=tuple(pieces),
        order=None if straight or overlap else torch.from_numpy(np.argsort(places)).to(device),
        back=None if straight else torch.from_numpy(places).to(device),
        overlap=overlap,
        waves=waves(end.coordinates).to(device, dtype) if told else None,
    )
