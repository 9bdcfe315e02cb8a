"""One layer of ScaleGMN: messages, new codes of nodes, and new codes of edges."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor, nn

from sneframe.nn.graph.blocks import NodeGraph
from sneframe.nn.graph.directions import Direction
from sneframe_scale_gmn.maps import Equivariant, Invariant, MapOptions, NormPerceptron, by_kind, check_kind
from sneframe_scale_gmn.symmetries import Kind, NodeKinds

SCALED = ("scale", "both")  #: kinds of nodes whose values may have any positive factor


@frozen(kw_only=True, eq=False)
class State:
    """The codes of all nodes and edges of networks of one architecture.

    Args:
        graph: the graph.
        kinds: the kinds of its nodes.
        vectors: ``(1, V, D)``, the learned vectors of the nodes.
        nodes: ``(B, V, D)``.
        edges: for each block ``(B or 1, targets, n, D)``.
        first_edges: the codes with which the edges started.
    """

    graph: NodeGraph
    kinds: NodeKinds
    vectors: Tensor
    nodes: Tensor
    edges: tuple[Tensor, ...]
    first_edges: tuple[Tensor, ...]


@frozen(kw_only=True)
class LayerOptions:
    """The form of a layer.

    Args:
        width: D, the width of the codes that are given.
        hidden: width of hidden layers.
        out: width of the codes that are returned.
        back: whether messages also go back along every edge.
        vectors_in_messages: whether messages and updates also read the learned vectors of nodes.
        skip: whether a linear map of the given codes of nodes is added.
        change_edges: whether edges get new codes.
        maps: see :class:`~sneframe_scale_gmn.maps.MapOptions`.
    """

    width: int
    hidden: int
    out: int
    back: bool
    vectors_in_messages: bool
    skip: bool
    change_edges: bool
    maps: MapOptions


@final
class ScaleLayer(nn.Module):
    """Messages and updates that keep the factors of neurons (Kalogeropoulos et al., NeurIPS 2024, section 5).

    For an edge from j to i with the code e, the product A e ⊙ B x_j has the factor of i. An equivariant map
    of it is the message, and messages are added. A map of x_i and its messages is the new code of node i. The
    new code of an edge is W e ⊙ φ(invariants of x_j and x_i).

    Args:
        options: see :class:`LayerOptions`.
        kinds: the kinds of nodes in the training zoo.
    """

    def __init__(self, options: LayerOptions, kinds: Collection[Kind]) -> None:
        super().__init__()
        width, extra = options.width, options.width if options.vectors_in_messages else 0
        self.options = options
        self.forth = ScaleMessages(options, kinds)
        self.back = Back(options, kinds) if options.back else None
        given = width + (2 if options.back else 1) * options.hidden
        self.update = Equivariant(
            given, options.hidden, options.out, extra=extra, kinds=kinds, options=options.maps
        )
        self.edges = EdgeMap(options, kinds) if options.change_edges else None
        self.skip = nn.Linear(width, options.out, bias=False) if options.skip else None

    def forward(self, state: State) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return new codes of nodes ``(B, V, D)``, and of the edges of each block."""
        read = [state.nodes, self.forth(state, bidirectional=self.back is not None)]
        if self.back is not None:
            read.append(self.back(state))
        extra = state.vectors if self.options.vectors_in_messages else None
        nodes = self.update(torch.cat(read, dim=2), state.kinds.of_node, extra, axis=1)
        if self.skip is not None:
            nodes = nodes + self.skip(state.nodes)
        return nodes, state.edges if self.edges is None else self.edges(state)


@final
class ScaleMessages(nn.Module):
    """Messages along all edges, as they lead: an equivariant map of A e ⊙ B x_j.

    Args:
        options: see :class:`LayerOptions`.
        kinds: the kinds of nodes in the training zoo.
    """

    def __init__(self, options: LayerOptions, kinds: Collection[Kind]) -> None:
        super().__init__()
        width, hidden = options.width, options.hidden
        self.vectors_in_messages = options.vectors_in_messages
        self.from_edges = nn.Linear(width, hidden, bias=False)
        self.from_nodes = nn.Linear(width, hidden, bias=False)
        extra = width if options.vectors_in_messages else 0
        self.map = Equivariant(hidden, hidden, hidden, extra=extra, kinds=kinds, options=options.maps)

    def forward(self, state: State, *, bidirectional: bool) -> Tensor:
        """Return the sum of the messages at each node, ``(B, V, D)``.

        In a bidirectional network, messages read the learned vector of the node that sends them. Otherwise
        they read that of the node that receives them. Both are as in the original.
        """
        sent = self.from_nodes(state.nodes)
        found = []
        for block, edges in zip(state.graph.blocks, state.edges, strict=True):
            both = self.from_edges(edges) * block.at_sources(sent)
            end = block.at_sources if bidirectional else block.at_targets
            extra = end(state.vectors) if self.vectors_in_messages else None
            messages = self.map(both, _kinds(state, block.targets.nodes), extra, axis=1)
            found.append((block.targets.nodes, messages.sum(2)))
        return _added(found, state.graph)


@final
class Back(nn.Module):
    """Messages back along all edges, from node i to node j.

    If only the sign of the values is free, A e ⊙ B x_i has the sign of j, as in the original. With positive
    factors it has not: a weight is multiplied by the factor of i and divided by that of j. The original uses
    this product all the same, and so is not invariant. Here, if i or j has positive factors, the message is
    W x_j ⊙ φ(u), where u is an invariant of [A e ⊙ B x_j, C x_i]. Both of these have the factor of i.

    Args:
        options: see :class:`LayerOptions`.
        kinds: the kinds of nodes in the training zoo.
    """

    def __init__(self, options: LayerOptions, kinds: Collection[Kind]) -> None:
        super().__init__()
        width, hidden = options.width, options.hidden
        self.product = ScaleMessages(options, kinds)
        scaled = any(kind in kinds for kind in SCALED)
        self.ratio = Ratio(width, hidden, kinds, options.maps) if scaled else None

    def forward(self, state: State) -> Tensor:
        """Return the sum of the messages back at each node, ``(B, V, D)``."""
        sent = self.product.from_nodes(state.nodes)
        found = []
        for block, edges in zip(state.graph.blocks, state.first_edges, strict=True):
            direction = Direction(block=block, back=True)
            receivers = direction.receivers.nodes
            if np.isin([*_kinds(state, receivers), *_kinds(state, block.targets.nodes)], SCALED).any():
                if self.ratio is None:
                    check_kind("scale", ())
                assert self.ratio is not None
                messages = self.ratio(state, direction, edges)
            else:
                extra = block.at_targets(state.vectors) if self.product.vectors_in_messages else None
                both = self.product.from_edges(edges) * block.at_targets(sent)
                messages = self._mapped(direction, both, _kinds(state, receivers), extra)
            axis = direction.axis
            found.append((receivers, messages.flatten(1, 2) if axis is None else messages.sum(axis)))
        return _added(found, state.graph)

    def _mapped(self, direction: Direction, both: Tensor, kinds: np.ndarray, extra: Tensor | None) -> Tensor:
        """Return messages of products, for the kinds of the receiving slots."""
        if direction.block.own:
            both = both.expand(-1, *direction.block.shape, -1).flatten(1, 2)
            if extra is not None:
                extra = extra.expand(-1, *direction.block.shape, -1).flatten(1, 2)
            return self.product.map(both, kinds, extra, axis=1).unflatten(1, direction.block.shape)
        return self.product.map(both, kinds, extra, axis=2)


@final
class Ratio(nn.Module):
    """Messages back if one of both nodes may have any positive factor: see :class:`Back`.

    Args:
        width: D.
        hidden: width of hidden layers, and of messages.
        kinds: the kinds of nodes in the training zoo.
        options: see :class:`~sneframe_scale_gmn.maps.MapOptions`.
    """

    def __init__(self, width: int, hidden: int, kinds: Collection[Kind], options: MapOptions) -> None:
        super().__init__()
        self.from_edges = nn.Linear(width, hidden, bias=False)
        self.from_receivers = nn.Linear(width, hidden, bias=False)
        self.from_senders = nn.Linear(width, hidden, bias=False)
        self.linear = nn.Linear(width, hidden, bias=False)
        self.invariant = Invariant(2 * hidden, hidden, kinds, symmetrised=options.symmetrised)
        self.factor = NormPerceptron(2 * hidden, hidden, hidden)

    def forward(self, state: State, direction: Direction, edges: Tensor) -> Tensor:
        """Return the messages ``(B, targets, n, D)``."""
        nodes, block = state.nodes, direction.block
        received = self.from_edges(edges) * direction.at_receivers(self.from_receivers(nodes))
        sent = direction.at_senders(self.from_senders(nodes)).expand_as(received)
        both = torch.cat([received, sent], dim=-1)
        kinds = _kinds(state, block.targets.nodes)
        found = by_kind(kinds, 1, both.ndim, lambda kind: self.invariant(both, kind))
        messages: Tensor = direction.at_receivers(self.linear(nodes)) * self.factor(found)
        return messages


@final
class EdgeMap(nn.Module):
    """New codes of edges: W e ⊙ φ(invariants of the codes of both nodes).

    Args:
        options: see :class:`LayerOptions`.
        kinds: the kinds of nodes in the training zoo.
    """

    def __init__(self, options: LayerOptions, kinds: Collection[Kind]) -> None:
        super().__init__()
        width = options.width
        self.linear = nn.Linear(width, options.out, bias=False)
        self.invariant = Invariant(width, options.hidden, kinds, symmetrised=options.maps.symmetrised)
        self.factor = NormPerceptron(2 * width, options.hidden, options.out)

    def forward(self, state: State) -> tuple[Tensor, ...]:
        """Return the codes of the edges of each block, ``(B, targets, n, D)``."""
        at_ends = np.isin(state.kinds.of_node, ("input", "output"))
        kinds = np.where(at_ends, state.kinds.ends, state.kinds.of_node)
        found = by_kind(kinds, 1, 3, lambda kind: self.invariant(state.nodes, kind))
        of_sources, of_targets = self.factor.first.weight.chunk(2, dim=1)
        sources, targets = F.linear(found, of_sources, self.factor.first.bias), F.linear(found, of_targets)
        return tuple(
            self.linear(edges)
            * self.factor.after_first(block.at_sources(sources) + block.at_targets(targets))
            for block, edges in zip(state.graph.blocks, state.edges, strict=True)
        )


@final
class PermutedLayer(nn.Module):
    """The same without scales and signs: perceptrons of codes side by side.

    Args:
        options: see :class:`LayerOptions`. Messages go forth only.
    """

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        width, hidden = options.width, options.hidden
        self.message = NormPerceptron(2 * width, hidden, hidden)
        self.update = NormPerceptron(width + hidden, hidden, options.out)
        self.edges = NormPerceptron(3 * width, hidden, options.out) if options.change_edges else None
        self.skip = nn.Linear(width, options.out, bias=False) if options.skip else None

    def forward(self, state: State) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return new codes of nodes ``(B, V, D)``, and of the edges of each block."""
        blocks = list(zip(state.graph.blocks, state.edges, strict=True))
        own, come = self.message.first.weight.chunk(2, dim=1)
        sent = F.linear(state.nodes, come, self.message.first.bias)
        found = [
            (
                block.targets.nodes,
                self.message.after_first(F.linear(edges, own) + block.at_sources(sent)).sum(2),
            )
            for block, edges in blocks
        ]
        nodes = self.update(torch.cat([state.nodes, _added(found, state.graph)], dim=2))
        if self.skip is not None:
            nodes = nodes + self.skip(state.nodes)
        if self.edges is None:
            return nodes, state.edges
        own, come, to = self.edges.first.weight.chunk(3, dim=1)
        sent, received = F.linear(state.nodes, come, self.edges.first.bias), F.linear(state.nodes, to)
        return nodes, tuple(
            self.edges.after_first(
                F.linear(edges, own) + (block.at_sources(sent) + block.at_targets(received))
            )
            for block, edges in blocks
        )


def _kinds(state: State, nodes: Tensor) -> np.ndarray:
    """Return the kinds of nodes ``(n,)``."""
    found: np.ndarray = state.kinds.of_node[nodes.cpu().numpy()]
    return found


def _added(found: Sequence[tuple[Tensor, Tensor]], graph: NodeGraph) -> Tensor:
    """Add values ``(B, n, D)`` of slots at their nodes ``(n,)``, and return ``(B, V, D)``."""
    values = torch.cat([each for _, each in found], dim=1)
    nodes = torch.cat([each for each, _ in found])
    return values.new_zeros(len(values), graph.size, values.shape[2]).index_add(1, nodes, values)
