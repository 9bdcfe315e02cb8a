"""Verify an architecture by running its network. Moving neurons must not change the outputs.

Example: an architecture claims that the 16 neurons of group ``hidden0`` may be permuted. A copy of the
network gets random weights and runs once. Then the weights are permuted as the architecture describes, and
the copy runs again. If the outputs differ by more than rounding noise, the claim is false, and the error
names it.
"""

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
from sneframe.symmetry.exact import inexactness
from sneframe.symmetry.moves import Claim, claims, element, holders, idle, part, sets
from sneframe.symmetry.noise import Change, compare
from sneframe.symmetry.trial import Trial, outputs, trial
from sneframe.symmetry.twin import Twin, twin, undisturbed

SETS = 12  #: smallest number of random sets of claims that are tested
VISIBLE = 3  #: how strongly the outputs must depend on the weights of a group, in units of their tolerance
SINGLES = 64  #: largest number of claims that are tested one by one if neither half of a false set is false


@frozen(kw_only=True)
class Verified:
    """The result of a verification that found nothing wrong.

    Args:
        error: the largest change of a number in the outputs, as a fraction of the size of the number.
        tolerance: the largest change that would have counted as noise, as a fraction of the size of the
            number.
        groups: number of groups that were moved.
        actions: number of actions that were tested, over all groups.
        moved: the fraction of the weights that change when all groups move.
        passes: number of runs with moved weights.
        precision: the coarsest floating-point type that the network computed with, such as ``float64``.
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
    """Check that no action of any group changes the outputs of a network.

    A copy of the module runs in double precision, with random values for every parameter and buffer. First
    all groups move at once. Then random halves of the groups move, so that for any two groups there is a run
    in which only the first of the two moves. Each number of the outputs is judged by its own noise, see
    :mod:`.noise`. At last, if the architecture can be evaluated, its values are compared with those of the
    module, see :mod:`.exact`. A verification takes a few dozen forward passes, however many groups there are.

    Args:
        module: the module, which is not changed.
        architecture: the architecture to verify.
        example_input: an input, as for :meth:`~sneframe.architecture.Architecture.from_module`.
        draws: how often random weights are drawn.
        seed: the seed of the draws.

    Raises:
        ArchitectureError: a parameter of the architecture is not in the module or has another shape, or an
            action of a group moves no weight or changes the outputs, or the architecture computes something
            else than the module. The error names the group, the action and the change.
        Unverifiable: the outputs are random or too noisy, or depend too little on the weights to show a wrong
            move.
    """
    _check(module, architecture)
    if (claim := idle(architecture)) is not None:
        raise ArchitectureError(f"{claim} of {type(module).__name__} moves no weight")
    known = claims(architecture)
    with undisturbed(module):
        check = _Verification(architecture, twin(module, example_input), known)
        generator = torch.Generator().manual_seed(seed)
        if known:
            check.run(draws, seed, generator)
        difference = inexactness(architecture, check.twin, generator)
        if difference is not None:
            raise ArchitectureError(
                f"the description does not compute what {check.twin.name} computes: {difference}"
            )
        return check.verified()


def _check(module: nn.Module, architecture: Architecture) -> None:
    """Check that the module has every parameter of the architecture, in the same shape."""
    state = described(module)
    tied = module.state_dict()
    for parameter in architecture.parameters:
        value = state.get(parameter.name, tied.get(parameter.name))
        if value is None or tuple(value.shape) != parameter.shape or not value.is_floating_point():
            got = "no such parameter" if value is None else f"{tuple(value.shape)} of {value.dtype}"
            raise ArchitectureError(
                f"parameter {parameter.name!r} is described as {parameter.shape}, but "
                f"{type(module).__name__} has {got}"
            )


class _Verification:
    """The state of one verification: the twin, and the results so far.

    Args:
        architecture: the architecture to verify.
        twin: the copy of the module that is run.
        known: the claims of the architecture.
    """

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
        """Test all claims together at each draw of weights, and then random sets of claims."""
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
            raise Unverifiable(f"the symmetry of {self.twin.name} cannot be verified: {faults[0]}")
        count, shared = len(self.known), len(clear)
        number = max(SETS, 2 * (count - 1).bit_length())
        for turn, half in enumerate(sets(count, -(-number // shared) * shared, generator)):
            self._move(clear[turn % shared], half, generator, turn=1 + turn // shared)
        self._check_visible(clear, generator)

    def verified(self) -> Verified:
        """Return the result of the verification."""
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
        """Apply the claims with the indices ``numbers``, and raise an error if the outputs change."""
        moved = [self.known[number] for number in numbers]
        acting = element(self.architecture, moved, generator, turn=turn)
        change = self._change(now, acting)
        if change.seen:
            guilty, change = self._guilty(now, acting, moved, change)
            self._refuse(guilty, change)
        self.error = max(self.error, change.size)

    def _change(self, now: Trial, acting: Element) -> Change:
        """Move the weights by an element, run the twin, and return the largest change of its outputs."""
        first = self.twin.first_name
        named = {name: now.state[tensor] for name, tensor in first.items() if tensor in now.state}
        weights = flatten(self.architecture, named, dtype=torch.float64)
        batch = join({self.architecture: weights[None]}, {self.architecture: [0]})
        networks = apply(batch, (acting,)).networks[0]
        self.moved = max(self.moved, float((networks.weights[0] != weights).double().mean()))
        state: dict[str, Tensor] = {}
        for name, value in networks.parameters().items():
            known = state.setdefault(first[name], value[0])
            # A tensor with two names must move in the same way under both names.
            if not torch.allclose(known, value[0], rtol=1e-12):
                return Change(path=name, size=float("inf"), seen=True)
        self.passes += 1
        return compare(now.outputs, outputs(self.twin, {**now.state, **state}, now.inputs, now.seed))

    def _guilty(
        self, now: Trial, acting: Element, moved: Sequence[Claim], change: Change
    ) -> tuple[Sequence[Claim], Change]:
        """Find a false claim in a set by halving the set. Return the claim and its change of the outputs.

        Several claims are returned if only their combination changes the outputs.
        """
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
        """Raise ArchitectureError for false claims, or Unverifiable if the outputs are random anyway."""
        named = " and ".join(map(str, guilty[:3])) + (
            f" and {len(guilty) - 3} more" if len(guilty) > 3 else ""
        )
        size = f"by {change.size:.2g} of their size" if change.size < float("inf") else "to something else"
        fault = f"{named} changes the outputs of {self.twin.name} {size}, at {change.path}"
        if self.random:
            raise Unverifiable(
                f"the symmetry of {self.twin.name} cannot be verified: its outputs differ by "
                f"{self.random:.2g} of their size between runs with different random numbers, and with the "
                f"same random numbers {fault}"
            )
        raise ArchitectureError(f"{fault}; this is no symmetry of the network")

    def _check_visible(self, clear: Sequence[Trial], generator: torch.Generator) -> None:
        """Check that the outputs depend enough on the weights of each group to show a wrong claim.

        A group on which the outputs do not depend at all passes, because no claim about that group can be
        false.
        """
        dependence = [each.influence(self.twin, generator) for each in clear]
        first = self.twin.first_name
        for name, parameters in holders(self.architecture).items():
            seen = [known[first[p.name]] for known in dependence if known is not None for p in parameters]
            forgotten = bool(seen) and all(value < VISIBLE for value in seen) and max(seen) > 0
            if forgotten and None not in dependence:
                raise Unverifiable(
                    f"the symmetry of {self.twin.name} cannot be verified: its outputs hardly depend on "
                    f"group {name!r}, so a wrong move of the group might not be seen"
                )

    def _random(self, now: Trial) -> float:
        """Return the relative change of the outputs when the module draws different random numbers."""
        change = compare(now.outputs, outputs(self.twin, now.state, now.inputs, now.seed + 1))
        return change.size if change.seen else 0.0
