"""The laws themselves: each a function of a case, which returns the largest relative change that it saw; 0 keeps the law.

A law is about a chain of parts up to the one in question, on toy networks in float64. None says that it does not apply.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from attrs import evolve
from torch import Tensor

from sneframe.batch import Batch, join
from sneframe.errors import PartError
from sneframe.parts.carriers import ChunkTokens
from sneframe.parts.head import Head
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Part
from sneframe.plugins import Blamed
from sneframe.symmetry import apply, sample
from sneframe.testing.case import SEED, Case, toy_batch
from sneframe.testing.compare import difference, rows_of, tensors_of


class Immovable(Exception):  # noqa: N818  # says what the carrier is
    """A part gives a carrier that no group element can be applied to, because its class has no method ``act``."""


def symmetry(case: Case, action: str) -> float:
    """Measure what a group element changes that it must not: a carrier moves as the weights do, or stays.

    Raises:
        Immovable: the carrier cannot be moved, so there is nothing that it should equal.
    """
    elements = sample(case.batch, seed=SEED, step=1, actions=(action,))
    moved = case.output(apply(case.batch, elements))
    given = case.output(case.batch)
    if isinstance(given, Tensor):  # the values that a head gives stay
        return difference(given, moved)
    carriers, others = (each.networks if isinstance(each, Batch) else each for each in (given, moved))
    for carrier in carriers:
        if not callable(getattr(carrier, "act", None)):
            raise Immovable(f"{type(carrier).__name__} cannot be moved, it has no act(element)")
    return difference(tuple(c.act(g) for c, g in zip(carriers, elements, strict=True)), others)


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
    if not isinstance(case.part, LayerEncoder):
        return None
    tokens = case.chain(case.batch, "tokenizer")
    if not isinstance(tokens[0], ChunkTokens):
        return None
    dirty = tuple(evolve(t, chunks=torch.where(t.mask, t.chunks, t.chunks.new_tensor(1e3))) for t in tokens)
    with Blamed(case.part):
        return difference(case.part(tokens), case.part(dirty))


def state(case: Case) -> float:
    """What it changes that a model of another seed is given this one's state dict."""
    other = case.rebuild(SEED + 1)
    other.load_state_dict(case.chain.state_dict())
    return difference(case.output(case.batch), case.output(case.batch, other))


def determinism(case: Case) -> float:
    """What it changes to build the model again from the same seed, and to call it twice."""
    first = case.output(case.batch)
    return max(
        difference(first, case.output(case.batch)),
        difference(first, case.output(case.batch, case.rebuild(SEED))),
    )


def gradients(case: Case) -> float | None:
    """Infinite where a gradient is not finite, None where there is nothing to train.

    Raises:
        PartError: from the part's output no gradient reaches any parameter of its own, or any of a part before it that
            gradients still reach from what the part is given. A fitted head gives none, and need not.
    """
    slots = list(case.chain.parts)
    place = slots.index(case.part.slot)
    found = _gradients(case, slots[: place + 1])
    if _gives_gradients(case.part):
        given = _gradients(case, slots[:place]) if place else {}
        due = [slot for slot in found if slot == case.part.slot or given.get(slot)]
        if cut := [case.chain.part(slot) for slot in due if not found[slot]]:
            raise PartError(f"gradients do not reach {' and '.join(f'{p.slot} {p.name!r}' for p in cut)}")
    grads = [grad for each in found.values() for grad in each]
    if not grads:
        return None
    return 0.0 if all(bool(grad.isfinite().all()) for grad in grads) else math.inf


def _gives_gradients(part: Part) -> bool:
    """Whether a part is trained by gradients, or passes them on to the parts in front of it."""
    return not isinstance(part, Head) or part.trained


def _gradients(case: Case, slots: Sequence[str]) -> dict[str, list[Tensor]]:
    """Return the gradients that the output of the last slot sends to each part that has something to train, by slot."""
    model = copy.deepcopy(case.chain)
    tensors = [tensor for tensor in tensors_of(model(case.batch, slots[-1])) if tensor.requires_grad]
    if tensors:
        torch.stack([tensor.square().mean() for tensor in tensors]).sum().backward()
    trained = {slot: [p for p in model.part(slot).parameters() if p.requires_grad] for slot in slots}
    return {slot: [p.grad for p in each if p.grad is not None] for slot, each in trained.items() if each}


def half(case: Case) -> float | None:
    """What bfloat16 autocast changes of the output in float32, over its size; None for what has no arithmetic."""
    if not _gives_gradients(case.part):
        return None
    model = copy.deepcopy(case.chain).float()
    batch = case.batch.to(dtype=torch.float32)
    with torch.no_grad():
        full = case.output(batch, model)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = case.output(batch, model)
    return difference(full, low)


LAWS: Mapping[str, Callable[[Case], float | None]] = {
    "alone as in a batch": alone,
    "whatever the batch mates": mates,
    "whatever the order": order,
    "blind to padding": padding,
    "state dict round trip": state,
    "seeded determinism": determinism,
}
