"""Define the laws as functions that measure a part.

A law takes a case and returns the largest relative change of the output of its part, on toy networks in
float64. The part keeps the law if the change is 0 up to rounding. None means that the law does not apply.
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


class Immovable(Exception):  # noqa: N818  # the name describes the carrier
    """A part returns a carrier without the method ``act``, so no group element can be applied to it."""


def symmetry(case: Case, action: str) -> float:
    """Measure whether moving the networks moves the output of a part in the same way.

    Return the difference between the output for moved networks, and the moved output for the same networks.
    If the part that normalises removes the action, the output must not change.

    Raises:
        Immovable: the carriers cannot be moved, so there is nothing to compare with.
    """
    elements = sample(case.batch, seed=SEED, step=1, actions=(action,))
    moved = case.output(apply(case.batch, elements))
    given = case.output(case.batch)
    if isinstance(given, Tensor):  # the values of a head must not change
        return difference(given, moved)
    if action in case.removed:
        return difference(_without_original(given), _without_original(moved))
    carriers, others = (each.networks if isinstance(each, Batch) else each for each in (given, moved))
    for carrier in carriers:
        if not callable(getattr(carrier, "act", None)):
            raise Immovable(f"{type(carrier).__name__} cannot be moved because it has no method act(element)")
    return difference(tuple(c.act(g) for c, g in zip(carriers, elements, strict=True)), others)


def _without_original(output: object) -> object:
    """Return an output, or the weights of a batch without the original ones, which every move changes."""
    return tuple(each.weights for each in output.networks) if isinstance(output, Batch) else output


def alone(case: Case) -> float:
    """Measure the change of the output for a network when it is encoded alone instead of in a batch."""
    together = rows_of(case.output(case.batch), case.batch)
    worst = 0.0
    for position in range(len(case.batch)):
        single = case.batch.select([position])
        (row,) = rows_of(case.output(single), single)
        worst = max(worst, difference(together[position], row))
    return worst


def mates(case: Case) -> float:
    """Measure the change of the output for a network when networks with far larger weights join its batch."""
    first = case.batch.select([0])
    others = toy_batch(case.batch.architectures, seed=SEED + 1)
    others = others.replace(n.weights * 100 for n in others.networks)
    rows = {n.architecture: n.weights for n in others.networks}
    own = first.networks[0]
    rows[own.architecture] = torch.cat([own.weights, rows[own.architecture]])
    ids = {a: np.arange(len(w)) * 10 + number for number, (a, w) in enumerate(rows.items())}
    mixed = join(rows, ids)
    position = int(np.flatnonzero(mixed.ids == ids[own.architecture][0])[0])
    return difference(rows_of(case.output(first), first)[0], rows_of(case.output(mixed), mixed)[position])


def order(case: Case) -> float:
    """Measure the change of the output for each network when the networks of the batch are reordered."""
    turned = np.random.default_rng(SEED).permutation(len(case.batch))
    moved = case.batch.select(turned)
    rows, others = rows_of(case.output(case.batch), case.batch), rows_of(case.output(moved), moved)
    return max(difference(rows[position], others[index]) for index, position in enumerate(turned))


def padding(case: Case) -> float | None:
    """Measure the change of the output of a layer encoder when the numbers in padding change.

    The law applies only to a layer encoder that takes ChunkTokens.
    """
    if not isinstance(case.part, LayerEncoder):
        return None
    tokens = case.chain(case.batch, "tokenizer")
    if not isinstance(tokens[0], ChunkTokens):
        return None
    dirty = tuple(evolve(t, chunks=torch.where(t.mask, t.chunks, t.chunks.new_tensor(1e3))) for t in tokens)
    with Blamed(case.part):
        return difference(case.part(tokens), case.part(dirty))


def state(case: Case) -> float:
    """Load the state dict of a chain into a chain with another seed, and measure how the outputs differ."""
    other = case.rebuild(SEED + 1)
    other.load_state_dict(case.chain.state_dict())
    return difference(case.output(case.batch), case.output(case.batch, other))


def determinism(case: Case) -> float:
    """Measure the change of the output in a second call, and in a chain rebuilt from the same seed."""
    first = case.output(case.batch)
    return max(
        difference(first, case.output(case.batch)),
        difference(first, case.output(case.batch, case.rebuild(SEED))),
    )


def gradients(case: Case) -> float | None:
    """Return 0 if all gradients of the chain are finite, inf if one is not, and None without gradients.

    Raises:
        PartError: the gradient of the part's output does not reach the trainable weights of the part. Or it
            does not reach an earlier part, although the gradient of the part's input does. For a fitted head,
            through which no gradient passes, there is no such error.
    """
    slots = list(case.chain.parts)
    index = slots.index(case.part.slot)
    found = _gradients(case, slots[: index + 1])
    if _gives_gradients(case.part):
        given = _gradients(case, slots[:index]) if index else {}
        due = [slot for slot in found if slot == case.part.slot or given.get(slot)]
        if cut := [case.chain.part(slot) for slot in due if not found[slot]]:
            raise PartError(f"gradients do not reach {' and '.join(f'{p.slot} {p.name!r}' for p in cut)}")
    grads = [grad for each in found.values() for grad in each]
    if not grads:
        return None
    return 0.0 if all(bool(grad.isfinite().all()) for grad in grads) else math.inf


def _gives_gradients(part: Part) -> bool:
    """Return whether gradients pass through a part. This is true for all parts except a fitted head."""
    return not isinstance(part, Head) or part.trained


def _gradients(case: Case, slots: Sequence[str]) -> dict[str, list[Tensor]]:
    """Return by slot the gradients of the trainable weights, computed from the output of the last slot.

    Slots without trainable weights are left out.
    """
    model = copy.deepcopy(case.chain)
    tensors = [tensor for tensor in tensors_of(model(case.batch, slots[-1])) if tensor.requires_grad]
    if tensors:
        torch.stack([tensor.square().mean() for tensor in tensors]).sum().backward()
    trained = {slot: [p for p in model.part(slot).parameters() if p.requires_grad] for slot in slots}
    return {slot: [p.grad for p in each if p.grad is not None] for slot, each in trained.items() if each}


def half(case: Case) -> float | None:
    """Measure the change of the output from float32 to bfloat16 autocast, or None for a fitted head."""
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
