"""Define the adjustments that change the weights of a model: the head alone, or all weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import final

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sneframe.adaptation.adjustments import CORRECTIONS, Adjustment, Encoded, Fitted, device_of
from sneframe.model import Encoder, Model
from sneframe.parts.head import FittedHead, Head
from sneframe.plugins import Blamed
from sneframe.tasks import Tasks

PENALTY = 1.0  #: weight of the squared change of the weights of a head that gradients train
HEAD_STEPS = 100  #: the largest number of L-BFGS steps
COPIES = 0.2  #: copies of labelled networks for a fitted head, as a fraction of its training networks
STEPS = 40  #: the number of steps that train all weights
LEARNING_RATE = 1e-3  #: the learning rate of these steps
CLIP = 1.0  #: the largest norm of their gradients
SIZE = 32  #: the largest number of networks in such a step


@final
@frozen
class RefitHead(Adjustment):
    """Fits the head again, so that it stays near the head of the run.

    A head that gradients train starts from its weights. The loss is that of the task, summed over the
    labelled networks, plus the squared change of all weights that are not biases (L²-SP: Li, Grandvalet and
    Davoine, arXiv 1802.01483). A fitted head is fitted again to its training networks and to copies of the
    labelled networks. There are a fifth as many copies as training networks.
    """

    name = "head"
    fewest = 10

    def fit(self, head: Head, tasks: Tasks, networks: Encoded) -> Fitted:
        """Fit the head again, and keep the tasks."""
        target = _targets(tasks, networks)
        changed = copy.deepcopy(head)
        with Blamed(head):
            if isinstance(changed, FittedHead):
                _fit_again(changed, networks.embedding, target)
            else:
                _train_again(changed, tasks, networks.embedding, target.float())
        return Fitted(head=changed, tasks=tasks)


@final
@frozen
class FineTune(Adjustment):
    """Trains all weights of the model for a few steps, with AdamW and a constant learning rate.

    Args:
        encoder: the encoder of the run, whose head is trained by gradients. It is copied and not changed.
    """

    encoder: Encoder
    name = "all weights"
    fewest = 30

    def fit(self, head: Head, tasks: Tasks, networks: Encoded) -> Fitted:
        """Train copies of the encoder and the head, and keep the tasks."""
        device = device_of(self.encoder)
        model = copy.deepcopy(Model(self.encoder, head)).to(device).train()
        target = _targets(tasks, networks).float().to(device)
        optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)  # for dropout
            for rows in _batches(len(networks)):
                optimiser.zero_grad()
                value = model(networks.select(rows).to(device)).value
                tasks.loss(value, target[torch.from_numpy(rows).to(device)]).mean().backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimiser.step()
        return Fitted(head=model.head.cpu().eval(), tasks=tasks, encoder=model.encoder.eval())


def adjustments_for(model: Model, groups: int) -> tuple[Adjustment, ...]:
    """Return the adjustments that are tried for a model, the simplest first.

    Args:
        model: the model of the run.
        groups: the number of labelled run groups.
    """
    every: list[Adjustment] = [*CORRECTIONS, RefitHead()]
    if model.head.trained and any(weight.requires_grad for weight in model.encoder.parameters()):
        every.append(FineTune(model.encoder))
    return tuple(each for each in every if each.fewest <= groups)


def _targets(tasks: Tasks, networks: Encoded) -> Tensor:
    """Return the float64 targets ``(n, T)`` of the raw outputs."""
    targets = [task.targets(networks.truth[task.name]) for task in tasks.each]
    return torch.from_numpy(np.concatenate(targets, axis=1))


def _batches(count: int) -> Iterator[np.ndarray]:
    """Yield the rows of the networks in each step: all networks, or parts of a shuffled order."""
    generator, left = np.random.default_rng(0), STEPS
    while left:
        for rows in np.array_split(generator.permutation(count), -(-count // SIZE))[:left]:
            yield np.sort(rows)
            left -= 1


def _fit_again(head: FittedHead, embedding: Tensor, target: Tensor) -> None:
    """Fit a head to its training networks and to copies of other networks, in place."""
    assert head.embeddings is not None
    assert head.targets is not None
    copies = max(1, round(COPIES * len(head.embeddings) / len(embedding)))
    head.finish(
        torch.cat([head.embeddings, *[embedding.to(head.embeddings)] * copies]),
        torch.cat([head.targets, *[target.to(head.targets)] * copies]),
    )


def _train_again(head: Head, tasks: Tasks, embedding: Tensor, target: Tensor) -> None:
    """Train a head in place, by L-BFGS, with a penalty on the change of its weights."""
    head.eval()
    weights = [parameter for parameter in head.parameters() if parameter.ndim > 1]
    before = [weight.detach().clone() for weight in weights]
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=HEAD_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        changes = [(now - then).square().sum() for now, then in zip(weights, before, strict=True)]
        total = tasks.loss(head(embedding), target).sum() + PENALTY * torch.stack(changes).sum()
        total.backward()
        return total

    optimiser.step(loss)
