"""The members of a chain, its weights and biases, as arrays along axes of neurons: what layers that permute neurons act on.

Axis l of a chain of L layers is its row of neurons after l layers: axis 0 the inputs, axis L the outputs. Weight l
(counted from 0) has the axes l + 1 and l, bias l the axis l + 1. Layers are equivariant to permutations along the
exchangeable axes: all of them, or the hidden ones 1 … L − 1 alone. What varies along the others, and with the positions
of a kernel, is channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal, TypeVar

from attrs import frozen
from einops import rearrange
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.chain import Link
from sneframe.parts.carriers import NeuronFeatures, WeightFeatures

Axes = tuple[int, ...]  #: descending: rows stand before columns
Features = TypeVar("Features", WeightFeatures, NeuronFeatures)


@frozen(kw_only=True)
class Member:
    """One weight or bias of a chain.

    Args:
        link: its layer.
        role: ``weight`` or ``bias``.
        layer: l, counted from 0.
        axes: its exchangeable axes.
        positions: how many features of one channel lie between two neurons, 1 of a bias.
        fixed: the size of its fixed axis, 1 if it has none.
        shape: of its features, without networks and channels.
        outside: einops names of the axes of its features in the carrier, positions apart.
        inside: the same, what is not exchangeable folded into the channels.
    """

    link: Link
    role: str
    layer: int
    axes: Axes
    positions: int
    fixed: int
    shape: tuple[int, ...]
    outside: str
    inside: str

    @property
    def label(self) -> str:
        """Its name among the members: ``weight_0``, ``bias_2``."""
        return f"{self.role}_{self.layer}"

    @property
    def folded(self) -> int:
        """How many values of one channel stand side by side."""
        return self.positions * self.fixed

    def fold(self, features: Tensor) -> Tensor:
        """Return ``(B, *axes, positions · fixed · channels)`` of ``(B, channels, *shape)``."""
        batch, channels = features.shape[:2]
        if self.role == "weight":
            features = features.reshape(batch, channels, self.link.outputs, self.link.inputs, self.positions)
        return rearrange(features, f"{self.outside} -> {self.inside}")

    def unfold(self, features: Tensor) -> Tensor:
        """Return ``(B, channels, *shape)``: :meth:`fold` backwards."""
        sizes = {"fixed": self.fixed} if "fixed" in self.outside else {}
        if self.role == "weight":
            sizes["k"] = self.positions
        features = rearrange(features, f"{self.inside} -> {self.outside}", **sizes)
        return features.reshape(*features.shape[:2], *self.shape)


def members_of(
    links: Sequence[Link], *, exchangeable: Literal["all", "hidden"], carrier: type = WeightFeatures
) -> tuple[Member, ...]:
    """Return weight and bias of every link in turn.

    Args:
        links: of the chain.
        exchangeable: which axes are.
        carrier: of the features, ``WeightFeatures``, or ``NeuronFeatures``, which have one position.
    """
    last = len(links) - 1
    found = []
    for number, link in enumerate(links):
        rows = exchangeable == "all" or number < last
        columns = exchangeable == "all" or number > 0
        o, i = "o" if rows else "fixed", "i" if columns else "fixed"
        moving = " ".join(name for name in (o, i) if name != "fixed")
        apart = "" if rows and columns else " fixed"
        whole = carrier is WeightFeatures
        found.append(
            Member(
                link=link,
                role="weight",
                layer=number,
                axes=(number + 1,) * rows + (number,) * columns,
                positions=link.positions if whole else 1,
                fixed=1 if rows and columns else link.inputs if rows else link.outputs,
                shape=link.weight.shape if whole else (link.outputs, link.inputs),
                outside=f"b c {o} {i} k",
                inside=f"b {moving} (k{apart} c)",
            )
        )
        found.append(
            Member(
                link=link,
                role="bias",
                layer=number,
                axes=(number + 1,) * rows,
                positions=1,
                fixed=1 if rows else link.outputs,
                shape=link.bias.shape,
                outside=f"b c {o}",
                inside="b o c" if rows else "b (fixed c)",
            )
        )
    return tuple(found)


def fold(features: WeightFeatures | NeuronFeatures, members: Sequence[Member]) -> list[Tensor]:
    """Return ``(B, *axes, folded · channels)`` of each of the members, in their order."""
    tensors = {"weight": features.weights, "bias": features.biases}
    return [member.fold(tensors[member.role][member.layer]) for member in members]


def unfold(
    tensors: Sequence[Tensor],
    members: Sequence[Member],
    carrier: type[Features],
    architecture: Architecture,
) -> Features:
    """Return the features of ``(B, *axes, folded · channels)``: :func:`fold` backwards, of all members of a chain."""
    made: dict[str, dict[int, Tensor]] = {"weight": {}, "bias": {}}
    for member, tensor in zip(members, tensors, strict=True):
        made[member.role][member.layer] = member.unfold(tensor)
    weights, biases = (tuple(found[layer] for layer in sorted(found)) for found in made.values())
    return carrier(architecture=architecture, weights=weights, biases=biases)


def subsets(axes: Axes) -> list[Axes]:
    """Return every subset of some axes, few axes first, then low ones."""
    return [s for size in range(len(axes) + 1) for s in sorted(combinations(axes, size))]


def pools(x: Tensor, axes: Axes, pool: Callable[[Tensor, int], Tensor]) -> dict[Axes, Tensor]:
    """Return ``x (B, *axes, D)`` pooled to every subset of its axes, each from a subset with one axis more.

    Args:
        x: to pool.
        axes: it has.
        pool: over one dimension of a tensor, given its number.
    """
    found = {axes: x}
    for kept in reversed(subsets(axes)[:-1]):
        dropped = next(axis for axis in axes if axis not in kept)
        wider = tuple(axis for axis in axes if axis in (*kept, dropped))
        found[kept] = pool(found[wider], 1 + wider.index(dropped))
    return found


def spread(x: Tensor, along: Axes, axes: Axes) -> Tensor:
    """Give ``x (B, *along, D)`` an axis of size 1 for every one of the axes that it lacks."""
    for place, axis in enumerate(axes, start=1):
        if axis not in along:
            x = x.unsqueeze(place)
    return x
