"""Draw random weights, buffers and inputs for which a wrong move of the weights changes the outputs visibly.

Example: if the drawn weights of a deep ReLU network are too small, all its outputs are zero, and a wrong move
of the weights would change nothing. Such a draw is rejected, and the next scale of weights is tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product

import torch
from attrs import frozen
from torch import Tensor

from sneframe.symmetry.noise import ROUNDINGS, STEP, Expected, expect
from sneframe.symmetry.twin import Inputs, Outputs, Twin

#: Pairs (gain, shift). Weights are drawn with variance gain² / (number of inputs), and biases with standard
#: deviation ``shift``. At a small gain, the outputs of a deep network may not depend on its first layers. At
#: a large gain, the network may be chaotic. So several pairs are tried.
LEVELS = ((1.0, 1.0), (2.0, 0.3), (12.0, 0.1), (0.3, 1.0), (0.1, 1.0), (0.03, 1.0))
FIRST = 3  #: the number of levels with which trials start: trial i starts with level i modulo this number
GIVEN = None  #: used in place of a level: the weights of the module itself, plus noise
#: Endings of the names of vectors that multiply, such as the weight of a normalisation layer. Such a vector
#: is drawn with standard deviation 1.
MULTIPLIERS = ("weight", "gamma", "scale")


@frozen(kw_only=True, eq=False)
class Trial:
    """A network with randomly drawn weights, and the outputs that it returns.

    Args:
        state: the values of all parameters and persistent buffers, by name.
        inputs: the inputs on which the network was run.
        seed: the seed of the random numbers that the network draws as it runs.
        outputs: the outputs with their tolerances, by path.
    """

    state: Mapping[str, Tensor]
    inputs: Inputs
    seed: int
    outputs: Mapping[str, Expected]

    @property
    def repeated(self) -> float:
        """The largest relative change of an output between two equal runs."""
        return max((known.repeated for known in self.outputs.values()), default=0.0)

    @property
    def sharp(self) -> int:
        """Number of numbers in the outputs that would show a wrong move of the weights."""
        return sum(int(known.sharp.sum()) for known in self.outputs.values())

    @property
    def tolerance(self) -> float:
        """The largest tolerance of a sharp number of the outputs, as a fraction of the size of the number."""
        known = [output for output in self.outputs.values() if output.sharp.any()]
        return max((float((o.tolerance / o.size)[o.sharp].max()) for o in known), default=0.0)

    def influence(self, twin: Twin, generator: torch.Generator) -> dict[str, float] | None:
        """Return by name how much the outputs depend on each parameter and buffer, in units of the tolerance.

        The result is None if the module cannot be differentiated.
        """
        factors = {}
        for path, known in self.outputs.items():
            if known.sharp.any() and known.value.is_floating_point():
                signs = torch.where(torch.rand(known.value.shape, generator=generator) < 0.5, -1.0, 1.0)
                factors[path] = torch.where(known.sharp, signs / known.tolerance, 0.0)
        influence = twin.influence(self.state, self.inputs, self.seed, factors)
        if influence is None:
            return None
        return {name: value / self.sharp**0.5 for name, value in influence.items()}

    def fault(self, twin: Twin) -> str | None:
        """Return the reason why a wrong move of weights might go unnoticed, or None without such a reason."""
        if self.repeated:
            return (
                f"the outputs of {twin.name} differ by {self.repeated:.2g} of their size "
                f"between two equal runs"
            )
        kind, eps = str(twin.precision).removeprefix("torch."), torch.finfo(twin.precision).eps
        for path, known in self.outputs.items():
            blurred, sharp = int(known.blurred.sum()), int(known.sharp.sum())
            if blurred > sharp or (known.value.is_floating_point() and ROUNDINGS * eps > STEP):
                return (
                    f"{twin.name} computes in {kind}, and rounding alone changes {path} so much that "
                    f"a wrong move of its weights might not be seen"
                )
            value = known.value
            if value.is_floating_point() and value.numel() and bool(value.isnan().all()):
                return f"{path} of {twin.name} is NaN at random weights"
        if not self.sharp:
            return (
                f"{twin.name} has no floating-point output that is finite, not zero, "
                f"and dependent on its weights"
            )
        return None


def trial(twin: Twin, number: int, seed: int) -> Trial | str:
    """Draw a trial in which a wrong move of weights would be seen.

    Trial 0 uses the buffers of the module and the example input as they are. Later trials vary both, if the
    module still runs. If no draw is suitable, the reason is returned as text instead of a trial.

    Args:
        twin: the copy of the module to run.
        number: the number of the trial.
        seed: the seed of the draws.
    """
    generator = torch.Generator().manual_seed(1000 * seed + number)
    fault = f"{twin.name} fails on random weights"
    for inputs, buffers in _surroundings(twin, number, generator):
        first = number % FIRST
        for level in (*LEVELS[first:FIRST], *LEVELS[:first], *LEVELS[FIRST:], GIVEN):
            state = {**weights(twin.state, level, generator), **buffers}
            made = _measured(twin, state, inputs, seed + number, generator)
            if made is None:
                continue
            reason = made.fault(twin)
            if reason is None:
                return made
            fault = reason
            if made.repeated:
                return fault
    return fault


def outputs(twin: Twin, state: Mapping[str, Tensor], inputs: Inputs, seed: int) -> Outputs | None:
    """Run a module and return its outputs, or None if its forward raises an error."""
    try:
        return twin.run(state, inputs, seed)
    except Exception:  # noqa: BLE001  # a forward may raise anything
        return None


def _measured(
    twin: Twin, state: Mapping[str, Tensor], inputs: Inputs, seed: int, generator: torch.Generator
) -> Trial | None:
    """Run a module several times, and measure the tolerances of its outputs.

    It runs with the weights of ``state`` and with weights that differ slightly. The result is None if the
    module fails with the weights of ``state``.
    """
    values = outputs(twin, state, inputs, seed)
    if values is None:
        return None
    eps = torch.finfo(twin.precision).eps

    def other(step: float) -> Outputs:
        return outputs(twin, _off(state, step, generator), inputs, seed) or {}

    again = outputs(twin, state, inputs, seed) or {}
    near = [other(ROUNDINGS * eps) for _ in range(2)]
    far = [other(STEP) for _ in range(2)]
    expected = {
        path: expect(value, again.get(path), [o.get(path) for o in near], [o.get(path) for o in far], eps)
        for path, value in values.items()
    }
    return Trial(state=state, inputs=inputs, seed=seed, outputs=expected)


def _off(state: Mapping[str, Tensor], step: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Change weights at random by about the fraction ``step`` of their size, and return the result."""
    return {
        name: value * (1 + step * _normal(value, generator)) if value.is_floating_point() else value
        for name, value in state.items()
    }


# -- weights -------------------------------------------------------------------------------------------------


def weights(
    given: Mapping[str, Tensor], level: tuple[float, float] | None, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw random values for the floating-point tensors of a state.

    Args:
        given: the state of the module.
        level: gain and shift, see :data:`LEVELS`. :data:`GIVEN` returns the values of ``given`` plus noise,
            which has half the standard deviation of the values.
        generator: the source of random numbers, on the CPU.
    """
    drawn = {}
    for name, value in given.items():
        if not value.is_floating_point():
            continue
        normal = _normal(value, generator)
        last = name.rpartition(".")[2]
        if level is None:
            spread = float((value - value.mean()).square().mean().sqrt()) if value.numel() else 0.0
            normal = value + 0.5 * (spread or 0.3) * normal
            normal = normal.abs() + 0.1 if last == "running_var" else normal
        elif last == "running_var":
            normal = normal.square() + 0.5
        elif value.ndim > 1:
            normal = level[0] * normal / max(1, math.prod(value.shape[1:])) ** 0.5
        elif not last.endswith(MULTIPLIERS):
            normal = level[1] * normal
        drawn[name] = normal.to(value.dtype)
    return drawn


def _normal(value: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers in the shape of ``value``."""
    return torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.device)


# -- buffers and inputs --------------------------------------------------------------------------------------


def _surroundings(
    twin: Twin, number: int, generator: torch.Generator
) -> Iterator[tuple[Inputs, Mapping[str, Tensor]]]:
    """Yield pairs of inputs and buffers with which the module runs.

    The first pair varies as many of them as possible. The last pair is the unchanged inputs and buffers.
    """
    if number:
        inputs = [_redrawn, _shuffled] if number % 2 else [_shuffled, _redrawn]
        whole = any(value.is_floating_point() and value.numel() for value in twin.inputs.tensors)
        own = {n: v for n, v in twin.state.items() if not v.is_floating_point() and v.ndim and v.numel() > 1}
        ways: list[Callable[..., Tensor] | None] = [*(inputs if whole else []), None]
        changes: list[Callable[..., Tensor] | None] = [*([_flipped, _shuffled] if own else []), None]
        for change, way in product(changes, ways):
            if change is None and way is None:
                break
            varied = twin.inputs.map(lambda v, way=way: _varied(v, way, generator)) if way else twin.inputs
            buffers = {n: change(v, generator) for n, v in own.items()} if change else {}
            if _runs(twin, varied, buffers, number, generator):
                yield varied, buffers
                break
    yield twin.inputs, {}


def _runs(
    twin: Twin, inputs: Inputs, buffers: Mapping[str, Tensor], number: int, generator: torch.Generator
) -> bool:
    """Return whether the module runs with varied inputs and buffers.

    The outputs must have the same shapes as for the inputs and buffers of the twin, and not more NaN.
    """
    for level in (LEVELS[number % FIRST], GIVEN):
        state = weights(twin.state, level, generator)
        known = outputs(twin, state, twin.inputs, 0)
        varied = outputs(twin, {**state, **buffers}, inputs, 0)
        if known is not None and varied is not None and varied.keys() == known.keys():
            pairs = [(known[path], varied[path]) for path in known]
            if all(a.shape == b.shape and int(b.isnan().sum()) <= int(a.isnan().sum()) for a, b in pairs):
                return True
    return False


def _varied(value: Tensor, way: Callable[..., Tensor], generator: torch.Generator) -> Tensor:
    """Vary a floating-point tensor by the function ``way``. Any other tensor is returned unchanged."""
    return way(value, generator) if value.is_floating_point() and value.numel() else value


def _redrawn(value: Tensor, generator: torch.Generator) -> Tensor:
    """Draw normal numbers with the mean and the standard deviation of a tensor.

    If the standard deviation of the tensor is 0, the standard deviation of the result is 1.
    """
    spread = float((value - value.mean()).square().mean().sqrt()) or 1.0
    return (float(value.mean()) + spread * _normal(value, generator)).to(value.dtype)


def _shuffled(value: Tensor, generator: torch.Generator) -> Tensor:
    """Return the values of a tensor in random order."""
    order = torch.randperm(value.numel(), generator=generator).to(value.device)
    return value.flatten()[order].view(value.shape)


def _flipped(value: Tensor, generator: torch.Generator) -> Tensor:
    """Draw random booleans for a tensor of booleans. The values of any other tensor are shuffled."""
    if value.dtype != torch.bool:
        return _shuffled(value, generator)
    return (torch.rand(value.shape, generator=generator) < 0.5).to(value.device)
