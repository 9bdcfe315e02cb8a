"""Define the carrier of methods that encode every node of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.nn.graph.blocks import NodeGraph
from sneframe.nn.graph.graph import NodeSet
from sneframe.symmetry.act import order_of

if TYPE_CHECKING:
    from sneframe.symmetry import Element


@frozen(kw_only=True, eq=False)
class NodeCodes:
    """One code of D numbers for every neuron of every layer.

    Args:
        architecture: architecture of the networks.
        node_sets: the node sets, in order.
        codes: for each node set its codes, ``(B, n, D)``.
        outputs: the index of the node set of the outputs.
        inputs: the index of the node set of the first input, or None.
        scaled: whether the code of a neuron is multiplied by the same factors as the neuron's value, when
            the neuron is scaled or flipped.
    """

    architecture: Architecture
    node_sets: tuple[NodeSet, ...]
    codes: tuple[Tensor, ...]
    outputs: int
    inputs: int | None
    scaled: bool = False

    @classmethod
    def of(
        cls, architecture: Architecture, graph: NodeGraph, codes: Tensor, *, scaled: bool = False
    ) -> NodeCodes:
        """Return the codes ``(B, V, D)`` of all nodes as those of each node set."""
        return cls(
            architecture=architecture,
            node_sets=graph.graph.node_sets,
            codes=codes.split([node_set.size for node_set in graph.graph.node_sets], dim=1),
            outputs=graph.outputs,
            inputs=graph.inputs,
            scaled=scaled,
        )

    @property
    def extent(self) -> tuple[int, int]:
        """B and D."""
        found = {(len(codes), codes.shape[-1]) for codes in self.codes}
        if len(found) != 1 or any(codes.ndim != 3 for codes in self.codes):
            shown = ", ".join(str(tuple(codes.shape)) for codes in self.codes)
            raise ValueError(f"all codes must be (B, n, D) with the same B and D, but got {shown}")
        sizes = tuple(node_set.size for node_set in self.node_sets)
        if tuple(codes.shape[1] for codes in self.codes) != sizes:
            shown = ", ".join(str(codes.shape[1]) for codes in self.codes)
            raise ValueError(f"the node sets have the sizes {sizes}, but their codes have {shown}")
        return found.pop()

    def act(self, element: Element) -> NodeCodes:
        """Return the codes after an element has moved the neurons: permuted, and scaled if ``scaled``."""
        pairs = zip(self.node_sets, self.codes, strict=True)
        return evolve(self, codes=tuple(self._moved(node_set, codes, element) for node_set, codes in pairs))

    def _moved(self, node_set: NodeSet, codes: Tensor, element: Element) -> Tensor:
        if any(name in element.permutations for name in node_set.groups):
            index = order_of(node_set.groups, element, codes.device).expand(len(codes), -1)
            codes = codes.gather(1, index.unsqueeze(2).expand_as(codes))
        for factors in (element.scales, element.signs) if self.scaled else ():
            if len(node_set.groups) == 1 and node_set.groups[0] in factors:
                codes = codes * factors[node_set.groups[0]].unsqueeze(2)
        return codes
