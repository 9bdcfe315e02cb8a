"""Find out by which actions the value of every neuron may be changed, so that the network stays the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.nn.graph.blocks import EdgeBlock, NodeGraph
from sneframe.nn.graph.kernels import edge_weights
from sneframe.symmetry import Element

#: What is known about a node. The value of a neuron may be multiplied by a positive factor (``scale``), by −1
#: (``sign``) or by any factor but 0 (``both``); or the neuron may only be permuted (``permute``).
Kind = Literal["input", "output", "permute", "scale", "sign", "both"]
MOVED: Final[tuple[Kind, ...]] = ("scale", "sign", "both")


@frozen(kw_only=True, eq=False)
class NodeKinds:
    """The kind of every node of a graph.

    Args:
        of_set: for each node set its kind.
        of_node: ``(V,)``, for each node its kind.
        ends: the kind of the first hidden nodes. Inputs and outputs are read like these where the original
            makes no difference between them.
        plain: what keeps scales or signs of some neurons from being used, in one line, or None.
    """

    of_set: tuple[Kind, ...]
    of_node: np.ndarray
    ends: Kind
    plain: str | None

    @classmethod
    def of(cls, architecture: Architecture, graph: NodeGraph, *, known: bool) -> NodeKinds:
        """Return the kinds of the nodes of an architecture.

        Args:
            architecture: the architecture.
            graph: its graph.
            known: whether scales and signs that the architecture declares are used. If not, neurons are only
                permuted.
        """
        usable = {
            action: {
                group.name
                for group in architecture.groups
                if known
                and action in group.actions
                and _acts_on_values(architecture, graph, action, group.name)
            }
            for action in ("scale", "sign")
        }
        kinds: list[Kind] = []
        for number, node_set in enumerate(graph.graph.node_sets):
            name = node_set.groups[0] if len(node_set.groups) == 1 else ""
            if graph.levels[number] is None:
                kinds.append("output" if number == graph.outputs else "input")
            elif name in usable["scale"]:
                kinds.append("both" if name in usable["sign"] else "scale")
            else:
                kinds.append("sign" if name in usable["sign"] else "permute")
        sizes = [node_set.size for node_set in graph.graph.node_sets]
        hidden = [kind for kind in kinds if kind not in ("input", "output")]
        return cls(
            of_set=tuple(kinds),
            of_node=np.repeat(np.array(kinds, dtype=object), sizes),
            ends=next(iter(hidden), "permute"),
            plain=_plain(graph, kinds) if known else None,
        )


def kinds_of(found: Sequence[NodeKinds]) -> tuple[Kind, ...]:
    """Return the kinds of hidden nodes that occur, each once."""
    return tuple(kind for kind in (*MOVED, "permute") if any(kind in each.of_set for each in found))


def _plain(graph: NodeGraph, kinds: list[Kind]) -> str | None:
    """Return a line if some hidden neurons are only permuted."""
    names = sorted({graph.activations[n] for n, kind in enumerate(kinds) if kind == "permute"})
    if not names:
        return None
    count, hidden = kinds.count("permute"), graph.hidden
    shown = " and ".join(name for name in names if name != "none") or "no activation"
    return (
        f"the neurons of {count} of {hidden} hidden layers (with {shown}) are treated as permuted only: "
        f"no scale or sign of their values is known that leaves the network the same"
    )


def _acts_on_values(architecture: Architecture, graph: NodeGraph, action: str, group: str) -> bool:
    """Return whether an action on a group changes every weight as if it changed the values of its neurons.

    Then the weight of an edge is multiplied by the factor of its target and divided by that of its source,
    and every vector is multiplied by the factor of its target. A convolution before a norm is a
    counterexample: the factor of the norm's output does not change the kernel.
    """
    size = next(each.size for each in architecture.groups if each.name == group)
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(1, size, generator=generator, dtype=torch.float64) + 0.5
    if action == "sign":
        factors = torch.where(torch.arange(size) % 2 == 0, -1.0, 1.0).double().unsqueeze(0)
    given: Mapping[str, Tensor] = {group: factors}
    element = Element(
        architecture=architecture,
        permutations={},
        scales=given if action == "scale" else {},
        signs=given if action == "sign" else {},
    )
    ones = torch.ones(1, architecture.num_weights, dtype=torch.float64)
    moved = Networks(architecture=architecture, weights=ones).act(element)
    values = torch.ones(1, graph.size, 1, dtype=torch.float64)
    for number, node_set in enumerate(graph.graph.node_sets):
        if node_set.groups == (group,):
            values[0, graph.nodes(number), 0] = factors[0]
    return _fits(moved, graph, values)


def _fits(moved: Networks, graph: NodeGraph, values: Tensor) -> bool:
    """Return whether weights, which were 1, are now those that factors ``(1, V, 1)`` of values ask for."""
    for block in graph.blocks:
        found, wanted = edge_weights(moved, block), _wanted(block, values)
        if not torch.allclose(found, wanted.expand_as(found)):
            return False
    for number, ends in graph.vectors:
        start = moved.architecture.offsets[number]
        if not torch.allclose(moved.weights[:, start : start + ends.size, None], ends.gather(values)):
            return False
    return True


def _wanted(block: EdgeBlock, values: Tensor) -> Tensor:
    return block.at_targets(values) / block.at_sources(values)
