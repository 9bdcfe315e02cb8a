"""The graph of an architecture as tensors on a device, made once for each."""

from __future__ import annotations

import math

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sneframe_sne.message.graph import COORDINATES, End, Graph, Step

WAVES = (1, 2, 4)  #: half periods over an axis
FEATURES = COORDINATES * 2 * len(WAVES)


@frozen(kw_only=True, eq=False)
class Places:
    """The places of an :class:`~sneframe_sne.message.graph.End`.

    Args:
        size: how many.
        pieces: space, its nodes at its places ``(n,)``, or None where they are all in order, and the root of how many
            places hold each node ``(nodes, 1)``.
        order: ``(size,)`` brings the concatenated pieces into the order of the places; None: they are in order.
        back: ``(size,)`` its inverse.
        waves: ``(size, FEATURES)`` of the coordinates; None where nothing tells places of one node apart.
    """

    size: int
    pieces: tuple[tuple[int, Tensor | None, Tensor], ...]
    order: Tensor | None
    back: Tensor | None
    waves: Tensor | None


@frozen(kw_only=True, eq=False)
class Move:
    """A :class:`~sneframe_sne.message.graph.Step` with its ends as tensors."""

    step: Step
    written: Places
    read: Places | None


@frozen(kw_only=True, eq=False)
class Layout:
    """The moves of an architecture, and ``(nodes, FEATURES)`` of positions for each space, None where it has none."""

    moves: tuple[Move, ...]
    positions: tuple[Tensor | None, ...]


def layout_of(graph: Graph, device: torch.device) -> Layout:
    """Return the graph of an architecture as tensors."""
    sizes = [space.size for space in graph.spaces]
    moves = []
    for step in graph.steps:
        read = _places(step.read, sizes, device) if step.read is not None else None
        moves.append(Move(step=step, written=_places(step.written, sizes, device), read=read))
    positions = [
        waves((2 * np.arange(space.size) + 1) / space.size - 1).to(device)
        if space.fixed and space.size > 1
        else None
        for space in graph.spaces
    ]
    return Layout(moves=tuple(moves), positions=tuple(positions))


def waves(coordinates: np.ndarray) -> Tensor:
    """Return ``(n, 2 · len(WAVES) · k)`` sines and cosines of coordinates ``(n,)`` or ``(n, k)``; 0 where they are NaN."""
    values = torch.from_numpy(coordinates.reshape(len(coordinates), -1)).float()
    angles = values.unsqueeze(-1) * torch.tensor([wave * math.pi / 2 for wave in WAVES])
    return torch.cat([angles.sin(), angles.cos()], dim=-1).nan_to_num(0.0).flatten(1)


def _places(end: End, sizes: list[int], device: torch.device) -> Places:
    pieces = []
    for piece in end.pieces:
        size = sizes[piece.space]
        alike = np.bincount(piece.nodes, minlength=size)[:, None]
        in_order = np.array_equal(piece.nodes, np.arange(size))
        nodes = None if in_order else torch.from_numpy(piece.nodes).to(device)
        roots = torch.from_numpy(np.sqrt(np.maximum(alike, 1))).float().to(device)
        pieces.append((piece.space, nodes, roots))
    places = np.concatenate([piece.places for piece in end.pieces]) if end.pieces else np.arange(end.size)
    straight = np.array_equal(places, np.arange(end.size))
    told = not np.isnan(end.coordinates).all()
    return Places(
        size=end.size,
        pieces=tuple(pieces),
        order=None if straight else torch.from_numpy(np.argsort(places)).to(device),
        back=None if straight else torch.from_numpy(places).to(device),
        waves=waves(end.coordinates).to(device) if told else None,
    )
