"""Arrange the weights and biases of a chain as arrays along axes of neurons, for equivariant layers.

In a chain of L layers, axis l is the row of neurons after l layers: axis 0 is the inputs, and axis L is the
outputs. Weight l (counted from 0) has the axes l + 1 and l, and bias l has the axis l + 1. Equivariant layers
are equivariant to permutations along the exchangeable axes. Either all axes are exchangeable, or only the
hidden axes 1 … L − 1. All other axes, and the positions of a kernel, are folded into the channels. A weight
or a bias is called a member of the chain.
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

Axes = tuple[int, ...]  #: numbers of axes in descending order, so that rows come before columns
Features = TypeVar("Features", WeightFeatures, NeuronFeatures)


@frozen(kw_only=True)
class Member:
    """One weight or bias of a chain.

    Args:
        link: the layer.
        role: ``weight`` or ``bias``.
        layer: l, the index of the layer, counted from 0.
        axes: the exchangeable axes of the member.
        positions: number of features in one channel between two neurons, or 1 for a bias.
        fixed: size of the axis of the member that is not exchangeable, or 1 if there is no such axis.
        shape: shape of the features, without the axes of networks and channels.
        outside: einops pattern of the features in the carrier, with positions as an axis ``k``.
        inside: einops pattern in which everything that is not exchangeable is folded into the channels.
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
        """The name of the member, such as ``weight_0`` or ``bias_2``."""
        return f"{self.role}_{self.layer}"

    @property
    def folded(self) -> int:
        """The factor by which :meth:`fold` multiplies the number of channels."""
        return self.positions * self.fixed

    def fold(self, features: Tensor) -> Tensor:
        """Reorder features ``(B, channels, *shape)`` to ``(B, *axes, positions · fixed · channels)``."""
        batch, channels = features.shape[:2]
        if self.role == "weight":
            features = features.reshape(batch, channels, self.link.outputs, self.link.inputs, self.positions)
        return rearrange(features, f"{self.outside} -> {self.inside}")

    def unfold(self, features: Tensor) -> Tensor:
        """Invert :meth:`fold`, and return the features ``(B, channels, *shape)``."""
        sizes = {"fixed": self.fixed} if "fixed" in self.outside else {}
        if self.role == "weight":
            sizes["k"] = self.positions
        features = rearrange(features, f"{self.inside} -> {self.outside}", **sizes)
        return features.reshape(*features.shape[:2], *self.shape)


def members_of(
    links: Sequence[Link], *, exchangeable: Literal["all", "hidden"], carrier: type = WeightFeatures
) -> tuple[Member, ...]:
    """Return the members of a chain: the weight and the bias of the first link, of the second, and so on.

    Args:
        links: links of the chain.
        exchangeable: whether all axes or only the hidden axes are exchangeable.
        carrier: class of the features. ``WeightFeatures`` have every position of a kernel, and
            ``NeuronFeatures`` have one position.
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
    """Fold the features of every member, and return a list of tensors ``(B, *axes, folded · channels)``."""
    tensors = {"weight": features.weights, "bias": features.biases}
    return [member.fold(tensors[member.role][member.layer]) for member in members]


def unfold(
    tensors: Sequence[Tensor],
    members: Sequence[Member],
    carrier: type[Features],
    architecture: Architecture,
) -> Features:
    """Invert :func:`fold`: turn the tensors of all members back into the features of the chain."""
    made: dict[str, dict[int, Tensor]] = {"weight": {}, "bias": {}}
    for member, tensor in zip(members, tensors, strict=True):
        made[member.role][member.layer] = member.unfold(tensor)
    weights, biases = (tuple(found[layer] for layer in sorted(found)) for found in made.values())
    return carrier(architecture=architecture, weights=weights, biases=biases)


def subsets(axes: Axes) -> list[Axes]:
    """Return all subsets of some axes, ordered by the number of axes and then by the axes."""
    return [s for size in range(len(axes) + 1) for s in sorted(combinations(axes, size))]


def pools(x: Tensor, axes: Axes, pool: Callable[[Tensor, int], Tensor]) -> dict[Axes, Tensor]:
    """Pool a tensor ``x (B, *axes, D)`` to every subset of its axes.

    A subset is pooled from the result for a larger subset, which has one more axis.

    Args:
        x: the tensor to pool.
        axes: the axes of ``x``.
        pool: function that pools a tensor over one dimension, given its index.
    """
    found = {axes: x}
    for kept in reversed(subsets(axes)[:-1]):
        dropped = next(axis for axis in axes if axis not in kept)
        wider = tuple(axis for axis in axes if axis in (*kept, dropped))
        found[kept] = pool(found[wider], 1 + wider.index(dropped))
    return found


def spread(x: Tensor, along: Axes, axes: Axes) -> Tensor:
    """Add to ``x (B, *along, D)`` a dimension of size 1 for each of ``axes`` that is not in ``along``."""
    for dimension, axis in enumerate(axes, start=1):
        if axis not in along:
            x = x.unsqueeze(dimension)
    return x
