"""Draw group elements and apply them to a batch.

Each network of the batch gets its own element. All networks of one architecture are moved together, without
a loop over networks.

A group element permutes, scales and flips the neurons of a network, or mixes them by a matrix. Example: in
a network ``W2 · relu(W1 · x)``, it may swap the first two rows of W1 and the first two columns of W2, or
double a row of W1 and halve the column of W2 that reads it. The network computes the same function before
and after.

An element is drawn by hashing (seed, step, network id, group, neuron). So the element of a network does not
depend on the other networks of the batch, on the number of processes or on the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial

import torch
from attrs import evolve, field, frozen
from einops import rearrange
from torch import Tensor

from sneframe.architecture import Architecture, Axis, NeuronGroup, Parameter
from sneframe.batch import Batch, Networks
from sneframe.rng import mix, shift, uniform, word
from sneframe.symmetry.matrices import invertible, mixed, moves_any


@frozen(kw_only=True, eq=False)
class Element:
    """One group element g for each network of one architecture.

    Along an axis of a group, ``(g·x)[i] = scales[i]^p · signs[i]^q · x[permutations[i]]``, where p and q are
    the powers that the parameter declares. A group that is missing in ``permutations`` is not permuted. The
    same holds for ``scales``, ``signs`` and ``matrices``. A group in ``matrices`` is in none of the others:
    along its axis, ``g·x = G x`` if the parameter declares the power 1, and ``G⁻ᵀ x`` if it declares −1.

    Args:
        architecture: the architecture of the networks.
        permutations: the permutations of each group, by name of the group. Their shape is ``(B, n)``, or
            ``(B, m, n)`` for a group whose parent group has size m. Entry ``[b, i]`` is the neuron that moves
            to index i in network b.
        scales: the positive factors of each group, by name of the group, of shape ``(B, n)``.
        signs: the factors 1 or −1 of each group, by name of the group, of shape ``(B, n)``.
        matrices: the invertible matrices G of each group, by name of the group, of shape ``(B, n, n)``.
    """

    architecture: Architecture
    permutations: Mapping[str, Tensor]
    scales: Mapping[str, Tensor] = field(factory=dict)
    signs: Mapping[str, Tensor] = field(factory=dict)
    matrices: Mapping[str, Tensor] = field(factory=dict)

    def move(self, networks: Networks) -> Networks:
        """Return the networks after the move: network b is moved by the element of index b."""
        return networks.each(partial(_apply, element=self))


def sample(
    batch: Batch, *, seed: int, step: int, actions: Sequence[str] = ("permute",)
) -> tuple[Element, ...]:
    """Draw a random element for every network of a batch.

    Permutations and signs are uniform. Scales are 2^u, with u uniform in [−1, 1].

    Args:
        batch: the networks. The elements depend on the ids of the networks.
        seed: the seed of the run.
        step: the step of the run. Each step draws different elements.
        actions: the actions to draw: any of ``permute``, ``scale``, ``sign`` and ``linear``. A group only
            gets the actions that the group allows. The singular values of a matrix lie between 1/2 and 2.
    """
    ids = batch.rows(torch.tensor(batch.ids).to(batch.device, non_blocking=True))
    return tuple(
        _draw(networks, i, seed, step, actions) for networks, i in zip(batch.networks, ids, strict=True)
    )


def apply(batch: Batch, elements: Sequence[Element]) -> Batch:
    """Permute, scale and flip the neurons of every network of a batch, and return the new batch.

    Args:
        batch: the networks.
        elements: for each architecture of the batch, one element for each of its networks.
    """
    return evolve(batch, networks=[g.move(n) for n, g in zip(batch.networks, elements, strict=True)])


def moves(element: Element, parameter: Parameter) -> bool:
    """Return whether an element changes a parameter by moving a weight, or by a factor other than 1."""
    values = (element.permutations, element.scales, element.signs, element.matrices)
    given = next((value for each in values for value in each.values()), None)
    if given is None:
        return False
    index = _index(parameter, element, {}, given.device)
    if index is not None and bool((index != torch.arange(index.shape[1], device=given.device)).any()):
        return True
    if moves_any(parameter, element.architecture, element.matrices):
        return True
    factor = _factor(parameter, element, torch.ones((1, 1), dtype=torch.float64, device=given.device))
    return factor is not None and bool((factor != 1).any())


def order_of(groups: Sequence[str], element: Element, device: torch.device) -> Tensor:
    """Return where the neurons come from that an element moves to each place of a product of groups.

    Args:
        groups: names of groups, the slowest first.
        element: the group elements of B networks.
        device: the device of the result.

    Returns:
        Indices ``(B or 1, n)``, where n is the product of the sizes of the groups.
    """
    return _axis_index((tuple(groups),), element, device)


# -- drawing -------------------------------------------------------------------------------------------------


def _draw(networks: Networks, ids: Tensor, seed: int, step: int, actions: Sequence[str]) -> Element:
    """Draw one element for each of the networks. ``ids`` are the ids of the networks, ``(B,)``."""
    architecture = networks.architecture
    if not architecture.groups:
        return Element(architecture=architecture, permutations={})
    counts, words, of_group, counter = _neurons(architecture, ids.device)
    streams = mix(mix(mix(rearrange(ids, "b -> b 1"), words), seed), step)
    keys = mix(streams.index_select(1, of_group), counter).split(counts, dim=1)
    permutations, scales, signs, matrices = {}, {}, {}, {}
    for group, key in zip(architecture.groups, keys, strict=True):
        if "permute" in actions and "permute" in group.actions:
            shaped = key.unflatten(1, (-1, group.size)) if group.parent else key
            permutations[group.name] = shaped.argsort(dim=-1)
        if "scale" in actions and "scale" in group.actions:
            scales[group.name] = torch.exp2(2 * uniform(mix(key, 1)) - 1).to(networks.weights.dtype)
        if "sign" in actions and "sign" in group.actions:
            signs[group.name] = (2 * shift(mix(key, 2), 63) - 1).to(networks.weights.dtype)
        if "linear" in actions and "linear" in group.actions:
            matrices[group.name] = invertible(key).to(networks.weights.dtype)
    return Element(
        architecture=architecture, permutations=permutations, scales=scales, signs=signs, matrices=matrices
    )


@lru_cache(maxsize=1024)
def _neurons(architecture: Architecture, device: torch.device) -> tuple[list[int], Tensor, Tensor, Tensor]:
    """Return numbers that identify the neurons of all groups, for hashing.

    Returns:
        A tuple of four: the number of neurons of each group, the hashed name of each group, the index of the
        group of each neuron, and the index of each neuron within its group.
    """
    counts = [group.size * _outer(architecture, group) for group in architecture.groups]
    words = torch.tensor([word(group.name) for group in architecture.groups])
    of_group = torch.tensor([number for number, count in enumerate(counts) for _ in range(count)])
    counter = torch.cat([torch.arange(count) for count in counts])
    words, of_group, counter = (made.to(device, non_blocking=True) for made in (words, of_group, counter))
    return counts, words, of_group, counter


def _outer(architecture: Architecture, group: NeuronGroup) -> int:
    """Return the size of the parent of a group, or 1 for a group without a parent."""
    return next((other.size for other in architecture.groups if other.name == group.parent), 1)


# -- applying ------------------------------------------------------------------------------------------------


def _apply(given: Tensor, element: Element) -> Tensor:
    """Return the weights ``(B, P)`` of networks after an element has moved them."""
    weights = _permuted(given, element) if element.permutations else given
    factors = [*_factors(element, weights)]
    if factors:
        weights = weights.clone() if weights is given else weights
        for parameter, offset, factor in factors:
            view = weights[:, offset : offset + parameter.size].unflatten(1, parameter.shape)
            view.mul_(factor)
    return mixed(weights, element.architecture, element.matrices) if element.matrices else weights


def _permuted(weights: Tensor, element: Element) -> Tensor:
    """Return the weights ``(B, P)`` with all neurons permuted.

    Each parameter is gathered directly into the result. If a gradient is needed, the parameters are gathered
    separately and concatenated, which costs one more copy.
    """
    known: dict[Axis, Tensor] = {}
    joined = weights.requires_grad and torch.is_grad_enabled()
    result = None if joined else torch.empty_like(weights)
    pieces = []
    for parameter, offset in _located(element):
        own = weights[:, offset : offset + parameter.size]
        into = None if result is None else result[:, offset : offset + parameter.size]
        index = _index(parameter, element, known, weights.device)
        if index is not None:
            own = _gather_kernels(own, index, into)
        elif into is not None:
            into.copy_(own)
        pieces.append(own)
    return torch.cat(pieces, dim=1) if result is None else result


def _gather_kernels(own: Tensor, index: Tensor, into: Tensor | None) -> Tensor:
    """Gather the n kernels of a parameter, of k weights each, and return them as ``(B, n·k)``.

    Gathering whole kernels, with the longest axis last, is twice as fast as gathering single weights. The
    code uses unflatten instead of einops, because einops takes as long as the gathering of a small parameter.

    Args:
        own: the weights of one parameter.
        index: the kernel that moves to each position, ``(B or 1, n)``.
        into: the memory for the result, or None for new memory.
    """
    kernels = own.unflatten(1, (index.shape[1], -1)).transpose(1, 2)
    indices = index.unsqueeze(1).expand_as(kernels)
    if into is None:
        return kernels.gather(2, indices).transpose(1, 2).flatten(1)
    torch.gather(kernels, 2, indices, out=into.unflatten(1, (index.shape[1], -1)).transpose(1, 2))
    return into


def _located(element: Element) -> Iterator[tuple[Parameter, int]]:
    """Yield every parameter with the position of its first weight in the flat weights."""
    return zip(element.architecture.parameters, element.architecture.offsets, strict=True)


def _index(
    parameter: Parameter, element: Element, known: dict[Axis, Tensor], device: torch.device
) -> Tensor | None:
    """Return the index ``(B or 1, n)`` that gathers the kernels of a parameter.

    A kernel consists of the trailing axes that no group acts on. Entry i of the index is the number of the
    kernel that moves to position i. The result is None if no group acts on the parameter.
    """
    count = len(parameter.shape)
    while count and not any(isinstance(f, str) for segment in parameter.axes[count - 1] for f in segment):
        count -= 1
    if not count:
        return None
    if _nests_across(parameter, element.architecture):
        return _joint_index(parameter.axes[:count], element, device)
    index: Tensor | None = None
    for axis in parameter.axes[:count]:
        if axis not in known:
            known[axis] = _axis_index(axis, element, device)
        along = known[axis]
        index = along if index is None else _product_index(index, along)
    return index


def _product_index(slow: Tensor, fast: Tensor) -> Tensor:
    """Return the index ``(B or 1, m·n)`` of two flattened axes, from the indices of the two axes."""
    return (rearrange(slow * fast.shape[1], "b m -> b m 1") + rearrange(fast, "b n -> b 1 n")).flatten(1)


def _axis_index(axis: Axis, element: Element, device: torch.device) -> Tensor:
    """Return the index ``(B or 1, n)`` of an axis: what moves to position i comes from position index[i]."""
    match axis:
        case ((str(group),),) if group in element.permutations:
            return element.permutations[group]  # the group is the whole axis
    segments, start = [], 0
    groups = {group.name: group for group in element.architecture.groups}
    for segment in axis:
        # A shortcut: most segments have one factor, and after a concatenation there are many segments.
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


def _joint_index(axes: Sequence[Axis], element: Element, device: torch.device) -> Tensor:
    """Return the index ``(B or 1, n)`` of several axes, when a group and its parent are on different axes."""
    walk = _Walk(element, device)
    for axis in axes:
        (segment,) = axis
        for factor in segment:
            walk.step(factor, walk.length(factor))
    return walk.index


class _Walk:
    """Builds an index factor by factor, from the slowest to the fastest.

    Attributes:
        index: the index ``(B or 1, n)`` for the factors so far.
        neurons: by name of each group so far, the neuron to which each of the n positions belongs.
    """

    def __init__(self, element: Element, device: torch.device) -> None:
        self.element = element
        self.groups = {group.name: group for group in element.architecture.groups}
        self.index = torch.zeros((1, 1), dtype=torch.int64, device=device)
        self.neurons: dict[str, Tensor] = {}

    def length(self, factor: int | str) -> int:
        """Return the size of a factor."""
        return factor if isinstance(factor, int) else self.groups[factor].size

    def step(self, factor: int | str, size: int) -> None:
        """Extend the index by a factor of length ``size``."""
        device = self.index.device
        if isinstance(factor, str) and factor in self.element.permutations:
            order, parent = self.element.permutations[factor], self.groups[factor].parent
            along = rearrange(order, "b n -> b 1 n") if parent is None else order[:, self.neurons[parent]]
        else:
            along = torch.arange(size, device=device)[None, None]
        width = self.index.shape[1]
        self.neurons = {
            name: neuron.repeat_interleave(size, output_size=len(neuron) * size)
            for name, neuron in self.neurons.items()
        }
        if isinstance(factor, str):
            self.neurons[factor] = torch.arange(size, device=device).repeat(width)
        self.index = (rearrange(self.index, "b p -> b p 1") * size + along).flatten(1)


def _nests_across(parameter: Parameter, architecture: Architecture) -> bool:
    """Return whether a nested group is in a segment of the parameter that does not contain its parent."""
    parents = {group.name: group.parent for group in architecture.groups}
    for axis in parameter.axes:
        for segment in axis:
            for factor in segment:
                if isinstance(factor, str) and parents[factor] is not None and parents[factor] not in segment:
                    return True
    return False


def _factors(element: Element, weights: Tensor) -> Iterator[tuple[Parameter, int, Tensor]]:
    """Yield each parameter that an element scales or flips, with its offset in the weights and its factor."""
    if element.scales or element.signs:
        for parameter, offset in _located(element):
            factor = _factor(parameter, element, weights)
            if factor is not None:
                yield parameter, offset, factor


def _factor(parameter: Parameter, element: Element, weights: Tensor) -> Tensor | None:
    """Return the factor by which an element multiplies a parameter, or None if the factor is always 1.

    The factor broadcasts to ``(B, *shape)``.
    """
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
    """Return the factors ``(B, n)`` by which the weights at the n positions of an axis are multiplied."""
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
