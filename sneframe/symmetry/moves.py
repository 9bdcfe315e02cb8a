"""Choose the group elements that test a symmetry.

A claim is one action of one group, such as "group hidden0 may be permuted". Many claims are tested at once:
the actions of a random set of claims are applied, and no other action. If the outputs of the network do not
change for several random sets, each claim holds by itself. The reason is that the moves that leave a network
unchanged form a group. So if one claim were false, at least half of all sets would change the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.architecture import Architecture, NeuronGroup, Parameter
from sneframe.symmetry.act import Element, moves

#: Kinds of permutations: one cycle through all neurons, a swap of two neurons, or a random permutation.
#: Every permutation is a product of cycles and swaps.
PERMUTATIONS = ("cycle", "swap", "shuffle")
WORDS = {
    "permute": "permuting",
    "scale": "scaling",
    "sign": "flipping the signs of",
    "linear": "mixing",
}


@frozen(kw_only=True)
class Claim:
    """One action of one group.

    Args:
        group: the group.
        action: ``permute``, ``scale``, ``sign`` or ``linear``.
        outer: the size of the parent of the group; None for a group without a parent.
    """

    group: NeuronGroup
    action: str
    outer: int | None = None

    def __str__(self) -> str:
        return f"{WORDS[self.action]} the neurons of group {self.group.name!r}"


def claims(architecture: Architecture) -> list[Claim]:
    """Return all claims of an architecture. The permutation of a single neuron is left out."""
    sizes = {group.name: group.size for group in architecture.groups}
    return [
        Claim(group=group, action=action, outer=sizes[group.parent] if group.parent else None)
        for group in architecture.groups
        for action in dict.fromkeys(group.actions)
        if action != "permute" or group.size > 1
    ]


def holders(architecture: Architecture) -> dict[str, list[Parameter]]:
    """Return by group name the parameters on which the group acts, ordered by size from the smallest."""
    holding: dict[str, list[Parameter]] = {group.name: [] for group in architecture.groups}
    for parameter in sorted(architecture.parameters, key=lambda p: p.size):
        for name in {factor for axis in parameter.axes for segment in axis for factor in segment}:
            if isinstance(name, str):
                holding[name].append(parameter)
    return holding


def idle(architecture: Architecture) -> Claim | None:
    """Return the first claim whose action changes no weight, or None if every claim changes a weight."""
    holding = holders(architecture)
    for claim in claims(architecture):
        count = claim.group.size
        order = torch.arange(count).roll(1)
        acting = Element(
            architecture=architecture,
            permutations={
                claim.group.name: order[None] if claim.outer is None else order.expand(1, claim.outer, -1)
            },
            # The scales are powers of two, so that a product that must be 1 is exactly 1. They take two
            # values, so that the quotient of two scales is not always 1.
            scales={claim.group.name: 2.0 ** (1 + torch.arange(count, dtype=torch.float64) % 2)[None]},
            signs={claim.group.name: (-1.0) ** (1 + torch.arange(count, dtype=torch.float64) % 2)[None]},
            matrices={claim.group.name: 2.0 * torch.eye(count, dtype=torch.float64).roll(1, 0)[None]},
        )
        acting = part(acting, [claim])
        if not any(moves(acting, parameter) for parameter in holding[claim.group.name]):
            return claim
    return None


def element(
    architecture: Architecture, moved: Sequence[Claim], generator: torch.Generator, *, turn: int
) -> Element:
    """Draw a group element for one network. The element applies exactly the claims ``moved``.

    No claim is applied as the identity. The singular values of a matrix lie between 6/5 and 2, or are the
    inverse of such numbers. A permutation moves at least two neurons. Each scale lies between 6/5
    and 2, or is the inverse of such a number. At least one sign is −1. A nested group is permuted within at
    least one neuron of its parent.

    Args:
        architecture: the architecture of the network.
        moved: the claims to apply.
        generator: the source of random numbers, on the CPU.
        turn: selects the kinds of :data:`PERMUTATIONS`. In turn 0, all neurons of every group move in a
            cycle. In later turns the kinds alternate between claims.
    """
    permutations: dict[str, Tensor] = {}
    scales: dict[str, Tensor] = {}
    signs: dict[str, Tensor] = {}
    matrices: dict[str, Tensor] = {}
    for number, claim in enumerate(moved):
        name, size = claim.group.name, claim.group.size
        if claim.action == "permute":
            # In turn 0 every group moves in a cycle. In later turns the kinds alternate between claims.
            kind = PERMUTATIONS[(turn + number if turn else 0) % len(PERMUTATIONS)]
            outer = 1 if claim.outer is None else claim.outer
            moving = _some(outer, generator) if turn else torch.ones(outer, dtype=torch.bool)
            orders = [
                _permutation(size, kind, generator) if moves else torch.arange(size) for moves in moving
            ]
            permutations[name] = torch.stack(orders)[None] if claim.outer is not None else orders[0][None]
        elif claim.action == "scale":
            scales[name] = _factors(size, generator)[None]
        elif claim.action == "linear":
            first, second = (
                torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
                for _ in range(2)
            )
            matrices[name] = (first @ (_factors(size, generator)[:, None] * second))[None]
        else:
            signs[name] = torch.where(_some(size, generator), -1.0, 1.0).double()[None]
    return Element(
        architecture=architecture, permutations=permutations, scales=scales, signs=signs, matrices=matrices
    )


def _factors(count: int, generator: torch.Generator) -> Tensor:
    """Return random factors ``(count,)`` between 6/5 and 2, or the inverse of such numbers."""
    u = torch.rand(count, generator=generator, dtype=torch.float64)
    u = 0.263 + (1 - 0.263) * u  # 2^0.263 is 6/5
    up = torch.rand(count, generator=generator) < 0.5
    return torch.exp2(torch.where(up, u, -u))


def _some(count: int, generator: torch.Generator) -> Tensor:
    """Return a random ``(count,)`` mask with at least one True."""
    mask = torch.rand(count, generator=generator) < 0.5
    mask[int(torch.randint(count, (), generator=generator))] = True
    return mask


def _permutation(size: int, kind: str, generator: torch.Generator) -> Tensor:
    """Return a random permutation ``(size,)`` of the given kind, which is never the identity."""
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
    """Return an element that applies only the claims ``moved``, each in the same way as ``whole`` does."""

    def of(action: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = {claim.group.name for claim in moved if claim.action == action}
        return {name: value for name, value in values.items() if name in names}

    return evolve(
        whole,
        permutations=of("permute", whole.permutations),
        scales=of("scale", whole.scales),
        signs=of("sign", whole.signs),
        matrices=of("linear", whole.matrices),
    )


def sets(count: int, number: int, generator: torch.Generator) -> list[list[int]]:
    """Return random sets of the claims 0, …, count − 1.

    The claims are numbered in random order. For each binary digit of these numbers, the claims with a 1 form
    one set, and the claims with a 0 form another set. When all digits are used, the claims get new numbers.
    So for any two claims, one of the first 2 log₂(count) sets contains only the first of the two claims.

    Args:
        count: number of claims.
        number: number of sets. No set is empty.
        generator: the source of random numbers.
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
