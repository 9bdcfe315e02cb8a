"""Verify an architecture by running its network: moved neurons must not change what it computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.derive import described
from sneframe.batch import flatten, join
from sneframe.errors import ArchitectureError, Unverifiable
from sneframe.symmetry.act import Element, apply
from sneframe.symmetry.moves import Claim, claims, element, holders, idle, part, sets
from sneframe.symmetry.noise import Change, compare
from sneframe.symmetry.trial import Trial, outputs, trial
from sneframe.symmetry.twin import Twin, twin, undisturbed

SETS = 12  #: at least so many random sets of claims are moved in all
VISIBLE = 3  #: so many tolerances a number of the outputs must depend on a group's weights
SINGLES = 64  #: so many claims are moved one by one where halving a set finds none that is false alone


@frozen(kw_only=True)
class Verified:
    """What was seen when nothing was found wrong.

    Args:
        error: the largest change of a number in the outputs, as a fraction of its size.
        tolerance: the largest change that would have been taken for noise, as a fraction of a number's size.
        groups: how many groups were moved.
        actions: how many actions they were moved by, all groups counted together.
        moved: the fraction of the described weights that change when all groups move.
        passes: how often the network was run with moved weights.
        precision: the coarsest type of floating-point numbers that it computed with, such as ``float64``.
    """

    error: float
    tolerance: float
    groups: int
    actions: int
    moved: float
    passes: int
    precision: str


def verify(
    module: nn.Module, architecture: Architecture, example_input: Any, *, draws: int = 3, seed: int = 0
) -> Verified:
    """Check that each action of each group leaves a network's outputs as they are.

    A copy of the module is run in double precision, with every parameter and buffer drawn at random. All groups are
    moved at once, and then random halves of them, so that each has moved while each other one stayed. Each number of
    the outputs is judged by its own noise, see :mod:`.noise`. The time is that of a few dozen forward passes, however
    many groups there are.

    Args:
        module: left as it is.
        architecture: what is said to describe it.
        example_input: as for :meth:`~sneframe.architecture.Architecture.from_module`.
        draws: how many times weights are drawn.
        seed: of the draws.

    Raises:
        ArchitectureError: names or shapes differ from the module's; a group moves no weight, or changes the outputs. The
            error names the group, the action and the change.
        Unverifiable: the outputs are random or too noisy, or do not show what the weights are.
    """
    _check(module, architecture)
    if (claim := idle(architecture)) is not None:
        raise ArchitectureError(
            f"group {claim.group.name!r} of {type(module).__name__}: its elements move no weight ({claim.action})"
        )
    known = claims(architecture)
    with undisturbed(module):
        check = _Verification(architecture, twin(module, example_input), known)
        generator = torch.Generator().manual_seed(seed)
        if known:
            check.run(draws, seed, generator)
        return check.verified()


def _check(module: nn.Module, architecture: Architecture) -> None:
    """Check that all that is described is there, in these shapes."""
    state = described(module)
    tied = module.state_dict()
    for parameter in architecture.parameters:
        value = state.get(parameter.name, tied.get(parameter.name))
        if value is None or tuple(value.shape) != parameter.shape or not value.is_floating_point():
            got = "nothing" if value is None else f"{tuple(value.shape)} of {value.dtype}"
            raise ArchitectureError(
                f"parameter {parameter.name!r} is described as {parameter.shape}, {type(module).__name__} has {got}"
            )


class _Verification:
    """One verification under way."""

    def __init__(self, architecture: Architecture, twin: Twin, known: Sequence[Claim]) -> None:
        self.architecture = architecture
        self.twin = twin
        self.known = known
        self.passes = 0
        self.error = 0.0
        self.tolerance = 0.0
        self.moved = 0.0
        self.random = 0.0

    def run(self, draws: int, seed: int, generator: torch.Generator) -> None:
        """Move all claims, and random sets of them, at each draw of weights."""
        clear: list[Trial] = []
        faults: list[str] = []
        for number in range(draws):
            drawn = trial(self.twin, number, seed)
            if isinstance(drawn, str):
                faults.append(drawn)
                continue
            clear.append(drawn)
            if len(clear) == 1:
                self.random = self._random(drawn)
            self.tolerance = max(self.tolerance, drawn.tolerance)
            self._move(drawn, range(len(self.known)), generator, turn=0)
        if not clear:
            raise Unverifiable(f"{faults[0]}, so its symmetry cannot be verified")
        count, shared = len(self.known), len(clear)
        number = max(SETS, 2 * (count - 1).bit_length())
        for turn, half in enumerate(sets(count, -(-number // shared) * shared, generator)):
            self._move(clear[turn % shared], half, generator, turn=1 + turn // shared)
        self._check_visible(clear, generator)

    def verified(self) -> Verified:
        """Return what was seen."""
        return Verified(
            error=self.error,
            tolerance=self.tolerance,
            groups=len(self.architecture.groups),
            actions=len(self.known),
            moved=self.moved,
            passes=self.passes,
            precision=str(self.twin.precision).removeprefix("torch."),
        )

    def _move(self, now: Trial, numbers: Sequence[int], generator: torch.Generator, *, turn: int) -> None:
        """Move some claims, and raise if the outputs change."""
        moved = [self.known[number] for number in numbers]
        acting = element(self.architecture, moved, generator, turn=turn)
        change = self._change(now, acting)
        if change.seen:
            guilty, change = self._guilty(now, acting, moved, change)
            self._refuse(guilty, change)
        self.error = max(self.error, change.size)

    def _change(self, now: Trial, acting: Element) -> Change:
        """Return what an element changes."""
        first = self.twin.first_name
        named = {name: now.state[tensor] for name, tensor in first.items() if tensor in now.state}
        weights = flatten(self.architecture, named, dtype=torch.float64)
        batch = join({self.architecture: weights[None]}, {self.architecture: [0]})
        networks = apply(batch, (acting,)).networks[0]
        self.moved = max(self.moved, float((networks.weights[0] != weights).double().mean()))
        state: dict[str, Tensor] = {}
        for name, value in networks.parameters().items():
            known = state.setdefault(first[name], value[0])
            if not torch.allclose(
                known, value[0], rtol=1e-12
            ):  # one tensor of two names, which move differently
                return Change(place=name, size=float("inf"), seen=True)
        self.passes += 1
        return compare(now.outputs, outputs(self.twin, {**now.state, **state}, now.inputs, now.seed))

    def _guilty(
        self, now: Trial, acting: Element, moved: Sequence[Claim], change: Change
    ) -> tuple[Sequence[Claim], Change]:
        """Halve a set of claims that changes the outputs until one is left, or several that only change them together."""
        while len(moved) > 1:
            middle = len(moved) // 2
            for half in (moved[:middle], moved[middle:]):
                alone = self._change(now, part(acting, half))
                if alone.seen:
                    moved, change = half, alone
                    break
            else:
                for claim in moved[:SINGLES]:
                    alone = self._change(now, part(acting, [claim]))
                    if alone.seen:
                        return [claim], alone
                return moved, change
        return moved, change

    def _refuse(self, guilty: Sequence[Claim], change: Change) -> None:
        what = " and ".join(map(str, guilty[:3])) + (
            f" and {len(guilty) - 3} more" if len(guilty) > 3 else ""
        )
        size = f"by {change.size:.2g} of their size" if change.size < float("inf") else "to something else"
        found = f"{what} changes the outputs of {self.twin.name} {size}, at {change.place}"
        if self.random:
            raise Unverifiable(
                f"the outputs of {self.twin.name} differ by {self.random:.2g} of their size between runs with other "
                f"random numbers, and with the same ones {found}: its symmetry cannot be verified"
            )
        raise ArchitectureError(f"{found}: no symmetry")

    def _check_visible(self, clear: Sequence[Trial], generator: torch.Generator) -> None:
        """Check that no group's weights are all but forgotten by the outputs, so that a mistake would not be seen.

        What the outputs do not depend on at all is no matter: nothing that is said of it is false.
        """
        dependence = [each.influence(self.twin, generator) for each in clear]
        first = self.twin.first_name
        for name, parameters in holders(self.architecture).items():
            seen = [known[first[p.name]] for known in dependence if known is not None for p in parameters]
            forgotten = bool(seen) and all(value < VISIBLE for value in seen) and max(seen) > 0
            if forgotten and None not in dependence:
                raise Unverifiable(
                    f"the outputs of {self.twin.name} hardly depend on group {name!r}: a mistake in it would change them "
                    f"by less than rounding does, so its symmetry cannot be verified"
                )

    def _random(self, now: Trial) -> float:
        """Return how far the outputs differ when only the random numbers that the module draws are others."""
        change = compare(now.outputs, outputs(self.twin, now.state, now.inputs, now.seed + 1))
        return change.size if change.seen else 0.0
