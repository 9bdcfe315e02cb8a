"""Measure whether each part of a configuration keeps the laws, and compare the results with its claims.

The laws are defined in :mod:`sneframe.testing.measures`. They are measured on toy networks in float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe import plugins
from sneframe.architecture.layer import ACTIONS
from sneframe.batch import Batch
from sneframe.compose import use
from sneframe.config.schema import SLOTS, Choice, RunConfig
from sneframe.config.structure import choose, plain, structure, unstructure
from sneframe.declared import check_term, differences, wrong_augmented
from sneframe.errors import ConfigError, PartError, PluginError, SneframeError
from sneframe.model import CHAIN, Model, build_augmentations, build_invariance
from sneframe.parts.invariance import LossTerm, Output
from sneframe.parts.part import Part
from sneframe.plugins import Blamed
from sneframe.rng import Draw
from sneframe.testing.case import SEED, BuiltChain, Case, built, chained, said
from sneframe.testing.compare import difference, rows_of, tensors_of
from sneframe.testing.measures import LAWS, Immovable, gradients, half, symmetry

EXACT = 1e-9  #: tolerance in float64: the rounding error of a few hundred sums is smaller
UNMEASURED = "not measured"
DECLARED = "gives what it declares"


@frozen(kw_only=True)
class Finding:
    """The result of one law for one part.

    Args:
        part: name of the part, or of a recipe that raised an error.
        law: name of the law.
        error: the largest relative change, or None if the law does not apply or nothing could be measured.
        claimed: whether the part claims to keep the law. Laws that the part does not claim are measured too.
        kept: whether the part keeps the law.
        said: a message on one line, such as the error that the part raised. It is empty if the result is a
            number.
    """

    part: str
    law: str
    error: float | None
    claimed: bool
    kept: bool
    said: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether the part claims to keep the law, but does not keep the law."""
        return self.claimed and not self.kept

    @property
    def is_unmeasured(self) -> bool:
        """Whether the part could not be measured because an earlier part is at fault."""
        return self.law == UNMEASURED


# -- findings ------------------------------------------------------------------------------------------


def check(config: RunConfig, only: Collection[str] | None = None) -> Iterator[Finding]:
    """Yield the result of every law for every part of a configuration.

    If a part raises an error, or its output is not as declared, this is a result too. The later parts of the
    chain are then not measured.

    Args:
        config: configuration of a run.
        only: names of the parts to measure, or None for all parts.

    Raises:
        PartError: two parts do not fit each other, or a part refuses the toy networks.
    """
    made = chained(config)
    broken = yield from _check_chain(made, config, only)
    beside = [(_check_loss, config.invariance)] if config.invariance is not None else []
    beside += [(partial(_check_augmentation, place), each) for place, each in enumerate(config.augmentation)]
    for measure, choice in beside:
        name = choice.part.name
        if only is not None and name not in only:
            continue
        if broken:
            yield _unmeasured(name, broken)
            continue
        try:
            yield from measure(config, made.batch)
        except PartError:
            raise
        except Exception as error:  # noqa: BLE001  # a part may fail in any way
            yield _fault(name, "runs", said(error))


def _check_chain(
    made: BuiltChain, config: RunConfig, only: Collection[str] | None
) -> Generator[Finding, None, str]:
    """Yield the results for the parts of a chain.

    Returns:
        The part at fault as ``SLOT 'NAME'``, or an empty string if all parts are sound.
    """
    carried, broken = set(ACTIONS), ""
    for slot in CHAIN:
        name = getattr(config, slot).part.name
        wanted = only is None or name in only
        if broken or slot not in made.chain.parts:
            failure = made.failure
            if wanted and failure is not None and failure.slot == slot:
                yield _fault(name, failure.law, failure.said)
            elif wanted:
                yield _unmeasured(name, broken)
            broken = broken or f"{slot} {name!r}"
            continue
        case = made.case(slot)
        carried = (carried & set(case.part.keeps)) | case.removed
        faults, readable = _contract(case)
        if wanted:
            yield from faults or [_kept(name, DECLARED)]
            if readable:
                yield from _measured(case, carried)
                same = _configuration(getattr(config, slot))
                yield _finding(case.part, "configuration round trip", same)
        broken = f"{slot} {name!r}" if faults else ""
    return broken


def _contract(case: Case) -> tuple[list[Finding], bool]:
    """Compare the output of a part with its declaration.

    Returns:
        The faults of the output, and whether the laws can still read the output.
    """
    name = case.part.name
    try:
        with torch.no_grad():
            given = case.output(case.batch)
    except PluginError as error:
        return [_fault(name, "runs", said(error))], False
    found = list(differences(case.part, given, case.batch))
    faults = [_fault(name, DECLARED, each.line) for each in found]
    readable = all(each.readable for each in found)
    tensors = tensors_of(given)
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        faults.append(_fault(name, "finite", "returns NaN or infinity for finite weights"))
        readable = False
    if other := sorted({str(t.dtype).removeprefix("torch.") for t in tensors if t.dtype != torch.float64}):
        faults.append(_fault(name, "in the type it is given", f"returns {', '.join(other)} for float64"))
    return faults, readable


def _measured(case: Case, carried: Collection[str]) -> Iterator[Finding]:
    """Yield the result of every law for one part. If the part raises an error, it does not keep the law."""
    laws: list[tuple[str, Callable[[], float | None], bool, float]] = [
        (f"symmetric under {action}", partial(symmetry, case, action), action in carried, EXACT)
        for action in ACTIONS
    ]
    laws += [(name, partial(law, case), True, EXACT) for name, law in LAWS.items()]
    laws += [("bfloat16", partial(half, case), True, 0.2)]
    for name, law, claimed, tolerance in laws:
        with torch.no_grad():
            yield _tried(case.part, name, law, claimed=claimed, tolerance=tolerance)
    yield _tried(case.part, "finite gradients", partial(gradients, case), claimed=True, tolerance=EXACT)


def _tried(
    part: Part, name: str, law: Callable[[], float | None], *, claimed: bool, tolerance: float
) -> Finding:
    try:
        return _finding(part, name, law(), claimed=claimed, tolerance=tolerance)
    except Immovable as error:
        return Finding(part=part.name, law=name, error=None, claimed=False, kept=True, said=str(error))
    except Exception as error:  # noqa: BLE001  # a part may fail in any way, and other parts remain
        if isinstance(error, PluginError) and error.part not in (None, part.name):
            return Finding(
                part=part.name, law=name, error=None, claimed=False, kept=True
            )  # another part is at fault
        return _fault(part.name, name, said(error))


def check_plugin(name: str) -> Iterator[Finding]:
    """Yield the result of every law for every part that a plugin offers, each part once.

    A part is measured in the first recipe of its plugin that uses the part. If there is no such recipe, or if
    the part cannot be measured there, the part is put into the first recipe of an installed plugin that fits.

    Raises:
        PluginError: the plugin is not installed, or cannot be loaded.
    """
    registry = plugins.load([name])
    offered, seen, own = dict(registry.parts), set[str](), []
    unmeasured: dict[str, list[Finding]] = {}
    for recipe, make in registry.recipes.items():
        try:
            own.append(_composed(make))
            wanted = {choice.part.name for choice in own[-1].choices} & (offered.keys() - seen)
            found = list(check(own[-1], wanted)) if wanted else []
        except SneframeError as error:
            yield _fault(recipe, "recipe", str(error))
            continue
        for part in sorted(wanted):
            of_part = [finding for finding in found if finding.part == part]
            if any(finding.is_unmeasured for finding in of_part):
                unmeasured[part] = of_part
            else:
                yield from of_part
                seen.add(part)
    recipes = _Lazy(itertools.chain(own, _of_others(name)))
    for part in sorted(offered.keys() - seen):
        yield from (
            _in_any(offered[part], recipes)
            or unmeasured.get(part)
            or [
                _fault(
                    part,
                    "recipe",
                    "no recipe of an installed plugin can use this part: offer a recipe that names the part",
                )
            ]
        )


class _Lazy:
    """Iterates over the values of an iterator any number of times. A value is computed when first needed.

    So a plugin is loaded only when one of its recipes is needed.
    """

    def __init__(self, values: Iterator[RunConfig]) -> None:
        self._left = values
        self._known: list[RunConfig] = []

    def __iter__(self) -> Iterator[RunConfig]:
        yield from self._known
        for value in self._left:
            self._known.append(value)
            yield value


def _composed(make: Callable[[], RunConfig]) -> RunConfig:
    """Return the configuration of a recipe after converting it to plain data and back.

    The conversion raises an error if no plugin offers a part of the recipe.
    """
    return structure(unstructure(make()), plugins.part)


def _of_others(name: str) -> Iterator[RunConfig]:
    """Yield the recipes of all installed plugins except ``name``. Broken plugins and recipes are skipped."""
    for plugin in plugins.installed():
        if plugin != name:
            with suppress(SneframeError):
                for make in plugins.load([plugin]).recipes.values():
                    with suppress(SneframeError):
                        yield _composed(make)


def _in_any(part: type[Part], recipes: Iterable[RunConfig]) -> list[Finding]:
    """Return the results for a part in the first recipe that fits the part and in which it can be measured.

    Without such a recipe, the list is empty.
    """
    for config in recipes:
        try:
            chosen = use(part)
            changes: dict[str, Any] = {part.slot: chosen if part.slot in SLOTS else (chosen,)}
            found = list(check(evolve(config, **changes), {part.name}))
        except (PartError, ConfigError):
            continue
        if not any(finding.is_unmeasured for finding in found):
            return found
    return []


def _finding(
    part: Part, law: str, error: float | None, *, claimed: bool = True, tolerance: float = EXACT
) -> Finding:
    kept = error is None or error <= tolerance
    return Finding(part=part.name, law=law, error=error, claimed=claimed and error is not None, kept=kept)


def _kept(name: str, law: str) -> Finding:
    return Finding(part=name, law=law, error=0.0, claimed=True, kept=True)


def _fault(name: str, law: str, said: str) -> Finding:
    return Finding(part=name, law=law, error=None, claimed=True, kept=False, said=said)


def _unmeasured(name: str, broken: str) -> Finding:
    said = f"the part comes after {broken}, which is at fault or could not be measured"
    return Finding(part=name, law=UNMEASURED, error=None, claimed=False, kept=False, said=said)


def _configuration(choice: Choice) -> float:
    """Return inf if the options of a part change when they are converted to plain data and back, else 0."""
    again = choose(choice.part, plain(choice.config))
    return 0.0 if attrs.asdict(again.config) == attrs.asdict(choice.config) else math.inf


def _check_loss(config: RunConfig, batch: Batch) -> Iterator[Finding]:
    """Yield the results for an invariance loss.

    The loss must be deterministic. Its options must not change when they are converted to plain data and
    back. Its gradients must be finite and reach the encoder.
    """
    model, rebuild = built(config, batch.architectures)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        loss = build_invariance(config, model)
    assert loss is not None
    assert config.invariance is not None
    loss.double()
    with Blamed(loss):
        loss.weight(0.0)
    draw = Draw(seed=SEED, step=3, positions=np.arange(len(batch)), size=len(batch))

    def term(model: Model) -> Tensor:
        output: Output = model(batch)
        with Blamed(loss):
            found: LossTerm = loss(model, batch, output, draw)
        check_term(loss, found)
        return found.total / found.count

    with torch.no_grad():
        yield _finding(loss, "seeded determinism", difference(term(model), term(rebuild(SEED))))
        yield _finding(loss, "configuration round trip", _configuration(config.invariance))
    found = term(model)
    if found.requires_grad:
        found.backward()
    encoder = [p for p in model.encoder.parameters() if p.requires_grad]
    if encoder and all(p.grad is None for p in encoder):
        yield _fault(loss.name, "finite gradients", "gradients do not reach the encoder")
        return
    grads = [p.grad for p in (*model.parameters(), *loss.parameters()) if p.grad is not None]
    finite = all(bool(grad.isfinite().all()) for grad in grads)
    yield _finding(loss, "finite gradients", 0.0 if finite else math.inf)


def _check_augmentation(place: int, config: RunConfig, batch: Batch) -> Iterator[Finding]:
    """Yield the results for an augmentation.

    The augmentation must return finite weights of the same type, be deterministic, and make a new change at
    every step. Without ``mixes``, the change of a network must not depend on other networks.
    """
    model, _ = built(config, batch.architectures)
    part = build_augmentations(config, model)[place].double()
    target = torch.linspace(-1, 1, len(batch), dtype=torch.float64).unsqueeze(1)

    def changed(positions: np.ndarray, step: int = 3) -> tuple[Batch, Tensor]:
        draw = Draw(seed=SEED, step=step, positions=positions, size=len(batch))
        asked, goal = batch.select(positions), target[torch.from_numpy(positions)]
        with Blamed(part):
            found: tuple[Batch, Tensor] = part(asked, goal, draw)
        return found

    everyone = np.arange(len(batch))
    given = changed(everyone)
    if wrong := wrong_augmented(given, batch, target):
        yield from (_fault(part.name, "a batch as it was", line) for line in wrong)
        return
    together, targets = given
    whole = _as_it_was(together, batch)
    yield _finding(part, "a batch as it was", 0.0 if whole else math.inf)
    if not whole:
        return
    yield _finding(part, "seeded determinism", difference((together, targets), changed(everyone)))
    another = difference((together, targets), changed(everyone, step=4))
    yield _finding(part, "anew at every step", 0.0 if another > EXACT else math.inf)
    worst, rows = 0.0, rows_of(together, together)
    for position in everyone:
        single, value = changed(np.array([position]))
        worst = max(
            worst, difference((rows[position], targets[position]), (rows_of(single, single)[0], value[0]))
        )
    yield _finding(part, "alone as in a batch", worst, claimed=not part.mixes)
    yield _finding(part, "configuration round trip", _configuration(config.augmentation[place]))


def _as_it_was(batch: Batch, before: Batch) -> bool:
    """Return whether the weights of a batch are finite and have the same types as in ``before``."""
    pairs = zip(batch.networks, before.networks, strict=True)
    return all(n.weights.dtype == m.weights.dtype and bool(n.weights.isfinite().all()) for n, m in pairs)
