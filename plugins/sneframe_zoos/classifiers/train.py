"""Train many classifiers of one design at once and return their checkpoints.

All random numbers are drawn separately for each run, outside the vectorised step. The runs that are
trained together with a run therefore change its weights only by rounding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from sneframe.rng import word
from sneframe_zoos.classifiers.gradients import gradients_of
from sneframe_zoos.classifiers.hyperparameters import Hyperparameters
from sneframe_zoos.classifiers.images import ImageSet
from sneframe_zoos.classifiers.initial import is_kernel
from sneframe_zoos.classifiers.optimisers import Stepper

EVALUATED = 500  #: the largest number of images in one forward pass of an evaluation


@frozen(kw_only=True, eq=False)
class Run:
    """One training run.

    Args:
        number: number of the run in its zoo. This number and the seed of the zoo determine all random numbers
            of the run.
        hyper: hyper-parameters of the run.
        weights: initial weights, shape ``(P,)``.
    """

    number: int
    hyper: Hyperparameters
    weights: np.ndarray


@frozen(kw_only=True, eq=False)
class Images:
    """Images ``(n, channels, H, W)`` and labels ``(n,)``: those for training, and those for testing."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, images: ImageSet) -> Images:
        """Split an image set into training images and test images."""
        pictures, labels = images.tensors()
        cut = images.train
        return cls(train=(pictures[:cut], labels[:cut]), test=(pictures[cut:], labels[cut:]))


@frozen(kw_only=True, eq=False)
class Checkpoint:
    """The weights of a network at the end of an epoch, with accuracies and losses.

    Args:
        run: number of the run.
        epoch: number of the epoch, counted from 1; 0 means before training.
        final: whether this is the last checkpoint of the run.
        weights: the weights, shape ``(P,)``.
        train_accuracy: accuracy on the run's own training images.
        train_loss: mean cross-entropy on the run's own training images, without the L2 penalty.
        test_accuracy: accuracy on all test images.
        test_loss: mean cross-entropy on the test images.
    """

    run: int
    epoch: int
    final: bool
    weights: np.ndarray
    train_accuracy: float
    train_loss: float
    test_accuracy: float
    test_loss: float

    @property
    def healthy(self) -> bool:
        """Whether all weights and both losses are finite. If not, the training has diverged."""
        return bool(
            np.isfinite(self.weights).all()
            and math.isfinite(self.train_loss)
            and math.isfinite(self.test_loss)
        )


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
    masks = Masks(module, runs, images.train[0][:1], seed=seed, batch_size=batch_size)
    gradients = gradients_of(masks.network)

    active = list(range(len(runs)))
    results: list[Checkpoint] = []
    step = 0
    while True:
        for row, number in enumerate(active):
            if (epoch := planned[number].get(step)) is not None:
                final = step == max(planned[number])
                own = orders[number].own
                results.append(
                    _checkpoint(module, flat, runs[number], (epoch, final), weights[row], images, own)
                )
        going = [row for row, number in enumerate(active) if step < max(planned[number])]
        if not going:
            return results
        if len(going) < len(active):
            rows = torch.tensor(going)
            active = [active[row] for row in going]
            weights, decay = weights[rows], decay[rows]
            stepper.keep(rows)
        chosen = torch.stack([orders[number].take(batch_size) for number in active])
        inputs, labels = (tensor[chosen] for tensor in images.train)
        change = flat.flat(gradients(flat.views(weights), masks.draw(active), inputs, labels))
        stepper.step(weights, change.addcmul_(weights, decay))
        step += 1


def _plan(run: Run, order: Order, batch_size: int, checkpoints: int) -> dict[int, int]:
    """Map the number of training steps before each checkpoint to the epoch of the checkpoint."""
    epochs = run.hyper.epochs
    at = (
        sorted({max(1, round(epochs * (k + 1) / checkpoints)) for k in range(checkpoints)}) if epochs else [0]
    )
    return {math.ceil(epoch * len(order.own) / batch_size): epoch for epoch in at}


# -- what is drawn for each run -----------------------------------------------------------------------------


def generator(seed: int, run: Run, purpose: str) -> torch.Generator:
    """Return the random generator that a run uses for one purpose, such as the order of images."""
    return torch.Generator().manual_seed(word(f"{seed} {run.number} {purpose}") & ((1 << 63) - 1))


class Order:
    """Draws the training images of a run, and the order in which the run sees them.

    The run uses a random subset that holds the fraction ``train_fraction`` of all training images. The subset
    is shuffled again for every epoch. The number of epochs is not limited.

    Args:
        run: the run.
        count: number of training images in the image set.
        seed: seed of the zoo.
    """

    def __init__(self, run: Run, count: int, seed: int) -> None:
        self._generator = generator(seed, run, "order")
        size = max(1, round(run.hyper.train_fraction * count))
        #: indices of the images in the subset
        self.own = torch.randperm(count, generator=self._generator)[:size]
        self._left = self.own[:0]

    def take(self, count: int) -> Tensor:
        """Return the indices of the next ``count`` images, which may belong to two or more epochs."""
        while len(self._left) < count:
            shuffled = self.own[torch.randperm(len(self.own), generator=self._generator)]
            self._left = torch.cat([self._left, shuffled])
        taken, self._left = self._left[:count], self._left[count:]
        return taken


class Mask(nn.Module):
    """A replacement for ``nn.Dropout`` that multiplies its input by a mask, which :class:`Masks` draws."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Return ``values * mask``. Store the shape of ``values``, which :class:`Masks` needs."""
        self.shape = values.shape
        return values * self.mask


class Masks:
    """Draws the dropout masks of each run.

    Args:
        module: a module, which may contain ``nn.Dropout``.
        runs: the runs; nothing is drawn for a run without dropout.
        example: an image ``(1, channels, H, W)``. A forward pass with it finds the shapes of the masks.
        seed: seed of the zoo.
        batch_size: number of images in a step.
    """

    def __init__(
        self, module: nn.Module, runs: Sequence[Run], example: Tensor, *, seed: int, batch_size: int
    ) -> None:
        self._rates = [run.hyper.dropout for run in runs]
        self._generators = [generator(seed, run, "dropout") for run in runs]
        self._dtype = example.dtype
        #: a copy of the module with a Mask (an identity if no run has dropout) for each dropout
        self.network = _replaced(module, Mask if any(self._rates) else nn.Identity)
        masks = {name: mask for name, mask in self.network.named_modules() if isinstance(mask, Mask)}
        if masks:
            with torch.no_grad():
                self.network.to(example.dtype)(example)
        self._shapes = {f"{name}.mask": (batch_size, *mask.shape[1:]) for name, mask in masks.items()}

    def draw(self, active: Sequence[int]) -> dict[str, Tensor]:
        """Draw the masks of one step. Return them by name, shape ``(G, B, …)`` for G active runs.

        A value is 0 or 1 / (1 - rate). The masks of a run without dropout are 1.
        """
        drawn: dict[str, Tensor] = {}
        for name, shape in self._shapes.items():
            masks = torch.ones((len(active), *shape), dtype=self._dtype)
            for mask, number in zip(masks, active, strict=True):
                if rate := self._rates[number]:
                    kept = torch.rand(shape, generator=self._generators[number]) >= rate
                    torch.mul(kept, 1 / (1 - rate), out=mask)
            drawn[name] = masks
        return drawn


def _replaced(module: nn.Module, kind: type[nn.Module]) -> nn.Module:
    twin = copy.deepcopy(module)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(parent, name, kind())
    return twin


# -- flat weights and modules -------------------------------------------------------------------------------


class FlatWeights:
    """Converts between flat weights and the parameters of a module.

    Args:
        module: the module. Flat weights have the order of ``module.named_parameters()``.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters = dict(module.named_parameters())
        self._shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        self._sizes = [parameter.numel() for parameter in parameters.values()]
        kernel = [is_kernel(name, parameter) for name, parameter in parameters.items()]
        #: 1 for the weights of kernels and 0 for all other weights, shape ``(P,)``
        self.kernels = torch.repeat_interleave(torch.tensor(kernel).float(), torch.tensor(self._sizes))

    def views(self, weights: Tensor) -> dict[str, Tensor]:
        """Return the parameters ``(…, *shape)`` by name, as views of flat weights ``(…, P)``."""
        pieces = weights.split(self._sizes, dim=-1)
        named = zip(self._shapes.items(), pieces, strict=True)
        return {name: piece.unflatten(-1, shape) for (name, shape), piece in named}

    def flat(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return flat weights ``(G, P)`` of parameters ``(G, *shape)``."""
        return torch.cat([parameters[name].flatten(1) for name in self._shapes], dim=1)


def _checkpoint(
    module: nn.Module,
    flat: FlatWeights,
    run: Run,
    when: tuple[int, bool],
    weights: Tensor,
    images: Images,
    own: Tensor,
) -> Checkpoint:
    weights = weights.clone()
    parameters = flat.views(weights)
    trained = evaluate(module, parameters, images.train[0][own], images.train[1][own])
    tested = evaluate(module, parameters, *images.test)
    return Checkpoint(
        run=run.number,
        epoch=when[0],
        final=when[1],
        weights=weights.numpy(),
        train_accuracy=trained[0],
        train_loss=trained[1],
        test_accuracy=tested[0],
        test_loss=tested[1],
    )


@torch.no_grad()
def evaluate(
    module: nn.Module, parameters: Mapping[str, Tensor], images: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Return the accuracy and the mean cross-entropy of a module with ``parameters``, without dropout."""
    module.eval()
    right, loss = 0, 0.0
    for some, wanted in zip(images.split(EVALUATED), labels.split(EVALUATED), strict=True):
        logits = functional_call(module, dict(parameters), (some,))
        right += int((logits.argmax(1) == wanted).sum())
        loss += float(F.cross_entropy(logits, wanted, reduction="sum"))
    return right / len(labels), loss / len(labels)
