"""One operation of torch: its arguments, and what the trace knows about the axes of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from torch import Tensor

from sneframe.architecture.digit import Dim, whole
from sneframe.architecture.space import Space


@frozen(eq=False)
class Label:
    """Everything that the trace knows about a tensor.

    Args:
        dims: the axes, by action.
        names: the parameters that the tensor is a view or copy of; empty if it depends on the network's
            input.
        operation: the number of the layer that computed the tensor, if any.
        direct: whether only element-wise functions lie between that layer and the tensor.
        points_into: the axes of other tensors that the values are positions on, as those of an argmax are.
            They are fixed as soon as an operation uses the values.
        buffer: the name of the buffer of integers or booleans that the values come from.
    """

    dims: Mapping[str, Sequence[Dim]]
    names: tuple[str, ...] = ()
    operation: int | None = None
    direct: bool = False
    points_into: tuple[Dim, ...] = ()
    buffer: str | None = None


@define(eq=False)
class Call:
    """One operation of torch that has just run.

    Args:
        name: its name, without namespace, overload and the underscore of an in-place variant.
        overload: the form of the operation, such as ``dim`` for ``max.dim``.
        pointwise: whether torch tags this form as working element by element.
        view: whether the outputs share the memory of the first input.
        writes: the tensors that it writes into.
        args: the positional arguments.
        kwargs: the keyword arguments.
        outputs: the tensors that it returned.
        inputs: the tensors among its arguments.
        labels: the labels of those inputs that have one, by the id of the tensor.
        points_into: for each output, the axes that its values are positions on. A rule appends to it.
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
    points_into: list[tuple[Dim, ...]] = field(factory=list)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return the argument that was passed at this position or under this name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def dims(self, value: Tensor, action: str) -> list[Dim]:
        """Return the axes of an input: those of its label, or :func:`constant_dims` if it has none."""
        if id(value) in self.labels:
            return list(self.labels[id(value)].dims[action])
        return constant_dims(value, action)


def constant_dims(value: Tensor, action: str) -> list[Dim]:
    """Return the axes of a tensor that depends on no parameter and no input.

    An axis along which the values are equal is free, because permuting them changes nothing; other axes are
    fixed. Under scale and sign, the axes are free only if all values are zero.
    """
    if action != "permute":
        free = not bool(value.any())
        return [whole(Space(size, action, fixed=not free, free=free)) for size in value.shape]
    return [whole(Space(size, fixed=not alike, free=alike)) for size, alike in _alike(value)]


def _alike(value: Tensor) -> Iterator[tuple[int, bool]]:
    """Yield each axis as its size, and whether the values are equal along it."""
    for axis, size in enumerate(value.shape):
        yield size, size <= 1 or bool((value == value.narrow(axis, 0, 1)).all())
