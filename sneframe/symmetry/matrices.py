"""Mix the neurons of groups by invertible matrices.

Between two linear maps without a bias or an activation, as in a low-rank update B A, the neurons can be mixed
by any invertible matrix G: G A and B G⁻¹ have the same product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor

from sneframe.architecture import Architecture, Parameter
from sneframe.rng import mix, uniform


@frozen(kw_only=True)
class MixedSegment:
    """A segment of an axis of a parameter whose neurons a matrix mixes.

    Args:
        group: name of the group of the segment.
        axis: number of the axis.
        start: position along the axis at which the segment begins.
        size: number of neurons.
        power: 1 if the weights are multiplied by G, and −1 if by G⁻ᵀ.
    """

    group: str
    axis: int
    start: int
    size: int
    power: int


def mixed_segments(parameter: Parameter, sizes: Mapping[str, int]) -> Iterator[MixedSegment]:
    """Yield the segments of a parameter whose power of ``linear`` is not 0.

    Args:
        parameter: the parameter.
        sizes: the sizes of the groups of its architecture, by name.
    """
    for number, (axis, powers) in enumerate(zip(parameter.axes, parameter.linear, strict=False)):
        start = 0
        for segment, power in zip(axis, powers, strict=True):
            size = math.prod(sizes[factor] if isinstance(factor, str) else factor for factor in segment)
            if power:
                group = str(segment[0])  # such a segment is a single group
                yield MixedSegment(group=group, axis=number, start=start, size=size, power=power)
            start += size


def mixed(weights: Tensor, architecture: Architecture, matrices: Mapping[str, Tensor]) -> Tensor:
    """Return the weights ``(B, P)`` with the neurons of some groups mixed. ``weights`` is not changed.

    Args:
        weights: the weights of the networks.
        architecture: their architecture.
        matrices: the matrices G ``(B, n, n)`` by name of the group.
    """
    result = weights.clone()
    sizes = {group.name: group.size for group in architecture.groups}
    inverses = {name: torch.linalg.inv(value.double()).to(value.dtype) for name, value in matrices.items()}
    for parameter, offset in zip(architecture.parameters, architecture.offsets, strict=True):
        view = result[:, offset : offset + parameter.size].unflatten(1, parameter.shape or (1,))
        for each in mixed_segments(parameter, sizes):
            if each.group not in matrices:
                continue
            # Along the axis lie columns x. As rows, G x is xᵀ Gᵀ, and G⁻ᵀ x is xᵀ G⁻¹.
            right = matrices[each.group].mT if each.power == 1 else inverses[each.group]
            along = view.narrow(each.axis + 1, each.start, each.size).movedim(each.axis + 1, -1)
            rows = along.reshape(len(along), -1, each.size)
            along.copy_((rows @ right.to(rows.dtype)).reshape(along.shape))
    return result


def moves_any(parameter: Parameter, architecture: Architecture, matrices: Mapping[str, Tensor]) -> bool:
    """Return whether a matrix other than the identity acts on a parameter."""
    sizes = {group.name: group.size for group in architecture.groups}
    acting = [matrices[each.group] for each in mixed_segments(parameter, sizes) if each.group in matrices]
    return any(not torch.equal(each, torch.eye(each.shape[-1]).to(each).expand_as(each)) for each in acting)


def invertible(keys: Tensor) -> Tensor:
    """Return random matrices ``(B, n, n)``, float64: a rotation, factors between 1/2 and 2, another rotation.

    Args:
        keys: hashed numbers ``(B, n)``, one for each neuron.
    """
    columns = torch.arange(keys.shape[1], device=keys.device)

    def rotation(word: int) -> Tensor:
        entries = uniform(mix(rearrange(mix(keys, word), "b n -> b n 1"), columns))
        return torch.linalg.qr(2 * entries - 1).Q

    factors = torch.exp2(2 * uniform(mix(keys, 1)) - 1)
    return rotation(3) @ (rearrange(factors, "b n -> b n 1") * rotation(4))
