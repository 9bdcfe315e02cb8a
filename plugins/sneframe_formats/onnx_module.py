"""Compute the graph of an ONNX model as a torch module. Its parameters are the weights of the model."""

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

NUMBERS = ("Add", "Sub", "Mul", "Div", "Pow")  #: operations that also accept a number instead of a tensor


@final
class OnnxModule(nn.Module):
    """Computes a graph by torch functions.

    Args:
        steps: the operations, in an order in which they can be computed.
        inputs: the names of the inputs.
        outputs: the names of the outputs.
        places: the path of each parameter in the module, by its name in the inputs of the steps.
        constants: the name of each buffer in the module, by its name in the inputs of the steps.
        numbers: the number of axes and the value of each constant that has a single element.
        wide: whether float32 in the graph stands for the type of the parameters. With True, a module that is
            converted to float64 computes in float64.
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
        """Return the output of the graph, or a tuple if the graph has several outputs."""
        if len(inputs) != len(self.inputs):
            raise ArchitectureError(f"the network takes {len(self.inputs)} inputs, but got {len(inputs)}")
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
        """Return the arguments of an operation. If possible, a constant with a single element is a number."""
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
        """Return the weight at a path. A word of the path may equal the name of an attribute of a module."""
        owner: Any = self
        for word in place[:-1]:
            owner = owner._modules[word]
        found = owner._parameters.get(place[-1])
        return owner._buffers[place[-1]] if found is None else found


def compute(step: PlainStep, inputs: Sequence[Any], wide: torch.dtype | None) -> Sequence[Tensor]:
    """Compute an operation.

    Args:
        step: the operation.
        inputs: the inputs of the operation, with None for an input that is not given.
        wide: the type for which float32 in the graph stands. None is float32.
    """
    found = OPERATIONS[step[0]](inputs, {**step[3], "wide": wide})
    return (found,) if isinstance(found, Tensor) else found


def value_of(values: Mapping[str, Any], name: str) -> Any:
    """Return the value with a name.

    Raises:
        ArchitectureError: no earlier step has computed the value.
    """
    if name not in values:
        raise ArchitectureError(f"no operation has computed {name[:80]!r}")
    return values[name]


def last_uses(steps: Sequence[PlainStep], outputs: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the names of the values that are no longer needed after each step. Outputs stay needed."""
    seen, found = set(outputs), []
    for _, inputs, own, _ in reversed(steps):
        gone = {*inputs, *own} - seen - {""}
        seen |= gone
        found.append(tuple(sorted(gone)))
    return tuple(reversed(found))
