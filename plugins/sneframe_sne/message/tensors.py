"""The graph of an architecture as tensors on one device. They are made once for each architecture."""

from __future__ import annotations

import math

import numpy as np
import torch
from attrs import frozen
from einops import reduce, repeat
from torch import Tensor

from sneframe_sne.message.graph import COORDINATES, Edges, Graph, Slots

WAVES = (1, 2, 4)  #: half periods of the sines and cosines over an axis
FEATURES = COORDINATES * 2 * len(WAVES)


@frozen(kw_only=True, eq=False)
class SlotNodesTensors:
    """The tensors of :class:`~sneframe_sne.message.graph.SlotNodes`.

    Args:
        node_set: the index of the node set in the graph.
        size: the number of slots.
        index: ``(size,)`` the node that each slot holds; None where the slots hold the nodes in order and
            each node equally often.
        roots: ``(nodes, 1)`` the square root of the number of slots that hold each node, at least 1.
    """

    node_set: int
    size: int
    index: Tensor | None
    roots: Tensor

    def spread(self, codes: Tensor) -> Tensor:
        """Return ``(B, slots, D)``: for each slot the code of its node, from the codes ``(B, nodes, D)``."""
        if self.index is not None:
            return codes.index_select(1, self.index)
        repeats = self.size // codes.shape[1]
        return codes if repeats == 1 else repeat(codes, "b n d -> b (n k) d", k=repeats)

    def gather(self, messages: Tensor) -> Tensor:
        """Return ``(B, nodes, D)``: messages ``(B, slots, D)`` summed over the k slots of each node, / √k."""
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
    """The tensors of :class:`~sneframe_sne.message.graph.Slots`.

    Below, the *concatenated* nodes are those of all node sets, one after the other.

    Args:
        size: the number of slots.
        nodes: the nodes that the slots hold, one entry for each node set.
        order: ``(size,)`` the index that sorts the concatenated nodes by their slots; None where they are
            sorted already, or where some slot holds several nodes.
        slot_of_node: ``(n,)`` the slot of each concatenated node; None where they are sorted already.
        overlap: whether some slot holds nodes of several node sets.
        waves: ``(size, FEATURES)`` sines and cosines of the coordinates; None where no slot has a coordinate.
    """

    size: int
    nodes: tuple[SlotNodesTensors, ...]
    order: Tensor | None
    slot_of_node: Tensor | None
    overlap: bool
    waves: Tensor | None


@frozen(kw_only=True, eq=False)
class EdgesTensors:
    """The :class:`~sneframe_sne.message.graph.Edges` of one parameter, with their slots as tensors.

    Args:
        edges: the edges.
        targets: the slots to which they lead.
        sources: the slots from which they come.
        returns: whether messages go back along these edges, which takes nodes at the sources.
        pooled: whether some parameter leads to a source's nodes, so that their codes are pooled after the
            last round.
    """

    edges: Edges
    targets: SlotTensors
    sources: SlotTensors | None
    returns: bool
    pooled: bool


@frozen(kw_only=True, eq=False)
class GraphTensors:
    """The tensors of a :class:`~sneframe_sne.message.graph.Graph`.

    Args:
        edges: the edges of each parameter, in order.
        positions: for each node set ``(nodes, 2 · len(WAVES))`` sines and cosines of the nodes' positions;
            None where nodes have no position.
    """

    edges: tuple[EdgesTensors, ...]
    positions: tuple[Tensor | None, ...]


def graph_tensors(graph: Graph, device: torch.device, dtype: torch.dtype) -> GraphTensors:
    """Return the tensors of a graph. All but the indices have the given type, that of the weights."""
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
        ``(n, 2 · len(WAVES) · k)``, k = 1 for coordinates ``(n,)``.
    """
    values = torch.from_numpy(coordinates.reshape(len(coordinates), -1)).double()
    angles = values.unsqueeze(-1) * torch.tensor([wave * math.pi / 2 for wave in WAVES], dtype=torch.double)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).nan_to_num(0.0).flatten(1)


def _slot_tensors(slots: Slots, sizes: list[int], device: torch.device, dtype: torch.dtype) -> SlotTensors:
    """Return the tensors of slots; ``sizes`` are those of the graph's node sets."""
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
