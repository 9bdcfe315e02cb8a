"""The chain that a neural functional is built for: its weights and biases as arrays along axes of neurons.

Axis l of a chain of L layers is its row of neurons after l layers: axis 0 the inputs, axis L the outputs. Weight l
(counted from 0) has the axes l + 1 and l, bias l the axis l + 1. Layers are equivariant to permutations along the
exchangeable axes: all of them (NP), or the hidden ones 1 … L − 1 alone (HNP). What varies along the others, and with
the positions of a kernel, is channels.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen
from einops import rearrange
from torch import Tensor

from sneframe.architecture.chain import Link
from sneframe.architecture.chain import read_chain as links_of
from sneframe.errors import ArchitectureError, PartError
from sneframe.part import Part, Spec, WeightFeatures

Axes = tuple[int, ...]  #: descending: rows stand before columns


@frozen(kw_only=True)
class Member:
    """One weight or bias of the chain.

    Args:
        link: its layer.
        role: ``weight`` or ``bias``.
        layer: l, counted from 0.
        axes: its exchangeable axes.
        positions: how many weights join two neurons, 1 of a bias.
        fixed: the size of its fixed axis, 1 if it has none.
        outside: einops names of the axes of its features in ``WeightFeatures``, positions apart.
        inside: the same, what is not exchangeable folded into the channels.
    """

    link: Link
    role: str
    layer: int
    axes: Axes
    positions: int
    fixed: int
    outside: str
    inside: str

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
        shape = (self.link.weight if self.role == "weight" else self.link.bias).shape
        return features.reshape(*features.shape[:2], *shape)


def read_chain(part: Part, spec: Spec) -> tuple[Link, ...]:
    """Return the links of the zoo's only architecture.

    Args:
        part: that is being built.
        spec: what it will be given.

    Raises:
        PartError: several architectures, or one that is no chain.
    """
    architecture = part.one_architecture(spec)
    try:
        return links_of(architecture)
    except ArchitectureError as error:
        raise PartError(
            f"{part.slot} {part.name!r} takes a chain of at least 2 layers with weight and bias, but {error} in "
            f"{architecture.summary}; choose a method for any architecture such as 'sne' or 'stats'"
        ) from error


def members_of(links: tuple[Link, ...], *, exchangeable: Literal["all", "hidden"]) -> tuple[Member, ...]:
    """Return weight and bias of every link in turn, with the axes that are exchangeable."""
    last = len(links) - 1
    found = []
    for number, link in enumerate(links):
        rows = exchangeable == "all" or number < last
        columns = exchangeable == "all" or number > 0
        o, i = "o" if rows else "fixed", "i" if columns else "fixed"
        moving = " ".join(name for name in (o, i) if name != "fixed")
        apart = "" if rows and columns else " fixed"
        found.append(
            Member(
                link=link,
                role="weight",
                layer=number,
                axes=(number + 1,) * rows + (number,) * columns,
                positions=link.positions,
                fixed=1 if rows and columns else link.inputs if rows else link.outputs,
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
                outside=f"b c {o}",
                inside="b o c" if rows else "b (fixed c)",
            )
        )
    return tuple(found)


def tensors_of(features: WeightFeatures) -> list[Tensor]:
    """Return weight and bias of every layer in turn."""
    pairs = zip(features.weights, features.biases, strict=True)
    return [tensor for pair in pairs for tensor in pair]
