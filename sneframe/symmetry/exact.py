"""Check that a description computes what its module computes, by running both on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attrs import evolve
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.evaluate import layer_values, obstacle
from sneframe.architecture.evaluate.plan import plan
from sneframe.architecture.trace import input_tensors
from sneframe.batch import flatten
from sneframe.errors import ArchitectureError
from sneframe.symmetry.trial import outputs
from sneframe.symmetry.twin import Inputs, Twin

#: The largest difference, as a fraction of the largest output, for a module that runs in float64, and for a
#: module that does not. Constants of a module, such as rotary positions, may be less precise than float64.
CLOSE, COARSE = 1e-6, 1e-3


def inexactness(architecture: Architecture, twin: Twin, generator: torch.Generator) -> str | None:
    """Return how a description that can be evaluated differs from its module, or None if it does not.

    Both run with the weights of the module and with changed weights, on the example input and on one example
    more, as far as the module accepts them. If no run of the module gives finite outputs, nothing can be
    compared, and the result says so.

    Args:
        architecture: the description.
        twin: a copy of the module.
        generator: draws the changes of the weights.
    """
    if obstacle(architecture) is not None:
        return None
    compared = False
    for state in (twin.state, _changed(architecture, twin, generator)):
        for inputs in (twin.inputs, twin.inputs.map(_with_one_more)):
            found = outputs(twin, state, inputs, 0)
            if (
                found is None
                or not found
                or not all(bool(v.double().isfinite().all()) for v in found.values())
            ):
                continue
            compared = True
            difference = _difference(architecture, twin, state, inputs, [*found.values()])
            if difference is not None:
                return difference
    return None if compared else "its outputs are not finite, so they cannot be compared"


def without_evaluation(architecture: Architecture, reason: str) -> Architecture:
    """Return the architecture with a mark at its outputs, because of which it cannot be evaluated."""
    returned = plan(architecture).outputs
    layers = [
        evolve(layer, attributes={**layer.attributes, "not_recorded": reason})
        if number in returned
        else layer
        for number, layer in enumerate(architecture.layers)
    ]
    return evolve(architecture, layers=layers)


def _changed(architecture: Architecture, twin: Twin, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the state of the twin with changed weights. Positive weights, such as variances, stay so."""
    state = dict(twin.state)
    for parameter in architecture.parameters:
        name = twin.first_name[parameter.name]
        value = twin.state[name]
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
        state[name] = value * (0.2 * noise).exp() if bool((value > 0).all()) else value + 0.1 * noise
    return state


def _with_one_more(value: Tensor) -> Tensor:
    """Return an input with its first example repeated at the end."""
    return torch.cat([value, value[:1]]) if value.ndim and len(value) else value


def _difference(
    architecture: Architecture,
    twin: Twin,
    state: dict[str, Tensor],
    inputs: Inputs,
    expected: Sequence[Tensor],
) -> str | None:
    """Return how the values of a description differ from the outputs of its module, or None."""
    named = {p.name: state[twin.first_name[p.name]] for p in architecture.parameters}
    weights = flatten(architecture, named, dtype=torch.float64)[None]
    given = [
        value.double() if value.is_floating_point() else value
        for value in input_tensors((inputs.args, dict(inputs.kwargs)))
    ]
    try:
        values = layer_values(architecture, weights, tuple(given))
    except ArchitectureError as error:
        return str(error)
    made = [values[number] for number in plan(architecture).outputs]
    close = CLOSE if twin.precision == torch.float64 else COARSE
    for value in (each[0] for each in made if each is not None and each.numel()):
        fits = [each for each in expected if each.shape == value.shape]
        if not fits:
            return f"the module returns nothing of the shape {tuple(value.shape)} of its output"
        size = float(value.abs().max())
        furthest = min(float((value - each.double()).abs().max()) for each in fits)
        if not furthest <= close * max(size, 1e-3):
            return f"its outputs differ by {furthest:.2g}, where the largest is {size:.2g}"
    return None
