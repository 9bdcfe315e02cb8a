"""Compute the graph of an ONNX model as a torch module, whose parameters are the weights of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn

from sneframe.errors import ArchitectureError
from sneframe_formats.onnx_operations import OPERATIONS

#: An operation: its name, the names of its inputs and outputs, and its attributes. All values are plain, so
#: that modules can be compared, see :func:`sneframe.architecture.identity.fingerprint`.
PlainStep: TypeAlias = tuple[str, tuple[str, ...], tuple[str, ...], Mapping[str, Any]]

NUMBERS = ("Add", "Sub", "Mul", "Div", "Pow")  #: operations that take a number in place of a tensor


@final
class OnnxModule(nn.Module):
    """Computes a graph by torch functions.

    Args:
        steps: the operations, in an order in which they can be computed.
        inputs: the names of the inputs.
        outputs: the names of the outputs.
        places: the paths of the parameters, by the names that the steps use for them.
        constants: the names of the buffers, by the names that the steps use for them.
        numbers: the numbers of axes and the values of the constants that have one element.
        wide: whether the graph computes in the type of its parameters where it says float32.
    """

    def __init__(
        self,
        *,
        steps: Sequence[PlainStep],
        inputs: Sequence[str],
        outputs: Sequence[str],
        places: Mapping[str, tuple[str, ...]],
        constants: Mapping[str, str],
        numbers: Mapping[str, tuple[int, float]],
        wide: bool,
    ) -> None:
        super().__init__()
        self.steps, self.inputs, self.outputs = tuple(steps), tuple(inputs), tuple(outputs)
        self.places, self.constants, self.numbers = dict(places), dict(constants), dict(numbers)
        self.wide = wide
        self.last = last_uses(self.steps, self.outputs)

    def forward(self, *inputs: Tensor) -> Any:
        """Compute the outputs of the graph: a tensor, or a tuple if there are several."""
        if len(inputs) != len(self.inputs):
            raise ArchitectureError(f"takes {len(self.inputs)} inputs, but got {len(inputs)}")
        values: dict[str, Any] = dict(zip(self.inputs, inputs, strict=True))
        values |= {name: self._buffers[own] for name, own in self.constants.items()}
        values |= {name: self.weight(place) for name, place in self.places.items()}
        wide = next((each.dtype for each in self.parameters()), None) if self.wide else None
        for step, gone in zip(self.steps, self.last, strict=True):
            found = compute(step, self.arguments(step, values), wide)
            values.update(zip(step[2], found, strict=False))
            for name in gone:
                values.pop(name, None)
        results = tuple(value_of(values, name) for name in self.outputs)
        return results[0] if len(results) == 1 else results

    def arguments(self, step: PlainStep, values: Mapping[str, Any]) -> list[Any]:
        """Return the arguments of an operation. A constant of one element becomes a number if possible."""
        op, names, _, _ = step
        found = [value_of(values, name) if name else None for name in names]
        if op in NUMBERS and len(found) == 2 and not all(name in self.numbers for name in names):
            for at, name in enumerate(names):
                axes, number = self.numbers.get(name, (0, None))
                other: Any = found[1 - at]
                if number is not None and other is not None and axes <= other.ndim:
                    found[at] = number
        return found

    def weight(self, place: Sequence[str]) -> Tensor:
        """Return the weight at a path. The words of the path may be the names of any attributes."""
        owner: Any = self
        for word in place[:-1]:
            owner = owner._modules[word]
        found = owner._parameters.get(place[-1])
        return owner._buffers[place[-1]] if found is None else found


def compute(step: PlainStep, inputs: Sequence[Any], wide: torch.dtype | None) -> Sequence[Tensor]:
    """Compute an operation.

    Args:
        step: the operation.
        inputs: its inputs, with None for an input that is not given.
        wide: the type in which to compute where the graph says float32; None for float32.
    """
    found = OPERATIONS[step[0]](inputs, {**step[3], "wide": wide})
    return (found,) if isinstance(found, Tensor) else found


def value_of(values: Mapping[str, Any], name: str) -> Any:
    """Return a value that an earlier step has computed.

    Raises:
        ArchitectureError: the step has computed only its other outputs.
    """
    if name not in values:
        raise ArchitectureError(f"{name[:80]!r} is not computed")
    return values[name]


def last_uses(steps: Sequence[PlainStep], outputs: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the names of the values that no later step reads, for each step."""
    seen, found = set(outputs), []
    for _, inputs, own, _ in reversed(steps):
        gone = {*inputs, *own} - seen - {""}
        seen |= gone
        found.append(tuple(sorted(gone)))
    return tuple(reversed(found))
