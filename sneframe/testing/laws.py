"""Laws that every part is held to: a recipe in, for each part and law what was measured and what was claimed.

Each law is a function of a :class:`Case`, a chain of parts up to the one in question, built on toy networks in float64.
It returns the largest relative change that it saw; 0 keeps the law.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import attrs
import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe import plugins
from sneframe.architecture.description import ACTIONS
from sneframe.batch import Batch, Networks, join
from sneframe.config import SLOTS, Choice, RunConfig, plugins_named
from sneframe.convert import structure, unstructure
from sneframe.draw import Draw
from sneframe.errors import ConfigError, PartError
from sneframe.head import FittedHead
from sneframe.invariance import Output
from sneframe.model import Model, build_augmentations, build_invariance
from sneframe.part import ChunkTokens, NeuronFeatures, Part, WeightFeatures
from sneframe.plugins import Registry
from sneframe.symmetry import apply, sample
from sneframe.testing.case import SEED, Case, built, cases, toy_batch
from sneframe.testing.compare import act_on_features, difference, rows_of, tensors_of

EXACT = 1e-9  #: in float64: more than rounding in a few hundred sums


@frozen(kw_only=True)
class Finding:
    """What one law says of one part.

    Args:
        part: its name.
        law: the law's name.
        error: the largest relative change, or None where the law does not apply.
        claimed: whether the part claims to keep it; others are measured all the same.
        kept: whether it does.
    """

    part: str
    law: str
    error: float | None
    claimed: bool
    kept: bool

    @property
    def is_fault(self) -> bool:
        """Whether a claim is not kept."""
        return self.claimed and not self.kept


# -- laws -----------------------------------------------------------------------------------------------------------


def symmetry(case: Case, action: str) -> float | None:
    """What a group element changes: carriers on weights move with it, all others stay."""
    elements = sample(case.batch, seed=SEED, step=1, actions=(action,))
    moved = case.output(apply(case.batch, elements))
    stayed = case.output(case.batch)
    if isinstance(stayed, Batch):
        return difference(apply(stayed, elements), moved)
    if isinstance(stayed, tuple) and isinstance(stayed[0], Networks):
        stayed = apply(case.batch.replace(networks.weights for networks in stayed), elements).networks
    if isinstance(stayed, tuple) and isinstance(stayed[0], ChunkTokens):
        return None  # chunks are cut across neurons: there is nothing that they should equal
    if isinstance(stayed, tuple) and isinstance(stayed[0], WeightFeatures | NeuronFeatures):
        pairs = zip(stayed, elements, strict=True)
        stayed = tuple(act_on_features(features, element) for features, element in pairs)
    return difference(stayed, moved)


def alone(case: Case) -> float:
    """What it changes that a network is encoded by itself instead of in its batch."""
    together = rows_of(case.output(case.batch), case.batch)
    worst = 0.0
    for position in range(len(case.batch)):
        single = case.batch.select([position])
        (row,) = rows_of(case.output(single), single)
        worst = max(worst, difference(together[position], row))
    return worst


def mates(case: Case) -> float:
    """What it changes that a network's batch mates are other networks, larger ones by far."""
    first = case.batch.select([0])
    others = toy_batch(case.batch.architectures, seed=SEED + 1)
    others = others.replace(n.weights * 100 for n in others.networks)
    rows = {n.architecture: n.weights for n in others.networks}
    own = first.networks[0]
    rows[own.architecture] = torch.cat([own.weights, rows[own.architecture]])
    ids = {a: np.arange(len(w)) * 10 + number for number, (a, w) in enumerate(rows.items())}
    mixed = join(rows, ids)
    place = int(np.flatnonzero(mixed.ids == ids[own.architecture][0])[0])
    return difference(rows_of(case.output(first), first)[0], rows_of(case.output(mixed), mixed)[place])


def order(case: Case) -> float:
    """What it changes that the networks of a batch come in another order."""
    turned = np.random.default_rng(SEED).permutation(len(case.batch))
    moved = case.batch.select(turned)
    rows, others = rows_of(case.output(case.batch), case.batch), rows_of(case.output(moved), moved)
    return max(difference(rows[position], others[place]) for place, position in enumerate(turned))


def padding(case: Case) -> float | None:
    """What other numbers in the place of padding change; of a layer encoder that takes chunks."""
    encoder = case.model.encoder
    tokens = encoder.tokenizer(encoder.normalise(case.batch))
    if case.part is not encoder.layer_encoder or not isinstance(tokens[0], ChunkTokens):
        return None
    dirty = tuple(evolve(t, chunks=torch.where(t.mask, t.chunks, t.chunks.new_tensor(1e3))) for t in tokens)
    return difference(encoder.layer_encoder(tokens), encoder.layer_encoder(dirty))


def state(case: Case) -> float:
    """What it changes that a model of another seed is given this one's state dict."""
    other = case.rebuild(SEED + 1)
    other.load_state_dict(case.model.state_dict())
    return difference(case.output(case.batch), case.output(case.batch, other))


def determinism(case: Case) -> float:
    """What it changes to build the model again from the same seed, and to call it twice."""
    first = case.output(case.batch)
    return max(
        difference(first, case.output(case.batch)),
        difference(first, case.output(case.batch, case.rebuild(SEED))),
    )


def gradients(case: Case) -> float | None:
    """Infinite where a gradient is not finite, None where there is nothing to train."""
    model = copy.deepcopy(case.model)
    output = case.output(case.batch, model)
    tensors = [tensor for tensor in tensors_of(output) if tensor.requires_grad]
    if not tensors:
        return None
    torch.stack([tensor.square().mean() for tensor in tensors]).sum().backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    return 0.0 if all(bool(grad.isfinite().all()) for grad in found) else math.inf


def half(case: Case) -> float | None:
    """What bfloat16 autocast changes of the output in float32, over its size; None for what has no arithmetic."""
    model = copy.deepcopy(case.model).float()
    batch = case.batch.to(dtype=torch.float32)
    if isinstance(model.head, FittedHead) and case.part.slot == "head":
        return None
    with torch.no_grad():
        full = case.output(batch, model)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = case.output(batch, model)
    return difference(full, low)


# -- findings -------------------------------------------------------------------------------------------------------


def check(config: RunConfig, registry: Registry, only: Collection[str] | None = None) -> Iterator[Finding]:
    """Yield what every law says of every part of a configuration.

    Args:
        config: of a run.
        registry: with every part that it names.
        only: the names of the parts to look at; not given: all.

    Raises:
        PartError: the method cannot be built on the toy networks.
    """
    carried = set(ACTIONS)
    for case in cases(config, registry):
        carried &= set(case.part.keeps)
        if only is not None and case.part.name not in only:
            continue
        with torch.no_grad():
            for action in ACTIONS:
                error = symmetry(case, action)
                yield _finding(case, f"symmetric under {action}", error, claimed=action in carried)
            for name, law in LAWS.items():
                yield _finding(case, name, law(case))
            yield _finding(
                case,
                "configuration round trip",
                _configuration(config, registry, getattr(config, case.part.slot)),
            )
        yield _finding(case, "finite gradients", gradients(case))
        yield _finding(case, "bfloat16", half(case), tolerance=0.2)
    if config.invariance is not None and (only is None or config.invariance.part in only):
        yield from _check_loss(config, registry)
    for place, choice in enumerate(config.augmentation):
        if only is None or choice.part in only:
            yield from _check_augmentation(config, registry, place)


def check_plugin(name: str) -> Iterator[Finding]:
    """Yield what every law says of every part that a plugin offers, each once.

    A part is looked at in the first recipe of its own plugin that names it; one that no recipe names takes its slot in
    a recipe of any installed plugin that it fits.

    Raises:
        PluginError: there is no such plugin, or it does not load.
        PartError: a part fits in no recipe.
    """
    offered = dict(plugins.load([name]).parts)
    recipes = [
        own for plugin in (name, *(p for p in plugins.installed() if p != name)) for own in _recipes(plugin)
    ]
    seen: set[str] = set()
    for config, registry in recipes:
        named = {choice.part for choice in _choices(config)}
        if named & (offered.keys() - seen):
            yield from check(config, registry, only=named & (offered.keys() - seen))
            seen |= named
    for part in sorted(offered.keys() - seen):
        yield from _in_any(offered[part], recipes)


def _choices(config: RunConfig) -> list[Choice]:
    """Return every part that a configuration names, with its options."""
    slots: list[Choice | None] = [getattr(config, slot) for slot in SLOTS]
    return [*(choice for choice in slots if choice is not None), *config.augmentation]


def _recipes(plugin: str) -> list[tuple[RunConfig, Registry]]:
    found = []
    for make in plugins.load([plugin]).recipes.values():
        data = unstructure(make())
        registry = plugins.load(plugins_named(data))
        found.append((structure(data, registry), registry))
    return found


def _in_any(part: type[Part], recipes: Sequence[tuple[RunConfig, Registry]]) -> list[Finding]:
    """Return the findings on a part in the first recipe in which it fits."""
    for config, _ in recipes:
        table = {"part": part.name}
        data = {**unstructure(config), part.slot: table if part.slot in SLOTS else [table]}
        registry = plugins.load(plugins_named(data))
        try:
            return list(check(structure(data, registry), registry, only={part.name}))
        except (PartError, ConfigError):
            continue
    raise PartError(
        f"{part.slot} {part.name!r} fits in no recipe of an installed plugin; offer one that names it"
    )


LAWS: Mapping[str, Callable[[Case], float | None]] = {
    "alone as in a batch": alone,
    "whatever the batch mates": mates,
    "whatever the order": order,
    "blind to padding": padding,
    "state dict round trip": state,
    "seeded determinism": determinism,
}


def _finding(
    case: Case, law: str, error: float | None, *, claimed: bool = True, tolerance: float = EXACT
) -> Finding:
    kept = error is None or error <= tolerance
    return Finding(
        part=case.part.name, law=law, error=error, claimed=claimed and error is not None, kept=kept
    )


def _configuration(config: RunConfig, registry: Registry, choice: Choice) -> float:
    """Infinite where a part's options do not come back from plain data as they were."""
    again = _choices(structure(unstructure(config), registry))
    same = [attrs.asdict(each.config) for each in again if each.part == choice.part]
    return 0.0 if attrs.asdict(choice.config) in same else math.inf


def _check_loss(config: RunConfig, registry: Registry) -> Iterator[Finding]:
    """Yield what holds of an invariance loss: a finite gradient, the same for the same draw."""
    try:
        model, batch, rebuild = built(config, registry, mixed=True)
    except PartError:
        model, batch, rebuild = built(config, registry, mixed=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        loss = build_invariance(config, registry, model)
    assert loss is not None
    assert config.invariance is not None
    loss.double()
    draw = Draw(seed=SEED, step=3, positions=np.arange(len(batch)), size=len(batch))

    def term(model: Model) -> Tensor:
        output: Output = model(batch)
        found = loss(model, batch, output, draw)
        return found.total / found.count

    case = Case(part=loss, model=model, batch=batch, rebuild=rebuild)
    with torch.no_grad():
        yield _finding(case, "seeded determinism", difference(term(model), term(rebuild(SEED))))
        yield _finding(case, "configuration round trip", _configuration(config, registry, config.invariance))
    term(model).backward()
    grads = [p.grad for p in (*model.parameters(), *loss.parameters()) if p.grad is not None]
    finite = all(bool(grad.isfinite().all()) for grad in grads)
    yield _finding(case, "finite gradients", 0.0 if finite else math.inf)


def _check_augmentation(config: RunConfig, registry: Registry, place: int) -> Iterator[Finding]:
    """Yield what holds of an augmentation: the same for the same draw, another at every step, a batch as it was."""
    try:
        model, batch, rebuild = built(config, registry, mixed=True)
    except PartError:
        model, batch, rebuild = built(config, registry, mixed=False)
    part = build_augmentations(config, registry, model)[place].double()
    case = Case(part=part, model=model, batch=batch, rebuild=rebuild)
    target = torch.linspace(-1, 1, len(batch), dtype=torch.float64).unsqueeze(1)

    def changed(positions: np.ndarray, step: int = 3) -> tuple[Batch, Tensor]:
        draw = Draw(seed=SEED, step=step, positions=positions, size=len(batch))
        found: tuple[Batch, Tensor] = part(batch.select(positions), target[torch.from_numpy(positions)], draw)
        return found

    everyone = np.arange(len(batch))
    together, targets = changed(everyone)
    whole = _as_it_was(together, batch) and targets.shape == target.shape
    yield _finding(case, "a batch as it was", 0.0 if whole else math.inf)
    if not whole:
        return
    yield _finding(case, "seeded determinism", difference((together, targets), changed(everyone)))
    another = difference((together, targets), changed(everyone, step=4))
    yield _finding(case, "anew at every step", 0.0 if another > EXACT else math.inf)
    worst, rows = 0.0, rows_of(together, together)
    for position in everyone:
        single, value = changed(np.array([position]))
        worst = max(
            worst, difference((rows[position], targets[position]), (rows_of(single, single)[0], value[0]))
        )
    yield _finding(case, "alone as in a batch", worst, claimed=not part.mixes)
    yield _finding(
        case, "configuration round trip", _configuration(config, registry, config.augmentation[place])
    )


def _as_it_was(batch: Batch, before: Batch) -> bool:
    """Whether a batch has the networks of another, in their places, of their type, and finite."""
    if not np.array_equal(batch.ids, before.ids) or batch.architectures != before.architectures:
        return False
    pairs = zip(batch.networks, before.networks, strict=True)
    return all(n.weights.dtype == m.weights.dtype and bool(n.weights.isfinite().all()) for n, m in pairs)
