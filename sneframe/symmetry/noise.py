"""Decide whether a move of weights changes the outputs of a network by more than rounding noise.

Two measurements are made for each number of the outputs. First the network runs with weights that are changed
by about a rounding error. The change of the number is then called its noise. Then the network runs with
weights that are changed by a thousandth. The change of the number then shows how strongly the number depends
on the weights. Each number is judged by its own noise and its own dependence. So a large number, such as a
masked logit of −1e20, does not hide changes of other numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from attrs import frozen
from torch import Tensor

STEP = 1e-3  #: the relative change of weights by which dependence is measured
ROUNDINGS = 8  #: the relative change of weights by which noise is measured, in units of the type's precision
MARGIN = 32  #: a change larger than the noise by this factor counts as a real change
FLOOR = 1e-12  #: the smallest change that can count as real, as a fraction of the dependence on the weights


@frozen(kw_only=True, eq=False)
class Expected:
    """One output tensor of a network, and the largest change of each of its numbers that counts as noise.

    Args:
        value: the numbers, in float64, or in a type of integers or booleans.
        tolerance: for each number, the largest change that counts as noise. It is infinite if a real change
            could not be recognised.
        size: for each number, the size by which a change is divided to give a relative change.
        sharp: for each number, whether it depends on the weights and a real change would exceed the
            tolerance.
        blurred: for each number, whether it depends on the weights but a real change would be lost in noise.
        repeated: the largest change between two equal runs that is more than a rounding error, as a fraction
            of the largest number.
    """

    value: Tensor
    tolerance: Tensor
    size: Tensor
    sharp: Tensor
    blurred: Tensor
    repeated: float


@frozen(kw_only=True)
class Change:
    """The largest change of the outputs of a network after its weights were moved.

    Args:
        path: the path of the output tensor, such as ``output[0]``.
        size: the change, as a fraction of the size of the number that changed.
        seen: whether the change is more than noise.
    """

    path: str
    size: float
    seen: bool


def expect(
    value: Tensor,
    again: Tensor | None,
    near: Sequence[Tensor | None],
    far: Sequence[Tensor | None],
    eps: float,
) -> Expected:
    """Measure the tolerance of each number of an output tensor.

    Args:
        value: the output tensor.
        again: the same output in an equal run, or None if that run did not return the output.
        near: the same output for weights that are changed by the fraction :data:`ROUNDINGS` × ``eps``.
        far: the same output for weights that are changed by the fraction :data:`STEP`.
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
        # An integer must stay the same, unless small changes of the weights alone can change it.
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
    # A number that does not depend on the weights may still be rounded differently. It may come from a ReLU
    # that is barely off. So its noise is assumed to be at least the median noise of the dependent numbers.
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


def compare(expected: Mapping[str, Expected], moved: Mapping[str, Tensor] | None) -> Change:
    """Return the largest change that is more than noise, or the largest change if all changes are noise.

    Args:
        expected: the outputs before the weights were moved, by path.
        moved: the outputs with moved weights, by path, or None if the module failed with the moved weights.
    """
    if moved is None or moved.keys() != expected.keys():
        missing = sorted(expected.keys() ^ moved.keys()) if moved is not None else sorted(expected)
        return Change(path=missing[0], size=float("inf"), seen=True)
    worst = Change(path="", size=0.0, seen=False)
    for path, known in expected.items():
        value = moved[path]
        if value.shape != known.value.shape or value.dtype != known.value.dtype:
            if not bool(known.tolerance.isinf().all()) or known.tolerance.numel() == 0:
                return Change(path=path, size=float("inf"), seen=True)
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
            made = Change(path=path, size=relative, seen=bool(seen.any()))
            worst = max(worst, made, key=lambda each: (each.seen, each.size))
    return worst


def difference(first: Tensor, second: Tensor) -> Tensor:
    """Return the absolute difference of two tensors at each position, in float64.

    For two equal infinities and for two NaNs, the difference is 0. If only one of the two numbers is finite,
    the difference is infinite. For integers and booleans, the difference is 1 where they differ, and else 0.
    """
    if not first.is_floating_point():
        return (first != second).double()
    same = (first == second) | (first.isnan() & second.isnan())
    apart = torch.where(first.isfinite() & second.isfinite(), (first - second).abs(), torch.inf)
    return torch.where(same, 0.0, apart)


def _largest(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).amax(0)
