"""Define a node: one step of a network's computation, as the trace of a module records it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import define, field

from sneframe.architecture.call import Call

if TYPE_CHECKING:
    from torch import Tensor

    from sneframe.architecture.recording import Recorder

#: Kinds of nodes that are no layers: an input of the network, and a parameter that other nodes read.
INPUT, WEIGHT = "input", "weight"
#: Kinds that only rearrange one tensor. A parameter may pass through such nodes before a layer uses it.
STEPS = ("transpose", "reshape", "slice", "select", "expand", "take")

#: Records one call, and returns the node of each of its outputs. None stands for an output that is never read.
Record: TypeAlias = "Callable[[Recorder, Call], int | list[int | None]]"


@define(eq=False)
class Node:
    """One step of a computation.

    Args:
        kind: the kind of layer that the step is or becomes, or ``input``, ``weight`` or ``not_recorded``.
        inputs: the numbers of the nodes that the step reads, in order.
        roles: for a step with weights, the node of each weight by its role, such as ``bias``.
        attributes: the settings of the step as JSON values.
        activation: the activation that follows the step. Folding sets it.
        name: the name of the parameter, for a node of the kind ``weight``.
        owner: the path of the module that the step stands for, if the step is a whole module.
        constant: the tensor, for a node of the kind ``constant``.
        shape: the shape of the value at the traced input.
    """

    kind: str
    inputs: list[int] = field(factory=list)
    roles: dict[str, int] = field(factory=dict)
    attributes: dict[str, Any] = field(factory=dict)
    activation: str = "none"
    name: str = ""
    owner: str | None = None
    constant: Tensor | None = None
    shape: tuple[int, ...] = ()

    @property
    def reads(self) -> list[int]:
        """The numbers of all nodes that the step reads, its weights included."""
        return [*self.inputs, *self.roles.values()]
