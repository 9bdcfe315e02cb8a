"""Draw group elements and apply them to a batch: a permutation per network, without a loop over networks.

An element is drawn by hashing (seed, step, network id, group, neuron), so it does not depend on who shares the
batch, on the number of processes or on the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor

from sneframe.architecture import Architecture, Axis
from sneframe.batch import Batch


@frozen(kw_only=True, eq=False)
class Element:
    """One group element per network of one architecture.

    Args:
        architecture: whose groups act.
        permutations: by group ``(B, n)``, or ``(B, m, n)`` for a group nested in one of size m; entry ``[b, i]`` is
            the neuron that moves to place i.
    """

    architecture: Architecture
    permutations: Mapping[str, Tensor]


def sample(batch: Batch, *, seed: int, step: int) -> tuple[Element, ...]:
    """Draw a uniform permutation for every group of every network.

    Args:
        batch: whose architectures' groups are drawn, and whose ids seed the draw.
        seed: of the run.
        step: of the run: another step draws another element.
    """
    ids = batch.rows(torch.from_numpy(batch.ids).to(batch.device, non_blocking=True))
    return tuple(_draw(n.architecture, i, seed, step) for n, i in zip(batch.networks, ids, strict=True))


def apply(batch: Batch, elements: tuple[Element, ...]) -> Batch:
    """Return g·x: weights ``(B, P)`` of the same shapes, the neurons of every group moved."""
    pairs = zip(batch.networks, elements, strict=True)
    return batch.replace(
        networks.weights.gather(1, _index(element, len(networks))) for networks, element in pairs
    )


def _draw(architecture: Architecture, ids: Tensor, seed: int, step: int) -> Element:
    sizes = {group.name: group.size for group in architecture.groups}
    permutations: dict[str, Tensor] = {}
    for group in architecture.groups:
        outer = sizes[group.parent] if group.parent else 1
        if "permute" in group.actions:
            stream = _mix(_mix(_mix(ids, _word(group.name)), seed), step)
            neurons = torch.arange(outer * group.size, device=ids.device)
            keys = _mix(rearrange(stream, "b -> b 1"), neurons)
            order = rearrange(keys, "b (m n) -> b m n", m=outer).argsort(dim=-1)
        else:
            order = torch.arange(group.size, device=ids.device).expand(len(ids), outer, group.size)
        permutations[group.name] = order if group.parent else order[:, 0]
    return Element(architecture=architecture, permutations=permutations)


def _index(element: Element, size: int) -> Tensor:
    """Return ``(B, P)``: for each weight of g·x its place in the flat weights of x."""
    device = next((p.device for p in element.permutations.values()), torch.device("cpu"))
    parts = []
    for parameter, offset in zip(element.architecture.parameters, element.architecture.offsets, strict=True):
        index = torch.full((1, 1), offset, device=device)
        stride = parameter.size
        for length, axis in zip(parameter.shape, parameter.axes, strict=True):
            stride //= length
            along = _axis_index(axis, element, device) * stride
            index = rearrange(
                rearrange(index, "b p -> b p 1") + rearrange(along, "b n -> b 1 n"), "b p n -> b (p n)"
            )
        parts.append(index.expand(size, -1))
    return torch.cat(parts, dim=1)


def _axis_index(axis: Axis, element: Element, device: torch.device) -> Tensor:
    """Return ``(B or 1, n)``: for each place along an axis the place that moves there."""
    groups = {group.name: group for group in element.architecture.groups}
    segments, start = [], 0
    for segment in axis:
        index = torch.zeros((1, 1), dtype=torch.int64, device=device)
        places: dict[str, Tensor] = {}  # for each position so far, where along an outer group it stands
        for factor in segment:
            if isinstance(factor, int):
                size = factor
                along = torch.arange(size, device=device).expand(1, index.shape[1], size)
            else:
                group, size = groups[factor], groups[factor].size
                order = element.permutations[factor]
                if group.parent is None:
                    along = rearrange(order, "b n -> b 1 n").expand(-1, index.shape[1], -1)
                else:
                    outer = places[group.parent]
                    along = order[:, outer]
            repeated = {
                name: place.repeat_interleave(size, output_size=len(place) * size)
                for name, place in places.items()
            }
            if isinstance(factor, str):
                repeated[factor] = torch.arange(size, device=device).repeat(index.shape[1])
            places = repeated
            index = rearrange(rearrange(index, "b p -> b p 1") * size + along, "b p n -> b (p n)")
        segments.append(index + start)
        start += index.shape[1]
    width = max(s.shape[0] for s in segments)
    return torch.cat([s.expand(width, -1) for s in segments], dim=1)


# -- a counter-based generator: SplitMix64's finaliser (Steele, Lea and Flood 2014) on wrapping int64 ----------


def _mix(state: Tensor, word: Tensor | int) -> Tensor:
    """Hash ``(state, word)`` into 64 well-mixed bits."""
    z = (state ^ word) * _signed(0x9E3779B97F4A7C15) + _signed(0xD1B54A32D192ED03)
    z = (z ^ _shift(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Shift right without the sign: torch's ``>>`` on int64 is arithmetic."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word


def _word(name: str) -> int:
    return _signed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
