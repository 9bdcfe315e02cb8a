"""One operation under way: its arguments, and what is known of the axes of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from torch import Tensor

from sneframe.architecture.digit import Dim, whole
from sneframe.architecture.space import Space


@frozen(eq=False)
class Label:
    """What is known of a tensor.

    Args:
        dims: for each action the axes.
        names: of the parameters that it is a view or copy of; empty for what depends on the network's input.
        operation: the number of the layer that it is the output of, if any.
        direct: whether only element-wise functions lie between it and that layer.
        counted: axes of other tensors whose places its values count, as an argmax does; they are fixed where it is used.
        buffer: the name of a buffer of integers or booleans that its values come from.
    """

    dims: Mapping[str, Sequence[Dim]]
    names: tuple[str, ...] = ()
    operation: int | None = None
    direct: bool = False
    counted: tuple[Dim, ...] = ()
    buffer: str | None = None


@define(eq=False)
class Call:
    """One operation under way.

    Args:
        name: without namespace, overload and the underscore of an in-place variant.
        overload: which form of the operation ran, such as ``dim`` of ``max.dim``.
        pointwise: whether torch says that this form works element by element.
        view: whether its outputs show the memory of its input.
        writes: tensors that it writes into.
        args: positional arguments.
        kwargs: the others.
        outputs: its tensors.
        inputs: its tensor arguments.
        labels: of the tensor arguments that are known, by identity.
        counted: for each output the axes whose places its values count, where a rule says so.
    """

    name: str
    overload: str
    pointwise: bool
    view: bool
    writes: list[Tensor]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: list[Tensor]
    inputs: list[Tensor]
    labels: dict[int, Label] = field(factory=dict)
    counted: list[tuple[Dim, ...]] = field(factory=list)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument given by place or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def dims(self, value: Tensor, action: str) -> list[Dim]:
        """Return the axes of an argument; of a constant each is free where its values do not change along it."""
        if id(value) in self.labels:
            return list(self.labels[id(value)].dims[action])
        return constant_dims(value, action)


def constant_dims(value: Tensor, action: str) -> list[Dim]:
    """Return the axes of a constant: each is free where its values do not change along it."""
    if action != "permute":
        free = not bool(value.any())
        return [whole(Space(size, action, fixed=not free, free=free)) for size in value.shape]
    return [whole(Space(size, fixed=not alike, free=alike)) for size, alike in _alike(value)]


def _alike(value: Tensor) -> Iterator[tuple[int, bool]]:
    """Yield for each axis its size, and whether nothing changes along it."""
    for axis, size in enumerate(value.shape):
        yield size, size <= 1 or bool((value == value.narrow(axis, 0, 1)).all())
