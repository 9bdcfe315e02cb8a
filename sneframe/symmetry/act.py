"""Draw group elements and apply them to a batch: one element per network, without a loop over networks.

An element is drawn by hashing (seed, step, network id, group, neuron), so it does not depend on who shares the
batch, on the number of processes or on the device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from attrs import evolve, field, frozen
from einops import rearrange
from torch import Tensor

from sneframe.architecture import Architecture, Axis, Group, Parameter
from sneframe.batch import Batch, Networks


@frozen(kw_only=True, eq=False)
class Element:
    """One group element per network of one architecture.

    (g·x) at place i is what x has at place ``permutations[i]``, times ``scales[i]`` and ``signs[i]`` to the powers that
    the parameter states. A group that a mapping lacks is left alone by it.

    Args:
        architecture: whose groups act.
        permutations: by group ``(B, n)``, or ``(B, m, n)`` for a group nested in one of size m; entry ``[b, i]`` is
            the neuron that moves to place i.
        scales: by group ``(B, n)``, positive.
        signs: by group ``(B, n)``, 1 or −1.
    """

    architecture: Architecture
    permutations: Mapping[str, Tensor]
    scales: Mapping[str, Tensor] = field(factory=dict)
    signs: Mapping[str, Tensor] = field(factory=dict)


def sample(
    batch: Batch, *, seed: int, step: int, actions: Sequence[str] = ("permute",)
) -> tuple[Element, ...]:
    """Draw an element of every group of every network, uniformly; scales are 2^u, u uniform in [−1, 1].

    Args:
        batch: whose architectures' groups are drawn, and whose ids seed the draw.
        seed: of the run.
        step: of the run: another step draws another element.
        actions: what of ``permute``, ``scale`` and ``sign`` to draw; a group does only what its actions allow.
    """
    ids = batch.rows(torch.from_numpy(batch.ids).to(batch.device, non_blocking=True))
    return tuple(
        _draw(networks, i, seed, step, actions) for networks, i in zip(batch.networks, ids, strict=True)
    )


def apply(batch: Batch, elements: Sequence[Element]) -> Batch:
    """Return g·x: weights ``(B, P)`` of the same shapes, the neurons of every group moved, scaled and flipped."""
    return batch.replace(_apply(n, g) for n, g in zip(batch.networks, elements, strict=True))


def compose(second: Sequence[Element], first: Sequence[Element]) -> tuple[Element, ...]:
    """Return the elements that act like ``first`` followed by ``second``."""
    return tuple(_compose(g, h) for g, h in zip(second, first, strict=True))


def inverse(elements: Sequence[Element]) -> tuple[Element, ...]:
    """Return the elements that undo these."""
    return tuple(_inverse(element) for element in elements)


# -- drawing ------------------------------------------------------------------------------------------------------


def _draw(networks: Networks, ids: Tensor, seed: int, step: int, actions: Sequence[str]) -> Element:
    architecture = networks.architecture
    counts = [group.size * _outer(architecture, group) for group in architecture.groups]
    if not counts:
        return Element(architecture=architecture, permutations={})
    device = ids.device
    words = torch.tensor([_word(group.name) for group in architecture.groups]).to(device, non_blocking=True)
    streams = _mix(_mix(_mix(rearrange(ids, "b -> b 1"), words), seed), step)
    # All neurons of all groups in one row: a stream for each group, a counter for each neuron of it.
    of_group = torch.tensor([number for number, count in enumerate(counts) for _ in range(count)])
    counter = torch.cat([torch.arange(count) for count in counts])
    keys = _mix(
        streams.index_select(1, of_group.to(device, non_blocking=True)),
        counter.to(device, non_blocking=True),
    ).split(counts, dim=1)
    permutations, scales, signs = {}, {}, {}
    for group, key in zip(architecture.groups, keys, strict=True):
        if "permute" in actions and "permute" in group.actions:
            shaped = key.unflatten(1, (-1, group.size)) if group.parent else key
            permutations[group.name] = shaped.argsort(dim=-1)
        if "scale" in actions and "scale" in group.actions:
            unit = _shift(_mix(key, 1), 11).to(networks.weights.dtype) / (1 << 53)
            scales[group.name] = torch.exp2(2 * unit - 1)
        if "sign" in actions and "sign" in group.actions:
            signs[group.name] = (2 * _shift(_mix(key, 2), 63) - 1).to(networks.weights.dtype)
    return Element(architecture=architecture, permutations=permutations, scales=scales, signs=signs)


def _outer(architecture: Architecture, group: Group) -> int:
    """Return in how many elements of an outer group a nested group acts, 1 for any other."""
    return next((other.size for other in architecture.groups if other.name == group.parent), 1)


# -- applying -----------------------------------------------------------------------------------------------------


def _apply(networks: Networks, element: Element) -> Tensor:
    weights = networks.weights
    if element.permutations:
        known: dict[Axis, Tensor] = {}
        weights = torch.cat([_move(weights, p, o, element, known) for p, o in _located(element)], dim=1)
    factors = [*_factors(element, weights)]
    if factors:
        weights = weights.clone() if weights is networks.weights else weights
        for parameter, offset, factor in factors:
            view = weights[:, offset : offset + parameter.size].unflatten(1, parameter.shape)
            view.mul_(factor)
    return weights


def _located(element: Element) -> Iterator[tuple[Parameter, int]]:
    """Yield every parameter, and where it starts in the flat weights."""
    return zip(element.architecture.parameters, element.architecture.offsets, strict=True)


def _move(
    weights: Tensor, parameter: Parameter, offset: int, element: Element, known: dict[Axis, Tensor]
) -> Tensor:
    """Return ``(B, size)``: a parameter with its neurons moved, whole kernels at a time where these stay together."""
    own = weights[:, offset : offset + parameter.size]
    count = len(parameter.shape)
    while count and not any(isinstance(f, str) for segment in parameter.axes[count - 1] for f in segment):
        count -= 1
    if not count:
        return own
    index = _places(parameter, count, element, known, weights.device)
    lead = index.shape[1]
    first = torch.arange(len(own), device=weights.device) * lead
    rows = own.reshape(len(own) * lead, -1).index_select(0, (index + rearrange(first, "b -> b 1")).flatten())
    return rows.view(len(own), -1)


def _places(
    parameter: Parameter, count: int, element: Element, known: dict[Axis, Tensor], device: torch.device
) -> Tensor:
    """Return ``(B or 1, n)``: for each place in the first ``count`` axes of a parameter the place that moves there."""
    if _nests_across(parameter, element.architecture):
        return _joint_places(parameter.axes[:count], element, device)
    index = torch.zeros((1, 1), dtype=torch.int64, device=device)
    for axis in parameter.axes[:count]:
        if axis not in known:
            known[axis] = _axis_places(axis, element, device)
        along = known[axis]
        index = (
            rearrange(index * along.shape[1], "b p -> b p 1") + rearrange(along, "b n -> b 1 n")
        ).flatten(1)
    return index


def _axis_places(axis: Axis, element: Element, device: torch.device) -> Tensor:
    """Return ``(B or 1, n)``: for each place along an axis the place that moves there."""
    segments, start = [], 0
    for segment in axis:
        walk = _Walk(element, device)
        for factor in segment:
            walk.step(factor, walk.length(factor))
        segments.append(walk.index + start)
        start += walk.index.shape[1]
    width = max(s.shape[0] for s in segments)
    return torch.cat([s.expand(width, -1) for s in segments], dim=1) if len(segments) > 1 else segments[0]


def _joint_places(axes: Sequence[Axis], element: Element, device: torch.device) -> Tensor:
    """Return ``(B or 1, n)`` places along axes of which a group on one acts within a group on another."""
    walk = _Walk(element, device)
    for axis in axes:
        (segment,) = axis
        for factor in segment:
            walk.step(factor, walk.length(factor))
    return walk.index


class _Walk:
    """Goes through factors from the slowest to the fastest, keeping where along each group every place stands."""

    def __init__(self, element: Element, device: torch.device) -> None:
        self.element = element
        self.groups = {group.name: group for group in element.architecture.groups}
        self.index = torch.zeros((1, 1), dtype=torch.int64, device=device)
        self.places: dict[str, Tensor] = {}

    def length(self, factor: int | str) -> int:
        return factor if isinstance(factor, int) else self.groups[factor].size

    def step(self, factor: int | str, size: int) -> None:
        device = self.index.device
        if isinstance(factor, str) and factor in self.element.permutations:
            order, parent = self.element.permutations[factor], self.groups[factor].parent
            along = rearrange(order, "b n -> b 1 n") if parent is None else order[:, self.places[parent]]
        else:
            along = torch.arange(size, device=device)[None, None]
        width = self.index.shape[1]
        self.places = {
            name: place.repeat_interleave(size, output_size=len(place) * size)
            for name, place in self.places.items()
        }
        if isinstance(factor, str):
            self.places[factor] = torch.arange(size, device=device).repeat(width)
        self.index = (rearrange(self.index, "b p -> b p 1") * size + along).flatten(1)


def _nests_across(parameter: Parameter, architecture: Architecture) -> bool:
    """Whether a nested group stands on another axis than the group that it is nested in."""
    parents = {group.name: group.parent for group in architecture.groups}
    for axis in parameter.axes:
        for segment in axis:
            for factor in segment:
                if isinstance(factor, str) and parents[factor] is not None and parents[factor] not in segment:
                    return True
    return False


def _factors(element: Element, weights: Tensor) -> Iterator[tuple[Parameter, int, Tensor]]:
    """Yield parameters that are scaled or flipped, where they start, and what they are multiplied by."""
    architecture = element.architecture
    given = (("scale", element.scales), ("sign", element.signs))
    for parameter, offset in _located(element):
        product: Tensor | None = None
        for action, values in given:
            for number, powers in enumerate(parameter.powers.get(action, ()) if values else ()):
                if any(powers):
                    along = _along(parameter.axes[number], powers, values, architecture, weights)
                    shape = [1] * len(parameter.shape)
                    shape[number] = along.shape[1]
                    along = along.unflatten(1, shape)
                    product = along if product is None else product * along
        if product is not None:
            yield parameter, offset, product


def _along(
    axis: Axis,
    powers: Sequence[int],
    values: Mapping[str, Tensor],
    architecture: Architecture,
    weights: Tensor,
) -> Tensor:
    """Return ``(B, n)`` what the places along an axis are multiplied by."""
    sizes = {group.name: group.size for group in architecture.groups}
    parts = []
    for segment, power in zip(axis, powers, strict=True):
        length = math.prod(sizes[factor] if isinstance(factor, str) else factor for factor in segment)
        part = weights.new_ones((len(weights), 1))
        for factor in segment if power else ():
            size, own = factor if isinstance(factor, int) else sizes[factor], weights.new_ones((1, 1))
            if isinstance(factor, str) and factor in values:
                own = values[factor] ** power
            part = (
                rearrange(part, "b p -> b p 1") * rearrange(own.expand(-1, size), "b n -> b 1 n")
            ).flatten(1)
        parts.append(part.expand(-1, length))
    return torch.cat(parts, dim=1)


# -- products and inverses ------------------------------------------------------------------------------------------


def _compose(second: Element, first: Element) -> Element:
    """(g·(h·x))[i] = d_g[i] (h·x)[π_g(i)] = d_g[i] d_h[π_g(i)] x[π_h(π_g(i))]."""
    permutations = {}
    for group in first.architecture.groups:
        g, h = second.permutations.get(group.name), first.permutations.get(group.name)
        moved = second.permutations.get(group.parent) if group.parent else None
        if h is not None and moved is not None:
            h = h.gather(1, rearrange(moved, "b m -> b m 1").expand_as(h))
        found = h.gather(-1, g) if g is not None and h is not None else g if g is not None else h
        if found is not None:
            permutations[group.name] = found
    return Element(
        architecture=first.architecture,
        permutations=permutations,
        scales=_product(second, second.scales, first.scales),
        signs=_product(second, second.signs, first.signs),
    )


def _product(second: Element, g: Mapping[str, Tensor], h: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = dict(g)
    for name, values in h.items():
        order = second.permutations.get(name)
        moved = values if order is None else values.gather(1, order)
        found[name] = found[name] * moved if name in found else moved
    return found


def _inverse(element: Element) -> Element:
    permutations: dict[str, Tensor] = {}
    for group in element.architecture.groups:
        order = element.permutations.get(group.name)
        if order is None:
            continue
        back = order.argsort(dim=-1)
        outer = permutations.get(group.parent) if group.parent else None
        if outer is not None:
            back = back.gather(1, rearrange(outer, "b m -> b m 1").expand_as(back))
        permutations[group.name] = back

    def undone(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        moved = {n: v.gather(1, permutations[n]) if n in permutations else v for n, v in values.items()}
        return {name: 1 / value for name, value in moved.items()}

    return evolve(
        element, permutations=permutations, scales=undone(element.scales), signs=undone(element.signs)
    )


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
