"""Verify an architecture by running its network: moved neurons must not change what it computes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from sneframe.architecture import Architecture
from sneframe.architecture.derive import arguments
from sneframe.architecture.description import ACTIONS
from sneframe.batch import Batch, Networks, flatten, join
from sneframe.errors import ArchitectureError
from sneframe.symmetry.act import Element, apply, sample

TOLERANCE = 1e-10  #: of the outputs' size, in float64


@frozen(kw_only=True)
class Verified:
    """What was seen.

    Args:
        error: the largest change of an output, as a fraction of the outputs' size.
        groups: how many groups were moved.
        moved: the fraction of weights that the elements changed, at the last draw.
    """

    error: float
    groups: int
    moved: float


def verify(
    module: nn.Module, architecture: Architecture, example_input: Any, *, draws: int = 3, seed: int = 0
) -> Verified:
    """Check on a copy, in float64 and with every parameter and buffer drawn at random, that a group is a symmetry.

    Args:
        module: left as it is.
        architecture: that is said to describe it.
        example_input: as for :meth:`~sneframe.architecture.Architecture.from_module`.
        draws: how many times weights and elements are drawn.
        seed: of the draws.

    Raises:
        ArchitectureError: names or shapes that are not the module's; a group whose elements move no weight or change
            the output, named with the change.
    """
    twin = copy.deepcopy(module).double().eval()
    state = twin.state_dict()
    for parameter in architecture.parameters:
        if parameter.name not in state or tuple(state[parameter.name].shape) != parameter.shape:
            got = tuple(state[parameter.name].shape) if parameter.name in state else "nothing"
            raise ArchitectureError(
                f"parameter {parameter.name!r} is described as {parameter.shape}, {type(module).__name__} has {got}"
            )
    args, kwargs = tree_map(_double, arguments(example_input))
    names = [group.name for group in architecture.groups]
    still = {group.name for group in architecture.groups if group.size > 1}
    worst, share = 0.0, 0.0
    for draw in range(draws):
        _randomise(twin, seed + draw)
        weights = flatten(architecture, twin.state_dict(), dtype=torch.float64)
        batch = join({architecture: weights[None]}, {architecture: [0]})
        expected = _outputs(twin, args, kwargs)
        size = max(float(value.abs().max()) for value in expected)
        if not 0 < size < float("inf"):
            raise ArchitectureError(f"{type(module).__name__}: its outputs are zero or not finite")
        elements = sample(batch, seed=seed, step=draw, actions=ACTIONS)
        moved = apply(batch, elements)

        change = partial(_change, twin, expected, args, kwargs)
        error = change(moved)
        if not error <= TOLERANCE:
            alone = {name: change(apply(batch, (_only(elements[0], name),))) for name in names}
            worst_name = max(alone, key=lambda name: alone[name], default="")
            raise ArchitectureError(
                f"{architecture.summary}: moving the neurons of group {worst_name!r} changes the outputs of "
                f"{type(module).__name__} by {max(error, alone.get(worst_name, 0)):.2g} of their size: no symmetry"
            )
        still -= {name for name in still if _moves(batch, elements[0], name)}
        worst, share = max(worst, error), float((moved.networks[0].weights != weights).double().mean())
    for draw in range(draws, 64):  # two neurons stay where they are in every second draw
        elements = sample(batch, seed=seed, step=draw, actions=ACTIONS) if still else ()
        still -= {name for name in still if _moves(batch, elements[0], name)}
    if still:
        raise ArchitectureError(
            f"group {min(still)!r} of {architecture.summary}: its elements move no weight"
        )
    return Verified(error=worst, groups=len(names), moved=share)


def _change(
    module: nn.Module, expected: Sequence[Tensor], args: Sequence[Any], kwargs: Any, moved: Batch
) -> float:
    """Return how far the outputs are from what is expected when the weights are moved, as a fraction of their size."""
    _load(module, moved.networks[0])
    pairs = zip(expected, _outputs(module, args, kwargs), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs) / max(float(a.abs().max()) for a in expected)


def _moves(batch: Batch, element: Element, name: str) -> bool:
    moved = apply(batch, (_only(element, name),))
    return not torch.equal(moved.networks[0].weights, batch.networks[0].weights)


def _only(element: Element, name: str) -> Element:
    """Return the part of an element that one group does."""

    def own(values: Any) -> dict[str, Tensor]:
        return {key: value for key, value in values.items() if key == name}

    return Element(
        architecture=element.architecture,
        permutations=own(element.permutations),
        scales=own(element.scales),
        signs=own(element.signs),
    )


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


@torch.no_grad()
def _randomise(module: nn.Module, seed: int) -> None:
    """Draw every floating-point parameter and buffer: weights of unit gain, variances positive."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if name.rpartition(".")[2] == "running_var":
            drawn = drawn.square() + 0.5
        elif value.ndim > 1:
            drawn = drawn / max(1, value[0].numel()) ** 0.5
        value.copy_(drawn)


@torch.no_grad()
def _load(module: nn.Module, networks: Networks) -> None:
    state = module.state_dict()
    for name, value in networks.parameters().items():
        state[name].copy_(value[0].view(state[name].shape))


@torch.no_grad()
def _outputs(module: nn.Module, args: Sequence[Any], kwargs: Any) -> list[Tensor]:
    found = tree_leaves(module(*args, **kwargs))
    return [value.double() for value in found if isinstance(value, Tensor)]
