"""How exactly each number of a network's outputs is known, and whether a move of its weights changes it.

A network is run again with weights that are off by a rounding error or so: what that changes is the noise of a number.
It is run again with weights that are off by a thousandth: what that changes says how strongly the number depends on
the weights. Each number is judged by its own noise and its own dependence. So one that is large, such as a masked logit
of −1e20, hides no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from attrs import frozen
from torch import Tensor

STEP = 1e-3  #: the relative change of weights by which dependence is measured
ROUNDINGS = 8  #: the relative change of weights by which noise is measured, in units of the type's precision
MARGIN = 32  #: a change is no noise if it is so many times larger
FLOOR = 1e-12  #: of a number's dependence on its weights: no smaller change is looked for


@frozen(kw_only=True, eq=False)
class Expected:
    """One output tensor, and how far each number in it may be off.

    Args:
        value: as it is, in float64, or in a type of integers or booleans.
        tolerance: of each number; infinite where it cannot be told whether it has changed.
        size: of each number: what a relative change refers to.
        sharp: where a number depends on the weights, and a change of it would be seen.
        blurred: where a number depends on the weights, and a change of it would be lost in noise.
        repeated: the largest change between two equal runs that is no rounding error, as a fraction of the largest number.
    """

    value: Tensor
    tolerance: Tensor
    size: Tensor
    sharp: Tensor
    blurred: Tensor
    repeated: float


@frozen(kw_only=True)
class Change:
    """The largest change of a network's outputs.

    Args:
        place: of the output.
        size: as a fraction of the number's size.
        seen: whether it is more than noise.
    """

    place: str
    size: float
    seen: bool


def expect(
    value: Tensor,
    again: Tensor | None,
    near: Sequence[Tensor | None],
    far: Sequence[Tensor | None],
    eps: float,
) -> Expected:
    """Measure how exactly a tensor is known.

    Args:
        value: what is expected.
        again: the same of an equal run.
        near: the same of weights that differ by :data:`ROUNDINGS` × ``eps`` of their size.
        far: the same of weights that differ by :data:`STEP` of their size.
        eps: the relative precision of the numbers that the network computes with.
    """
    others = [
        other
        for other in (again, *near, *far)
        if other is not None and other.shape == value.shape and other.dtype == value.dtype
    ]
    if len(others) < 1 + len(near) + len(far):
        everywhere = torch.ones(value.shape, dtype=torch.bool)
        unknown = torch.full(value.shape, torch.inf, dtype=torch.float64)
        return Expected(
            value=value,
            tolerance=unknown,
            size=torch.ones_like(unknown),
            sharp=~everywhere,
            blurred=everywhere,
            repeated=float("inf"),
        )
    nowhere = torch.zeros(value.shape, dtype=torch.bool)
    changes = [difference(value, other) for other in others]
    repeated, noise, response = (
        changes[0],
        _largest(changes[: 1 + len(near)]),
        _largest(changes[1 + len(near) :]),
    )
    if not value.is_floating_point():
        # A number that jumps says nothing while it may jump of itself, and must be the same otherwise.
        stable = (noise == 0) & (response == 0)
        return Expected(
            value=value,
            tolerance=torch.where(stable, 0.0, torch.inf),
            size=torch.ones(value.shape, dtype=torch.float64),
            sharp=nowhere,
            blurred=nowhere,
            repeated=float(repeated.mean()) if value.numel() else 0.0,
        )
    scale = torch.where(value.isfinite(), value.abs(), 0.0)
    dependence = response / STEP
    active = value.isfinite() & (response > 64 * eps * scale)
    rounding = ROUNDINGS * eps * scale
    tolerance = _largest([MARGIN * noise, max(FLOOR, MARGIN * ROUNDINGS * eps) * dependence, rounding])
    # A number that does not depend on the weights may be rounded in another way. A neuron that is off may be barely
    # off, so it is as noisy as its neighbours.
    least = MARGIN * float(noise[active].median()) if active.any() else 0.0
    still = torch.maximum(MARGIN * noise, rounding).clamp(min=least)
    tolerance = torch.where(active, tolerance, torch.where(value.isfinite(), still, 0.0))
    size = torch.maximum(scale, torch.where(dependence.isfinite(), dependence, 0.0))
    sharp = active & (tolerance <= response) & response.isfinite()
    largest = float(scale.max()) if value.numel() else 0.0
    other = repeated[repeated > MARGIN * rounding]
    return Expected(
        value=value,
        tolerance=tolerance,
        size=size,
        sharp=sharp,
        blurred=active & ~sharp,
        repeated=float(other.max()) / (largest or 1.0) if other.numel() else 0.0,
    )


def compare(expected: Mapping[str, Expected], found: Mapping[str, Tensor] | None) -> Change:
    """Return the largest change that is more than noise, or the largest of all where none is.

    Args:
        expected: the outputs by place.
        found: the outputs with moved weights; None if the module failed on these.
    """
    if found is None or found.keys() != expected.keys():
        missing = sorted(expected.keys() ^ found.keys()) if found is not None else sorted(expected)
        return Change(place=missing[0], size=float("inf"), seen=True)
    worst = Change(place="", size=0.0, seen=False)
    for place, known in expected.items():
        value = found[place]
        if value.shape != known.value.shape or value.dtype != known.value.dtype:
            if not bool(known.tolerance.isinf().all()) or known.tolerance.numel() == 0:
                return Change(place=place, size=float("inf"), seen=True)
            continue
        if not value.numel():
            continue
        change = difference(known.value, value)
        seen = change > known.tolerance
        size = known.size
        if value.is_floating_point():
            size = torch.where(size > 0, size, torch.where(value.isfinite(), value.abs(), 0.0))
        counted = seen if seen.any() else known.sharp & (known.size > 0)
        if counted.any():
            relative = float((change[counted] / size[counted].clamp(min=1e-300)).max())
            made = Change(place=place, size=relative, seen=bool(seen.any()))
            worst = max(worst, made, key=lambda each: (each.seen, each.size))
    return worst


def difference(first: Tensor, second: Tensor) -> Tensor:
    """Return how far numbers are apart, in float64: 0 where both are the same infinity or no number, else infinite."""
    if not first.is_floating_point():
        return (first != second).double()
    same = (first == second) | (first.isnan() & second.isnan())
    apart = torch.where(first.isfinite() & second.isfinite(), (first - second).abs(), torch.inf)
    return torch.where(same, 0.0, apart)


def _largest(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).amax(0)
