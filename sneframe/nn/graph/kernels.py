"""Bring kernels of different sizes to one size, so that a linear map can read them as numbers of one edge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import torch
from attrs import frozen
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.errors import PartError
from sneframe.nn.graph.blocks import EdgeBlock, Ends, NodeGraph

#: Where the one weight between two neurons of linear layers lies among the positions of a kernel.
Linear = Literal["apart", "centre", "first"]


@frozen(kw_only=True)
class Kernels:
    """The largest kernels of a training zoo.

    Args:
        sizes: the largest size along each axis, by the number of axes. A linear layer is read with the first
            of them.
        linear: where the weight of a linear layer lies: in the centre or at the first position of the first
            size, or ``apart``: then the first size is that of linear layers, ().
    """

    sizes: Mapping[int, tuple[int, ...]]
    linear: Linear

    @classmethod
    def of(cls, graphs: Iterable[NodeGraph], *, linear: Linear) -> Kernels:
        """Return the largest kernels in graphs."""
        found: dict[int, tuple[int, ...]] = {}
        for graph in graphs:
            for block in graph.blocks:
                if block.edges is not None and (kernel := block.edges.kernel):
                    before = found.get(len(kernel), kernel)
                    found[len(kernel)] = tuple(map(max, before, kernel))
        sizes = {axes: found[axes] for axes in sorted(found)}
        if not sizes or linear == "apart":
            sizes = {0: (), **sizes}
        return cls(sizes=sizes, linear=linear)

    @property
    def counts(self) -> dict[str, int]:
        """For each number of axes, as a key, the number of positions of the largest kernel."""
        return {str(axes): math.prod(size) for axes, size in self.sizes.items()}

    @property
    def first(self) -> str:
        """The key with which linear layers are read."""
        return next(iter(self.counts))

    def key(self, architecture: Architecture, block: EdgeBlock) -> str:
        """Return the key with which the edges of a block are read.

        Raises:
            PartError: the kernel is larger than those of the training zoo, or has another number of axes.
        """
        kernel = _kernel(block)
        if not kernel:
            return self.first
        size = self.sizes.get(len(kernel))
        if size is None or any(own > most for own, most in zip(kernel, size, strict=True)):
            assert block.edges is not None
            assert block.edges.parameter is not None
            name = architecture.parameters[block.edges.parameter].name
            most = "no such kernel" if size is None else f"kernels up to {'×'.join(map(str, size))}"
            raise PartError(
                f"the kernel of {name!r} is {'×'.join(map(str, kernel))}, "
                f"but the training networks have {most}"
            )
        return str(len(kernel))

    def places(self, block: EdgeBlock) -> Tensor:
        """Return the matrix ``(k, n)`` that brings the n positions of a kernel to those of the largest one.

        The centres of both meet.
        """
        kernel = _kernel(block)
        size = self.sizes[len(kernel)] if kernel else next(iter(self.sizes.values()))
        own = kernel or (1,) * len(size)
        starts = [(most - each) // 2 for most, each in zip(size, own, strict=True)]
        if not kernel and self.linear == "first":
            starts = [0] * len(size)
        numbers = torch.arange(math.prod(size)).reshape(size)
        window = numbers[tuple(slice(start, start + each) for start, each in zip(starts, own, strict=True))]
        places = torch.zeros(numbers.numel(), window.numel())
        places[window.flatten(), torch.arange(window.numel())] = 1
        return places


def edge_weights(networks: Networks, block: EdgeBlock) -> Tensor:
    """Return the weights of a block's edges, ``(B, targets, n, positions)``, and 1 for ties."""
    edges = block.edges
    if edges is None or edges.parameter is None:
        return networks.weights.new_ones((1, *block.shape, 1))
    architecture = networks.architecture
    start = architecture.offsets[edges.parameter]
    flat = networks.weights[:, start : start + architecture.parameters[edges.parameter].size]
    order = [0, *(axis + 1 for axis in edges.order)]
    return flat.unflatten(1, edges.shape).permute(order).reshape(len(flat), *block.shape, -1)


def vectors_of(
    networks: Networks, graph: NodeGraph, known: nn.ModuleDict
) -> Iterator[tuple[str, Ends, Tensor]]:
    """Yield each vector, such as a bias: its kind, its targets, and its numbers ``(B, targets, 1)``.

    Raises:
        PartError: a vector has a kind that is not ``known``.
    """
    architecture = networks.architecture
    for number, ends in graph.vectors:
        kind = vector_kind(architecture, number)
        if kind not in known:
            raise PartError(
                f"{architecture.parameters[number].name!r} has the type {architecture.types[number]}, "
                f"which no training network has"
            )
        start = architecture.offsets[number]
        yield kind, ends, networks.weights[:, start : start + ends.size].unsqueeze(2)


def vector_kind(architecture: Architecture, parameter: int) -> str:
    """Return the kind of a vector: ``bias`` for the bias of a layer with weights, else its type as a key."""
    layer = architecture.layers[architecture.layer_of_parameter[parameter]]
    is_bias = architecture.parameters[parameter].role == "bias" and any(
        len(each.shape) > 1 for each in layer.parameters
    )
    return "bias" if is_bias else architecture.types[parameter].replace(".", "_")


def _kernel(block: EdgeBlock) -> tuple[int, ...]:
    return () if block.edges is None else block.edges.kernel
