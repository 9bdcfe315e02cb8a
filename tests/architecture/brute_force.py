"""Group elements applied weight by weight, in plain loops: what claims of symmetry are held against.

Nothing here uses :mod:`sneframe.symmetry`, so that a fault there cannot hide one in a description.
"""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture, NeuronGroup, Parameter

TOLERANCE = 1e-6  #: of the standard deviation of an output, in float64: a true group leaves about 1e-13


def false_claims(
    module: nn.Module, architecture: Architecture, example: Tensor, *, seed: int = 0, draws: int = 2
) -> dict[tuple[str, str], float]:
    """Return the groups and actions that change what a module computes, with the change, at each of several draws.

    Each group is moved alone, by elements that are not the identity, at random weights.
    """
    twin, example = copy.deepcopy(module).double().eval(), example.double()
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str], float] = {}
    claims = [(group, action) for group in architecture.groups for action in group.actions]
    for draw in range(draws):
        _randomise(twin, seed + draw)
        expected = _output(twin, example)
        if not bool(expected.isfinite().all()):
            continue
        own = {name: value.clone() for name, value in twin.state_dict().items()}
        # An output that hardly depends on the weights, such as a sum of what was centred, shows rounding alone.
        size = max(float((expected - expected.mean()).abs().mean()), 1e-3 * float(expected.abs().max()), 1e-3)
        noise = _noise(twin, own, expected, example, seed)
        for group, action in claims:
            for _ in range(2):
                moved = move(architecture, group, action, own, rng)
                twin.load_state_dict({**own, **moved})
                change = float((_output(twin, example) - expected).abs().max()) / size
                if not change <= TOLERANCE + 10 * noise / size:
                    key = (group.name, action)
                    found[key] = max(found.get(key, 0.0), change)
            twin.load_state_dict(own)
    return found


def move(
    architecture: Architecture,
    group: NeuronGroup,
    action: str,
    own: dict[str, Tensor],
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Return the parameters of a network, one group moved by one action: permute, scale or sign."""
    sizes = {each.name: each.size for each in architecture.groups}
    outer = sizes.get(group.parent or "", 1)
    orders = [_derangement(group.size, rng) for _ in range(outer)]
    scales = 2 ** rng.uniform(0.3, 1, group.size)
    signs = np.where(np.arange(group.size) == rng.integers(group.size), -1.0, 1.0)
    found = {}
    for parameter in architecture.parameters:
        if not any(group.name in segment for axis in parameter.axes for segment in axis):
            continue
        value = own[parameter.name].view(parameter.shape).clone()
        if action == "permute":
            value = _permuted(parameter, group, orders, sizes, value)
        else:
            factors = scales if action == "scale" else signs
            value = value * _factors(parameter, group, action, factors, sizes)
        found[parameter.name] = value
    return found


def _noise(module: nn.Module, own: dict[str, Tensor], expected: Tensor, example: Tensor, seed: int) -> float:
    """Return what rounding does to the output: much where a value lies on the step of a function with steps."""
    generator = torch.Generator().manual_seed(seed)
    found = 0.0
    for _ in range(3):
        near = {
            name: value * (1 + 1e-13 * torch.randn(value.shape, generator=generator, dtype=torch.float64))
            if value.is_floating_point()
            else value
            for name, value in own.items()
        }
        module.load_state_dict(near)
        found = max(found, float((_output(module, example) - expected).abs().max()))
    module.load_state_dict(own)
    return found


def _derangement(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation that moves every place: a cycle through all of them in a random order."""
    order = rng.permutation(size)
    found = np.empty(size, np.int64)
    found[order] = np.roll(order, 1)
    return found


def _places(axis: tuple, sizes: dict[str, int]) -> list[dict[str | int, int]]:
    """Return for each place along an axis where it stands: its segment, and its digit along each factor."""
    found: list[dict] = []
    for number, segment in enumerate(axis):
        ranges = [range(sizes[f] if isinstance(f, str) else f) for f in segment]
        found += [{"segment": number, "digits": digits} for digits in itertools.product(*ranges)]
    return found


def _permuted(
    parameter: Parameter, group: NeuronGroup, orders: list[np.ndarray], sizes: dict[str, int], value: Tensor
) -> Tensor:
    """Return the parameter with the neuron at place ``orders[m][i]`` moved to place i, in each outer element m."""
    tables = [_places(axis, sizes) for axis in parameter.axes]
    inverse = [{(p["segment"], p["digits"]): n for n, p in enumerate(table)} for table in tables]
    moved = torch.empty_like(value)
    for index in itertools.product(*(range(n) for n in parameter.shape)):
        spots = [table[n] for table, n in zip(tables, index, strict=True)]
        elsewhere = [
            spot["digits"][axis[spot["segment"]].index(group.parent)]
            for axis, spot in zip(parameter.axes, spots, strict=True)
            if group.parent in axis[spot["segment"]]
        ]
        source = []
        for axis, spot, back in zip(parameter.axes, spots, inverse, strict=True):
            segment, digits = axis[spot["segment"]], list(spot["digits"])
            # A neuron within a head is in the head that stands before it on its own axis, or else on another one.
            before = segment.index(group.parent) if group.parent in segment else None
            outer = digits[before] if before is not None else (elsewhere or [0])[0]
            moved_digits = (
                int(orders[outer][d]) if f == group.name else d for f, d in zip(segment, digits, strict=True)
            )
            source.append(back[spot["segment"], tuple(moved_digits)])
        moved[index] = value[tuple(source)]
    return moved


def _factors(
    parameter: Parameter, group: NeuronGroup, action: str, factors: np.ndarray, sizes: dict[str, int]
) -> Tensor:
    powers = parameter.scale if action == "scale" else parameter.sign
    found = torch.ones(parameter.shape, dtype=torch.float64)
    for number, (axis, row) in enumerate(zip(parameter.axes, powers, strict=False)):
        along = []
        for spot in _places(axis, sizes):
            segment, power = axis[spot["segment"]], row[spot["segment"]]
            own = [
                factors[d] ** power for f, d in zip(segment, spot["digits"], strict=True) if f == group.name
            ]
            along.append(float(np.prod(own)))
        shape = [1] * len(parameter.shape)
        shape[number] = -1
        found = found * torch.tensor(along, dtype=torch.float64).view(shape)
    return found


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
