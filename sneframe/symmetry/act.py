"""Draw group elements and apply them to a batch: one element per network, without a loop over networks.

An element is drawn by hashing (seed, step, network id, group, neuron), so it does not depend on who shares the
batch, on the number of processes or on the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import torch
from attrs import evolve, field, frozen
from einops import rearrange
from torch import Tensor

from sneframe.architecture import Architecture, Axis, NeuronGroup, Parameter
from sneframe.batch import Batch, Networks
from sneframe.rng import mix, shift, uniform, word


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

    def move(self, networks: Networks) -> Networks:
        """Return g·x of networks of :attr:`architecture`, the first by the first element, and so on."""
        return evolve(networks, weights=_apply(networks, self))


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


def moves(element: Element, parameter: Parameter) -> bool:
    """Whether an element brings a weight of this parameter to another place, or multiplies one by anything but 1."""
    values = (element.permutations, element.scales, element.signs)
    given = next((value for each in values for value in each.values()), None)
    if given is None:
        return False
    index = _places(parameter, element, {}, given.device)
    if index is not None and bool((index != torch.arange(index.shape[1], device=given.device)).any()):
        return True
    factor = _factor(parameter, element, torch.ones((1, 1), dtype=torch.float64, device=given.device))
    return factor is not None and bool((factor != 1).any())


# -- drawing ------------------------------------------------------------------------------------------------------


def _draw(networks: Networks, ids: Tensor, seed: int, step: int, actions: Sequence[str]) -> Element:
    architecture = networks.architecture
    if not architecture.groups:
        return Element(architecture=architecture, permutations={})
    counts, words, of_group, counter = _neurons(architecture, ids.device)
    streams = mix(mix(mix(rearrange(ids, "b -> b 1"), words), seed), step)
    keys = mix(streams.index_select(1, of_group), counter).split(counts, dim=1)
    permutations, scales, signs = {}, {}, {}
    for group, key in zip(architecture.groups, keys, strict=True):
        if "permute" in actions and "permute" in group.actions:
            shaped = key.unflatten(1, (-1, group.size)) if group.parent else key
            permutations[group.name] = shaped.argsort(dim=-1)
        if "scale" in actions and "scale" in group.actions:
            scales[group.name] = torch.exp2(2 * uniform(mix(key, 1)) - 1).to(networks.weights.dtype)
        if "sign" in actions and "sign" in group.actions:
            signs[group.name] = (2 * shift(mix(key, 2), 63) - 1).to(networks.weights.dtype)
    return Element(architecture=architecture, permutations=permutations, scales=scales, signs=signs)


@lru_cache(maxsize=1024)
def _neurons(architecture: Architecture, device: torch.device) -> tuple[list[int], Tensor, Tensor, Tensor]:
    """Return of all neurons, group by group: their counts, the groups' names hashed, and each one's group and number."""
    counts = [group.size * _outer(architecture, group) for group in architecture.groups]
    words = torch.tensor([word(group.name) for group in architecture.groups])
    of_group = torch.tensor([number for number, count in enumerate(counts) for _ in range(count)])
    counter = torch.cat([torch.arange(count) for count in counts])
    words, of_group, counter = (made.to(device, non_blocking=True) for made in (words, of_group, counter))
    return counts, words, of_group, counter


def _outer(architecture: Architecture, group: NeuronGroup) -> int:
    """Return in how many elements of an outer group a nested group acts, 1 for any other."""
    return next((other.size for other in architecture.groups if other.name == group.parent), 1)


# -- applying -----------------------------------------------------------------------------------------------------


def _apply(networks: Networks, element: Element) -> Tensor:
    weights = networks.weights
    if element.permutations:
        weights = _permuted(weights, element)
    factors = [*_factors(element, weights)]
    if factors:
        weights = weights.clone() if weights is networks.weights else weights
        for parameter, offset, factor in factors:
            view = weights[:, offset : offset + parameter.size].unflatten(1, parameter.shape)
            view.mul_(factor)
    return weights


def _permuted(weights: Tensor, element: Element) -> Tensor:
    """Return ``(B, P)``: all neurons moved, each parameter gathered straight to where it belongs.

    Only where a gradient has to flow are the parameters gathered for themselves and joined, one more copy of all.
    """
    known: dict[Axis, Tensor] = {}
    joined = weights.requires_grad and torch.is_grad_enabled()
    found = None if joined else torch.empty_like(weights)
    pieces = []
    for parameter, offset in _located(element):
        own = weights[:, offset : offset + parameter.size]
        into = None if found is None else found[:, offset : offset + parameter.size]
        index = _places(parameter, element, known, weights.device)
        if index is not None:
            own = _gather_kernels(own, index, into)
        elif into is not None:
            into.copy_(own)
        pieces.append(own)
    return torch.cat(pieces, dim=1) if found is None else found


def _gather_kernels(own: Tensor, index: Tensor, into: Tensor | None) -> Tensor:
    """Return ``(B, n k)``: kernels of k weights brought from the places ``(B or 1, n)``, written to ``into`` if given.

    The index is that of kernels, not of weights, and the last axis gathered the longest: twice as fast as a gather of
    single weights. Here unflatten stands for einops, which would take as long as a small parameter does.
    """
    kernels = own.unflatten(1, (index.shape[1], -1)).transpose(1, 2)
    places = index.unsqueeze(1).expand_as(kernels)
    if into is None:
        return kernels.gather(2, places).transpose(1, 2).flatten(1)
    torch.gather(kernels, 2, places, out=into.unflatten(1, (index.shape[1], -1)).transpose(1, 2))
    return into


def _located(element: Element) -> Iterator[tuple[Parameter, int]]:
    """Yield every parameter, and where it starts in the flat weights."""
    return zip(element.architecture.parameters, element.architecture.offsets, strict=True)


def _places(
    parameter: Parameter, element: Element, known: dict[Axis, Tensor], device: torch.device
) -> Tensor | None:
    """Return ``(B or 1, n)``: for each place in the axes up to the last that moves, the place that moves there."""
    count = len(parameter.shape)
    while count and not any(isinstance(f, str) for segment in parameter.axes[count - 1] for f in segment):
        count -= 1
    if not count:
        return None
    if _nests_across(parameter, element.architecture):
        return _joint_places(parameter.axes[:count], element, device)
    index: Tensor | None = None
    for axis in parameter.axes[:count]:
        if axis not in known:
            known[axis] = _axis_places(axis, element, device)
        along = known[axis]
        index = along if index is None else _product_places(index, along)
    return index


def _product_places(slow: Tensor, fast: Tensor) -> Tensor:
    """Return ``(B or 1, m·n)`` places in a product of axes of which one is given ``(B, m)``, the other ``(B, n)``."""
    return (rearrange(slow * fast.shape[1], "b m -> b m 1") + rearrange(fast, "b n -> b 1 n")).flatten(1)


def _axis_places(axis: Axis, element: Element, device: torch.device) -> Tensor:
    """Return ``(B or 1, n)``: for each place along an axis the place that moves there."""
    match axis:
        case ((str(group),),) if group in element.permutations:
            return element.permutations[group]  # nothing else stands on this axis
    segments, start = [], 0
    groups = {group.name: group for group in element.architecture.groups}
    for segment in axis:
        # Most segments hold one factor, and after a concatenation there are many of them.
        if len(segment) == 1 and not (isinstance(segment[0], str) and groups[segment[0]].parent):
            (factor,) = segment
            size = factor if isinstance(factor, int) else groups[factor].size
            order = element.permutations.get(factor) if isinstance(factor, str) else None
            segments.append(
                torch.arange(start, start + size, device=device)[None] if order is None else order + start
            )
            start += size
            continue
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
    if element.scales or element.signs:
        for parameter, offset in _located(element):
            factor = _factor(parameter, element, weights)
            if factor is not None:
                yield parameter, offset, factor


def _factor(parameter: Parameter, element: Element, weights: Tensor) -> Tensor | None:
    """Return what a parameter is multiplied by, in a shape that broadcasts to ``(B, *shape)``; None for no factor."""
    product: Tensor | None = None
    for action, values in (("scale", element.scales), ("sign", element.signs)):
        for number, powers in enumerate(parameter.powers.get(action, ()) if values else ()):
            if any(powers):
                along = _along(parameter.axes[number], powers, values, element.architecture, weights)
                shape = [1] * len(parameter.shape)
                shape[number] = along.shape[1]
                along = along.unflatten(1, shape)
                product = along if product is None else product * along
    return product


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
