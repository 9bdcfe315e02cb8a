"""Train many classifiers of one design at once and return their checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from sneframe_zoos.classifiers.evaluate import Checkpoint, Kept, evaluate
from sneframe_zoos.classifiers.flat_weights import FlatWeights
from sneframe_zoos.classifiers.images import Images, taken
from sneframe_zoos.classifiers.optimisers import Stepper
from sneframe_zoos.classifiers.per_run import Masks, Order, Run
from sneframe_zoos.classifiers.ways import stacked

EVALUATED = 64  #: the smallest number of images of a network in one call of an evaluation


def train(
    module: nn.Module, runs: Sequence[Run], images: Images, *, seed: int, batch_size: int, checkpoints: int
) -> list[Checkpoint]:
    """Train runs of one design at once and return their checkpoints.

    Args:
        module: a module of the design. Its weights and the probabilities of its ``nn.Dropout`` are not used,
            because each run has its own.
        runs: the runs to train.
        images: training and test images.
        seed: seed of the zoo.
        batch_size: number of images in a step.
        checkpoints: the largest number of checkpoints of a run. They are at equal distances, and the last one
            is at the end of the last epoch.
    """
    # Make runs with the same optimiser neighbours, so that Stepper updates their weights together.
    runs = sorted(runs, key=lambda run: run.hyper.optimiser)
    dtype = images.train[0].dtype
    orders = [Order(run, len(images.train[0]), seed) for run in runs]
    planned = [_plan(run, order, batch_size, checkpoints) for run, order in zip(runs, orders, strict=True)]
    weights = torch.from_numpy(np.stack([run.weights for run in runs])).to(dtype)
    flat = FlatWeights(module)
    kernels = flat.kernels.to(dtype)
    # Keras adds l2 · Σ w² to the loss.
    decay = torch.tensor([2 * run.hyper.l2 for run in runs], dtype=dtype)[:, None] * kernels
    stepper = Stepper(
        [run.hyper.optimiser for run in runs], torch.tensor([r.hyper.lr for r in runs], dtype=dtype), weights
    )
    example = images.train[0]
    masks = Masks(module, runs, example[:1], seed=seed, batch_size=batch_size)
    shape = (example.shape[1], example.shape[2], example.shape[3])
    batch = max(batch_size, EVALUATED)
    together = stacked(masks.network, shape, batch, len(runs))

    active = list(range(len(runs)))
    kept: list[Kept] = []
    step = 0
    while True:
        for row, number in enumerate(active):
            if (epoch := planned[number].get(step)) is not None:
                final = step == max(planned[number])
                own, now = orders[number].own, weights[row].clone()
                kept.append(Kept(run=runs[number].number, epoch=epoch, final=final, weights=now, own=own))
        going = [row for row, number in enumerate(active) if step < max(planned[number])]
        if not going:
            return evaluate(together, flat, kept, images, batch)
        if len(going) < len(active):
            rows = torch.tensor(going)
            active = [active[row] for row in going]
            weights, decay = weights[rows], decay[rows]
            stepper.keep(rows)
        changes = []
        for first in range(0, len(active), together.networks):
            some = active[first : first + together.networks]
            chosen = torch.stack([orders[number].take(batch_size) for number in some])
            inputs, labels = taken(images.train, chosen)
            parameters = flat.views(weights[first : first + len(some)])
            changes.append(flat.flat(together.gradients(parameters, masks.draw(some), inputs, labels)))
        stepper.step(weights, torch.cat(changes).addcmul_(weights, decay))
        step += 1


def _plan(run: Run, order: Order, batch_size: int, checkpoints: int) -> dict[int, int]:
    """Map the number of training steps before each checkpoint to the epoch of the checkpoint."""
    epochs = run.hyper.epochs
    at = (
        sorted({max(1, round(epochs * (k + 1) / checkpoints)) for k in range(checkpoints)}) if epochs else [0]
    )
    return {math.ceil(epoch * len(order.own) / batch_size): epoch for epoch in at}
