"""Convert the graph of an architecture to tensors on one device."""

from __future__ import annotations

import math

import numpy as np
import torch
from attrs import frozen
from einops import reduce, repeat
from torch import Tensor

from sneframe.nn.graph.graph import COORDINATES, Edges, Graph, Slots

WAVES = (1, 2, 4)  #: number of half periods of each sine and cosine over an axis
FEATURES = COORDINATES * 2 * len(WAVES)  #: number of sines and cosines for one slot


@frozen(kw_only=True, eq=False)
class SlotNodesTensors:
    """The tensors of :class:`~sneframe.nn.graph.graph.SlotNodes`.

    Args:
        node_set: the index of the node set in the graph.
        size: the number of slots.
        index: ``(size,)``, the node that each slot holds. None if the slots hold the nodes in order, and each
            node equally often.
        roots: ``(nodes, 1)``, the square root of the number of slots that hold each node, but at least 1.
    """

    node_set: int
    size: int
    index: Tensor | None
    roots: Tensor

    def spread(self, codes: Tensor) -> Tensor:
        """Return the code of the node of each slot, ``(B, slots, D)``, for ``codes (B, nodes, D)``."""
        if self.index is not None:
            return codes.index_select(1, self.index)
        repeats = self.size // codes.shape[1]
        return codes if repeats == 1 else repeat(codes, "b n d -> b (n k) d", k=repeats)

    def gather(self, messages: Tensor) -> Tensor:
        """Sum ``messages (B, slots, D)`` over the slots of each node, and return ``(B, nodes, D)``.

        The sum over k slots is divided by √k.
        """
        count = len(self.roots)
        if self.index is not None:
            summed = messages.new_zeros(len(messages), count, messages.shape[2]).index_add(
                1, self.index, messages
            )
        elif self.size == count:
            return messages
        else:
            summed = reduce(messages, "b (n k) d -> b n d", "sum", n=count)
        return summed / self.roots


@frozen(kw_only=True, eq=False)
class SlotTensors:
    """The tensors of :class:`~sneframe.nn.graph.graph.Slots`.

    A *pair* is a slot and a node that the slot holds. The pairs of one node set follow those of another, in
    the order of ``nodes``.

    Args:
        size: the number of slots.
        nodes: for each node set, the nodes that the slots hold.
        order: ``(size,)``, the indices that sort the pairs by slot. None if the pairs are sorted already, or
            if some slot holds several nodes.
        slot_of_node: ``(n,)``, the slot of each pair. None if pair n belongs to slot n for all pairs.
        overlap: whether some slot holds nodes of several node sets.
        waves: ``(size, FEATURES)``, sines and cosines of the coordinates. None if no slot has a coordinate.
    """

    size: int
    nodes: tuple[SlotNodesTensors, ...]
    order: Tensor | None
    slot_of_node: Tensor | None
    overlap: bool
    waves: Tensor | None


@frozen(kw_only=True, eq=False)
class EdgesTensors:
    """The :class:`~sneframe.nn.graph.graph.Edges` of one parameter, with their slots as tensors.

    Args:
        edges: the edges.
        targets: the slots to which the edges lead.
        sources: the slots from which the edges come, or None as in ``Edges``.
        returns: whether messages also go back along the edges. They do if the sources hold nodes.
        pooled: whether some parameter leads to nodes of the sources. The codes of such nodes are pooled after
            the last round.
    """

    edges: Edges
    targets: SlotTensors
    sources: SlotTensors | None
    returns: bool
    pooled: bool


@frozen(kw_only=True, eq=False)
class GraphTensors:
    """The tensors of a :class:`~sneframe.nn.graph.graph.Graph`.

    Args:
        edges: the edges of each parameter, in the order of the layers.
        positions: for each node set, the sines and cosines of the positions of its nodes, ``(nodes, 2 ·
            len(WAVES))``, or None if its nodes have no positions.
    """

    edges: tuple[EdgesTensors, ...]
    positions: tuple[Tensor | None, ...]


def graph_tensors(graph: Graph, device: torch.device, dtype: torch.dtype) -> GraphTensors:
    """Return the tensors of a graph on a device. All tensors except indices have the type ``dtype``."""
    sizes = [node_set.size for node_set in graph.node_sets]
    tensors = []
    for edges in graph.edges:
        sources = _slot_tensors(edges.sources, sizes, device, dtype) if edges.sources is not None else None
        held = edges.sources.nodes if edges.sources is not None else ()
        source_sets = [graph.node_sets[nodes.node_set] for nodes in held]
        tensors.append(
            EdgesTensors(
                edges=edges,
                targets=_slot_tensors(edges.targets, sizes, device, dtype),
                sources=sources,
                returns=bool(source_sets),
                pooled=any(node_set.parameters for node_set in source_sets),
            )
        )
    positions = [
        waves((2 * np.arange(node_set.size) + 1) / node_set.size - 1).to(device, dtype)
        if node_set.fixed and node_set.size > 1
        else None
        for node_set in graph.node_sets
    ]
    return GraphTensors(edges=tuple(tensors), positions=tuple(positions))


def waves(coordinates: np.ndarray) -> Tensor:
    """Return sines and cosines of coordinates ``(n,)`` or ``(n, k)``, with 0 where a coordinate is NaN.

    Returns:
        ``(n, 2 · len(WAVES) · k)``, where k = 1 for coordinates ``(n,)``.
    """
    values = torch.from_numpy(coordinates.reshape(len(coordinates), -1)).double()
    angles = values.unsqueeze(-1) * torch.tensor([wave * math.pi / 2 for wave in WAVES], dtype=torch.double)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).nan_to_num(0.0).flatten(1)


def _slot_tensors(slots: Slots, sizes: list[int], device: torch.device, dtype: torch.dtype) -> SlotTensors:
    """Return the tensors of slots. ``sizes`` contains the size of each node set of the graph."""
    tensors = []
    for held in slots.nodes:
        size, count = sizes[held.node_set], len(held.nodes)
        slots_of_each = np.bincount(held.nodes, minlength=size)[:, None]
        in_order = count % size == 0 and np.array_equal(held.nodes, np.arange(count) // (count // size))
        tensors.append(
            SlotNodesTensors(
                node_set=held.node_set,
                size=count,
                index=None if in_order else torch.from_numpy(held.nodes).to(device),
                roots=torch.from_numpy(np.sqrt(np.maximum(slots_of_each, 1))).to(device, dtype),
            )
        )
    held_slots = (
        np.concatenate([held.slots for held in slots.nodes]) if slots.nodes else np.arange(slots.size)
    )
    is_sorted = np.array_equal(held_slots, np.arange(slots.size))
    overlap = len(held_slots) > slots.size
    has_coordinates = not np.isnan(slots.coordinates).all()
    return SlotTensors(
        size=slots.size,
        nodes=tuple(tensors),
        order=None if is_sorted or overlap else torch.from_numpy(np.argsort(held_slots)).to(device),
        slot_of_node=None if is_sorted else torch.from_numpy(held_slots).to(device),
        overlap=overlap,
        waves=waves(slots.coordinates).to(device, dtype) if has_coordinates else None,
    )
