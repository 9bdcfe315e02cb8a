"""Choose the elements that a symmetry is tested with: which groups move together, and how each of them moves.

A claim is one action of one group, such as "group hidden0 may be permuted". Claims are tested many at a time. A set of
claims is moved by elements that are no identity, while all other claims stay still. If the outputs stay as they are
for random sets, then each claim holds by itself: the moves that leave a network unchanged form a group, and a random
set lies outside of any smaller group than the one that is described in at least half of the cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.architecture import Architecture, NeuronGroup, Parameter
from sneframe.symmetry.act import Element, moves

#: Ways to permute n neurons: all in one cycle, two of them, at random. A cycle and a swap of two of its neighbours
#: make every permutation.
PERMUTATIONS = ("cycle", "swap", "shuffle")


@frozen(kw_only=True)
class Claim:
    """One action of one group.

    Args:
        group: that acts.
        action: ``permute``, ``scale`` or ``sign``.
        outer: how many elements the group has that this one is nested in; None for a group that is not nested.
    """

    group: NeuronGroup
    action: str
    outer: int | None = None

    def __str__(self) -> str:
        word = {"permute": "permuting", "scale": "scaling", "sign": "flipping the signs of"}[self.action]
        return f"{word} the neurons of group {self.group.name!r}"


def claims(architecture: Architecture) -> list[Claim]:
    """Return all that an architecture says may be done, but for a permutation of one neuron, which is no move."""
    sizes = {group.name: group.size for group in architecture.groups}
    return [
        Claim(group=group, action=action, outer=sizes[group.parent] if group.parent else None)
        for group in architecture.groups
        for action in dict.fromkeys(group.actions)
        if action != "permute" or group.size > 1
    ]


def holders(architecture: Architecture) -> dict[str, list[Parameter]]:
    """Return for each group the parameters that it acts on, small ones first."""
    holding: dict[str, list[Parameter]] = {group.name: [] for group in architecture.groups}
    for parameter in sorted(architecture.parameters, key=lambda p: p.size):
        for name in {factor for axis in parameter.axes for segment in axis for factor in segment}:
            if isinstance(name, str):
                holding[name].append(parameter)
    return holding


def idle(architecture: Architecture) -> Claim | None:
    """Return a claim whose elements leave every weight where it is, None where there is none."""
    holding = holders(architecture)
    for claim in claims(architecture):
        count = claim.group.size
        order = torch.arange(count).roll(1)
        acting = Element(
            architecture=architecture,
            permutations={
                claim.group.name: order[None] if claim.outer is None else order.expand(1, claim.outer, -1)
            },
            # Powers of two, so that products which are 1 are exactly 1; two of them, so that a quotient is not 1.
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
    """Draw an element of one network that acts by these claims alone, and is no identity in any of them.

    Of several neurons or outer elements some may stay; a nested group moves within at least one of its outer elements.
    Scales lie in [1/2, 5/6] or [6/5, 2]. At least one sign is −1.

    Args:
        architecture: whose groups act.
        moved: the claims that act.
        generator: of random numbers, on the CPU.
        turn: a number that goes through :data:`PERMUTATIONS`: in turn 0, 3, … all neurons move, and none stays.
    """
    permutations: dict[str, Tensor] = {}
    scales: dict[str, Tensor] = {}
    signs: dict[str, Tensor] = {}
    for number, claim in enumerate(moved):
        name, size = claim.group.name, claim.group.size
        if claim.action == "permute":
            # In turn 0 all move in a cycle; afterwards neighbouring claims take turns.
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
    """Return a random permutation ``(size,)`` of a kind of :data:`PERMUTATIONS`, never the identity."""
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
    """Return what an element does by these claims."""

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
    """Return so many sets of the claims 0, …, count − 1, none of them empty.

    The claims are numbered at random. For each binary digit the claims where it is 1 form a set, and the others
    another one; then they are numbered anew. So after 2 log₂(count) sets, of each two claims either has moved while the
    other one stayed.
    """

    def drawn() -> list[list[int]]:
        order = torch.randperm(count, generator=generator).tolist()
        digits = range(max(1, (count - 1).bit_length()))
        halves = [[c for c in range(count) if (order[c] >> d) % 2 == bit] for d in digits for bit in (1, 0)]
        return [half for half in halves if half]

    found: list[list[int]] = []
    while count and len(found) < number:
        found += drawn()
    return [*islice(found, number)]
