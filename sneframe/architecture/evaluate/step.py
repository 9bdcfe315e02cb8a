"""Define what a kind of layer is given when it is evaluated, and what it must say about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor

from sneframe.architecture.layer import Layer
from sneframe.errors import ArchitectureError


@frozen(kw_only=True, eq=False)
class Step:
    """One layer of B networks, with the values that it reads.

    Args:
        layer: the layer.
        inputs: the values that the layer reads, each ``(B, K, …)``, or ``(1, K, …)`` if they are the same in
            all networks.
        parameters: the parameters of the layer by role, each ``(B, *shape)``. The roles of a recurrent layer
            carry level and direction, as in ``weight_ih_l0_reverse``.
        examples: K, the number of inputs at which the networks are evaluated.
        like: a tensor of the device and the floating-point type of the computation.
    """

    layer: Layer
    inputs: tuple[Tensor, ...]
    parameters: Mapping[str, Tensor]
    examples: int
    like: Tensor

    def __getitem__(self, attribute: str) -> Any:
        return self.layer.attributes[attribute]

    def get(self, attribute: str, otherwise: Any = None) -> Any:
        """Return an attribute of the layer, or ``otherwise`` if the layer does not have it."""
        return self.layer.attributes.get(attribute, otherwise)

    @property
    def value(self) -> Tensor:
        """The first value that the layer reads."""
        return self.inputs[0]

    @property
    def weight(self) -> Tensor:
        """The parameter with the role ``weight``, ``(B, *shape)``."""
        return self.parameters["weight"]

    @property
    def bias(self) -> Tensor | None:
        """The parameter with the role ``bias``, ``(B, *shape)``, or None."""
        return self.parameters.get("bias")


def _nothing(layer: Layer) -> Iterable[str]:  # noqa: ARG001  # it does not depend on the layer
    """Return no reason: a layer of this kind lacks nothing."""
    return ()


@frozen(kw_only=True, eq=False)
class Computation:
    """How layers of one kind are evaluated, and what their descriptions must say.

    Args:
        compute: returns the value ``(B or 1, K, …)`` of a step, without factor, shift and activation.
        needs: the attributes that a description must have.
        allows: further attributes that ``compute`` understands. A description with any other attribute is not
            evaluated, because the attribute may change the value.
        roles: the roles of parameters that a description must have.
        optional: the roles of parameters that a description may have besides; None if ``lacks`` checks them.
        reads: the smallest and the largest number of values that a layer reads; the largest may be None.
        lacks: yields what else keeps a layer from being evaluated.
    """

    compute: Callable[[Step], Tensor]
    needs: tuple[str, ...] = ()
    allows: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    optional: tuple[str, ...] | None = ()
    reads: tuple[int, int | None] = field(default=(1, 1))
    lacks: Callable[[Layer], Iterable[str]] = _nothing


def refuse(what: str) -> ArchitectureError:
    """Return the error of a step that cannot be computed; the caller adds the name of the layer."""
    return ArchitectureError(what)


def with_axes(value: Tensor, count: int) -> Tensor:
    """Return ``(B, …)`` as ``(B, 1, …, 1, …)`` with ``count`` axes behind B, so that values broadcast."""
    missing = count - (value.ndim - 1)
    return value.reshape(len(value), *[1] * missing, *value.shape[1:]) if missing > 0 else value


def aligned(values: Sequence[Tensor]) -> list[Tensor]:
    """Give values the same number of axes, so that they broadcast from the last axis as in one network."""
    count = max(value.ndim for value in values) - 1
    return [with_axes(value, count) for value in values]


def at_axis(vector: Tensor, axis: int, ndim: int) -> Tensor:
    """Return vectors ``(B, size)`` as ``(B, 1, …, size, …, 1)``, to broadcast along one axis of a value.

    Args:
        vector: one vector for each network.
        axis: the axis in a value of one network, whose axis 0 is that of the examples.
        ndim: the number of axes of a value with the axis of the networks.
    """
    return vector.reshape(len(vector), *[1] * axis, vector.shape[1], *[1] * (ndim - axis - 2))


def own_axis(axis: int) -> int:
    """Return an axis of a network's value as an axis of ``(B, K, …)``."""
    return axis + 1 if axis >= 0 else axis


def spread(values: Sequence[Tensor]) -> list[Tensor]:
    """Expand values of the same number of axes to the same number of networks and of examples.

    A constant has one example, which stands for all.
    """
    networks = max(len(value) for value in values)
    if values[0].ndim < 2:
        return [value.expand(networks) for value in values]
    examples = max(value.shape[1] for value in values)
    return [
        value.expand(networks, examples if value.shape[1] == 1 else -1, *value.shape[2:]) for value in values
    ]


def number(value: float | str) -> float:
    """Return a number of a description, in which infinity is written as the string ``inf`` or ``-inf``."""
    return float(value)


def rows(value: Tensor) -> tuple[Tensor, torch.Size]:
    """Return ``(n, …, C)`` as ``(n, rows, C)``, and the sizes that were joined."""
    return value.reshape(len(value), -1, value.shape[-1]), value.shape[1:-1]
