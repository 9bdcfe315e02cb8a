"""Apply group elements weight by weight, in plain loops, to check claims of symmetry independently.

Nothing here uses :mod:`sneframe.symmetry`, so that a fault there cannot hide one in an architecture.
"""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture, NeuronGroup, Parameter

#: Largest change by a true group, as a fraction of the spread of the outputs; in float64 it is about 1e-13.
TOLERANCE = 1e-6


def false_claims(
    module: nn.Module, architecture: Architecture, example: Tensor, *, seed: int = 0, draws: int = 2
) -> dict[tuple[str, str], float]:
    """Return the groups and actions that change the outputs of a module, with the largest change.

    Each group is moved alone, by elements other than the identity, for several draws of weights.
    """
    twin, example = copy.deepcopy(module).double().eval(), example.double()
    rng = np.random.default_rng(seed)
    result: dict[tuple[str, str], float] = {}
    claims = [(group, action) for group in architecture.groups for action in group.actions]
    for draw in range(draws):
        _randomise(twin, seed + draw)
        expected = _output(twin, example)
        if not bool(expected.isfinite().all()):
            continue
        own = {name: value.clone() for name, value in twin.state_dict().items()}
        # An output that hardly depends on the weights, such as a sum of centred numbers, only shows rounding.
        size = max(float((expected - expected.mean()).abs().mean()), 1e-3 * float(expected.abs().max()), 1e-3)
        noise = _noise(twin, own, expected, example, seed)
        for group, action in claims:
            for _ in range(2):
                moved = move(architecture, group, action, own, rng)
                twin.load_state_dict({**own, **moved})
                change = float((_output(twin, example) - expected).abs().max()) / size
                if not change <= TOLERANCE + 10 * noise / size:
                    key = (group.name, action)
                    result[key] = max(result.get(key, 0.0), change)
            twin.load_state_dict(own)
    return result


def move(
    architecture: Architecture,
    group: NeuronGroup,
    action: str,
    own: dict[str, Tensor],
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Return the parameters that change when one group is moved by one action: permute, scale or sign."""
    sizes = {each.name: each.size for each in architecture.groups}
    outer = sizes.get(group.parent or "", 1)
    orders = [_derangement(group.size, rng) for _ in range(outer)]
    scales = 2 ** rng.uniform(0.3, 1, group.size)
    signs = np.where(np.arange(group.size) == rng.integers(group.size), -1.0, 1.0)
    result = {}
    for parameter in architecture.parameters:
        if not any(group.name in segment for axis in parameter.axes for segment in axis):
            continue
        value = own[parameter.name].view(parameter.shape).clone()
        if action == "permute":
            value = _permuted(parameter, group, orders, sizes, value)
        else:
            factors = scales if action == "scale" else signs
            value = value * _factors(parameter, group, action, factors, sizes)
        result[parameter.name] = value
    return result


def _noise(module: nn.Module, own: dict[str, Tensor], expected: Tensor, example: Tensor, seed: int) -> float:
    """Return how much rounding changes the output: a lot if a value lies on the step of a step function."""
    generator = torch.Generator().manual_seed(seed)
    result = 0.0
    for _ in range(3):
        near = {
            name: value * (1 + 1e-13 * torch.randn(value.shape, generator=generator, dtype=torch.float64))
            if value.is_floating_point()
            else value
            for name, value in own.items()
        }
        module.load_state_dict(near)
        result = max(result, float((_output(module, example) - expected).abs().max()))
    module.load_state_dict(own)
    return result


def _derangement(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation that moves every index: a cycle through all of them in random order."""
    order = rng.permutation(size)
    result = np.empty(size, np.int64)
    result[order] = np.roll(order, 1)
    return result


def _positions(axis: tuple, sizes: dict[str, int]) -> list[dict[str | int, int]]:
    """Return for each position along an axis its segment, and its digit along each factor of it."""
    result: list[dict] = []
    for number, segment in enumerate(axis):
        ranges = [range(sizes[f] if isinstance(f, str) else f) for f in segment]
        result += [{"segment": number, "digits": digits} for digits in itertools.product(*ranges)]
    return result


def _permuted(
    parameter: Parameter, group: NeuronGroup, orders: list[np.ndarray], sizes: dict[str, int], value: Tensor
) -> Tensor:
    """Return a parameter with neuron ``orders[m][i]`` moved to index i, in each outer element m."""
    tables = [_positions(axis, sizes) for axis in parameter.axes]
    inverse = [{(p["segment"], p["digits"]): n for n, p in enumerate(table)} for table in tables]
    moved = torch.empty_like(value)
    for index in itertools.product(*(range(n) for n in parameter.shape)):
        located = [table[n] for table, n in zip(tables, index, strict=True)]
        elsewhere = [
            position["digits"][axis[position["segment"]].index(group.parent)]
            for axis, position in zip(parameter.axes, located, strict=True)
            if group.parent in axis[position["segment"]]
        ]
        source = []
        for axis, position, back in zip(parameter.axes, located, inverse, strict=True):
            segment, digits = axis[position["segment"]], list(position["digits"])
            # A neuron within a head belongs to the head before it on the same axis, or else on another axis.
            before = segment.index(group.parent) if group.parent in segment else None
            outer = digits[before] if before is not None else (elsewhere or [0])[0]
            moved_digits = (
                int(orders[outer][d]) if f == group.name else d for f, d in zip(segment, digits, strict=True)
            )
            source.append(back[position["segment"], tuple(moved_digits)])
        moved[index] = value[tuple(source)]
    return moved


def _factors(
    parameter: Parameter, group: NeuronGroup, action: str, factors: np.ndarray, sizes: dict[str, int]
) -> Tensor:
    powers = parameter.scale if action == "scale" else parameter.sign
    result = torch.ones(parameter.shape, dtype=torch.float64)
    for number, (axis, row) in enumerate(zip(parameter.axes, powers, strict=False)):
        along = []
        for position in _positions(axis, sizes):
            segment, power = axis[position["segment"]], row[position["segment"]]
            own = [
                factors[d] ** power
                for f, d in zip(segment, position["digits"], strict=True)
                if f == group.name
            ]
            along.append(float(np.prod(own)))
        shape = [1] * len(parameter.shape)
        shape[number] = -1
        result = result * torch.tensor(along, dtype=torch.float64).view(shape)
    return result


@torch.no_grad()
def _randomise(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var"):
                drawn = drawn.square() + 0.5
            elif value.ndim > 1:
                drawn = 1.5 * drawn / value[0].numel() ** 0.5
            value.copy_(drawn)


@torch.no_grad()
def _output(module: nn.Module, example: Tensor) -> Tensor:
    return module(example.clone()).clone()
