"""Describe one torch operation in a trace: the arguments, the outputs, and the axes of all these tensors."""

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
        dims: for each action (``permute``, ``scale``, ``sign``), the axes of the tensor.
        names: the names of the parameters that the tensor was computed from, if it was computed from
            parameters alone; otherwise empty.
        points_into: the axes of other tensors, if the values of this tensor are positions along those axes,
            as the values of an argmax are. The axes in ``points_into`` are fixed as soon as an operation uses
            the values.
        buffer: the name of the buffer, if the tensor is a buffer of integers or booleans; otherwise None.
    """

    dims: Mapping[str, Sequence[Dim]]
    names: tuple[str, ...] = ()
    points_into: tuple[Dim, ...] = ()
    buffer: str | None = None


@define(eq=False)
class Call:
    """One torch operation that has just run.

    Args:
        name: the name of the operation, without its namespace, its overload and the underscore of an in-place
            variant.
        overload: the overload of the operation, such as ``dim`` for ``max.dim``.
        pointwise: whether torch tags this overload as working element by element.
        view: whether the outputs share the memory of the first input.
        writes: the arguments that the operation writes into.
        args: the positional arguments.
        kwargs: the keyword arguments.
        outputs: the tensors that the operation returned.
        inputs: the tensors among the arguments.
        labels: the label of each input that has a label, by the id of the tensor.
        points_into: one entry for each output: the axes that the values of the output are positions along. A
            rule appends these entries; the list stays empty if no values are positions.
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
        """Return the argument at ``position``, else the keyword argument ``name``, else ``default``."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def dims(self, value: Tensor, action: str) -> list[Dim]:
        """Return the axes of an input under an action.

        The axes come from the label of the input, or from :func:`constant_dims` if the input has no label.
        """
        if id(value) in self.labels:
            return list(self.labels[id(value)].dims[action])
        return constant_dims(value, action)


def constant_dims(value: Tensor, action: str) -> list[Dim]:
    """Return the axes of a tensor that depends on no parameter and no input.

    Under ``permute``, an axis along which all values are equal is free, because permuting equal values
    changes nothing. Every other axis is fixed. Under ``scale`` and ``sign``, all axes are free if all values
    are zero; otherwise all axes are fixed.
    """
    if action != "permute":
        free = not bool(value.any())
        return [whole(Space(size, action, fixed=not free, free=free)) for size in value.shape]
    return [whole(Space(size, fixed=not alike, free=alike)) for size, alike in _alike(value)]


def _alike(value: Tensor) -> Iterator[tuple[int, bool]]:
    """Yield the size of each axis of a tensor, and whether all values along the axis are equal."""
    for axis, size in enumerate(value.shape):
        yield size, size <= 1 or bool((value == value.narrow(axis, 0, 1)).all())
