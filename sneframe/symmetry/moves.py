"""Choose the group elements that test a symmetry: which claims move together, and how each of them moves.

A claim is one action of one group, such as "group hidden0 may be permuted". Claims are tested many at a time:
a set of claims moves, while all others stay. If the outputs of the network do not change for several random
sets, each claim holds by itself. The reason is that the moves which leave a network unchanged form a group.
If one claim were false, a random set would leave that group in at least half of the cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.architecture import Architecture, NeuronGroup, Parameter
from sneframe.symmetry.act import Element, moves

#: Ways to permute n neurons: all in one cycle, a swap of two, or at random. Cycles and swaps of two
#: neighbours generate every permutation.
PERMUTATIONS = ("cycle", "swap", "shuffle")


@frozen(kw_only=True)
class Claim:
    """One action of one group.

    Args:
        group: the group.
        action: ``permute``, ``scale`` or ``sign``.
        outer: the size of the parent of the group; None for a group without a parent.
    """

    group: NeuronGroup
    action: str
    outer: int | None = None

    def __str__(self) -> str:
        word = {"permute": "permuting", "scale": "scaling", "sign": "flipping the signs of"}[self.action]
        return f"{word} the neurons of group {self.group.name!r}"


def claims(architecture: Architecture) -> list[Claim]:
    """Return all claims of an architecture, except permutations of a single neuron, which move nothing."""
    sizes = {group.name: group.size for group in architecture.groups}
    return [
        Claim(group=group, action=action, outer=sizes[group.parent] if group.parent else None)
        for group in architecture.groups
        for action in dict.fromkeys(group.actions)
        if action != "permute" or group.size > 1
    ]


def holders(architecture: Architecture) -> dict[str, list[Parameter]]:
    """Return the parameters that each group acts on, the smallest first."""
    holding: dict[str, list[Parameter]] = {group.name: [] for group in architecture.groups}
    for parameter in sorted(architecture.parameters, key=lambda p: p.size):
        for name in {factor for axis in parameter.axes for segment in axis for factor in segment}:
            if isinstance(name, str):
                holding[name].append(parameter)
    return holding


def idle(architecture: Architecture) -> Claim | None:
    """Return a claim that moves no weight at all, or None if there is none."""
    holding = holders(architecture)
    for claim in claims(architecture):
        count = claim.group.size
        order = torch.arange(count).roll(1)
        acting = Element(
            architecture=architecture,
            permutations={
                claim.group.name: order[None] if claim.outer is None else order.expand(1, claim.outer, -1)
            },
            # Powers of two, so that products equal to 1 are exact; two different ones, so that quotients are
            # not 1.
            scales={claim.group.name: 2.0 ** (1 + torch.arange(count, dtype=torch.float64) % 2)[None]},
            signs={claim.group.name: (-1.0) ** (1 + torch.arange(count, dtype=torch.float64) % 2)[None]},
        )
        acting = part(acting, [claim])
        if not any(moves(acting, parameter) for parameter in holding[claim.group.name]):
            return claim
    return None


def element(
    architecture: Architecture, moved: Sequence[Claim], generator: torch.Generator, *, turn: int
) -> Element:
    """Draw an element for one network that moves exactly these claims.

    No claim gets the identity: a permutation moves at least two neurons, each scale lies between 6/5 and 2 or
    is the inverse of such a number, and at least one sign is −1. A nested group is permuted within at least
    one element of its parent.

    Args:
        architecture: the architecture of the network.
        moved: the claims that move.
        generator: the random numbers, on the CPU.
        turn: selects the kinds of :data:`PERMUTATIONS`. In turn 0, all neurons of every group move in a
            cycle; in later turns the kinds alternate between claims.
    """
    permutations: dict[str, Tensor] = {}
    scales: dict[str, Tensor] = {}
    signs: dict[str, Tensor] = {}
    for number, claim in enumerate(moved):
        name, size = claim.group.name, claim.group.size
        if claim.action == "permute":
            # In turn 0 all move in a cycle; in later turns the kinds alternate between claims.
            kind = PERMUTATIONS[(turn + number if turn else 0) % len(PERMUTATIONS)]
            outer = 1 if claim.outer is None else claim.outer
            moving = _some(outer, generator) if turn else torch.ones(outer, dtype=torch.bool)
            orders = [
                _permutation(size, kind, generator) if moves else torch.arange(size) for moves in moving
            ]
            permutations[name] = torch.stack(orders)[None] if claim.outer is not None else orders[0][None]
        elif claim.action == "scale":
            u = torch.rand(size, generator=generator, dtype=torch.float64)
            u = 0.263 + (1 - 0.263) * u  # 2^0.263 is 6/5
            up = torch.rand(size, generator=generator) < 0.5
            scales[name] = torch.exp2(torch.where(up, u, -u))[None]
        else:
            signs[name] = torch.where(_some(size, generator), -1.0, 1.0).double()[None]
    return Element(architecture=architecture, permutations=permutations, scales=scales, signs=signs)


def _some(count: int, generator: torch.Generator) -> Tensor:
    """Return a random ``(count,)`` mask with at least one True."""
    mask = torch.rand(count, generator=generator) < 0.5
    mask[int(torch.randint(count, (), generator=generator))] = True
    return mask


def _permutation(size: int, kind: str, generator: torch.Generator) -> Tensor:
    """Return a random permutation ``(size,)`` of one of the :data:`PERMUTATIONS`, never the identity."""
    drawn = torch.randperm(size, generator=generator)
    order = torch.arange(size)
    if kind == "swap":
        order[drawn[:2]] = drawn[:2].flip(0)
        return order
    if kind == "shuffle" and not torch.equal(drawn, order):
        return drawn
    order[drawn] = drawn.roll(1)
    return order


def part(whole: Element, moved: Sequence[Claim]) -> Element:
    """Return the part of an element that belongs to these claims."""

    def of(action: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = {claim.group.name for claim in moved if claim.action == action}
        return {name: value for name, value in values.items() if name in names}

    return evolve(
        whole,
        permutations=of("permute", whole.permutations),
        scales=of("scale", whole.scales),
        signs=of("sign", whole.signs),
    )


def sets(count: int, number: int, generator: torch.Generator) -> list[list[int]]:
    """Return random sets of the claims 0, …, count − 1.

    The claims get random numbers. For each binary digit of these numbers, the claims with a 1 form one set,
    and the claims with a 0 another; then they get new numbers. So after 2 log₂(count) sets, every claim has
    moved once while any given other claim stayed.

    Args:
        count: number of claims.
        number: number of sets; none of them is empty.
        generator: the random numbers.
    """

    def drawn() -> list[list[int]]:
        order = torch.randperm(count, generator=generator).tolist()
        digits = range(max(1, (count - 1).bit_length()))
        halves = [[c for c in range(count) if (order[c] >> d) % 2 == bit] for d in digits for bit in (1, 0)]
        return [half for half in halves if half]

    chosen: list[list[int]] = []
    while count and len(chosen) < number:
        chosen += drawn()
    return [*islice(chosen, number)]
