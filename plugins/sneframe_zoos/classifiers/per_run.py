"""Draw what each training run has of its own: the order of its images, and its dropout masks.

All random numbers are drawn separately for each run, so the runs that are trained together with a run change
its weights only by rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn

from sneframe.rng import word
from sneframe_zoos.classifiers.hyperparameters import Hyperparameters


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


def generator(seed: int, run: Run, purpose: str) -> torch.Generator:
    """Return the random generator that a run uses for one purpose, such as the order of images."""
    return torch.Generator().manual_seed(_word(seed, run, purpose))


def _word(seed: int, run: Run, purpose: str) -> int:
    return word(f"{seed} {run.number} {purpose}") & ((1 << 63) - 1)


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
        self._generators = [np.random.SFC64(_word(seed, run, "dropout")) for run in runs]
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

        A value is 0 or 1 / (1 - rate). The masks of a run without dropout are 1. The channels of maps
        lie last in memory.
        """
        drawn: dict[str, Tensor] = {}
        for name, (batch, *shape) in self._shapes.items():
            features, *pixels = shape
            masks = torch.ones((len(active), batch, *pixels, features), dtype=self._dtype)
            for mask, number in zip(masks, active, strict=True):
                if rate := self._rates[number]:
                    _keep(mask, rate, self._generators[number])
                    mask.mul_(1 / (1 - rate))
            drawn[name] = masks.movedim(-1, 2)
        return drawn


def _keep(mask: Tensor, rate: float, generator: np.random.BitGenerator) -> None:
    """Fill a contiguous tensor with ones, and with zeros of probability ``rate``, exact to 1 / 65 536.

    A random number of 64 bits gives four values. The dropout of PyTorch draws a number for each, which takes
    as long as a third of a step.
    """
    numbers = torch.from_numpy(generator.random_raw(-(-mask.numel() // 4)).view(np.int16))
    least = round(rate * (1 << 16)) - (1 << 15)
    torch.ge(numbers[: mask.numel()].view(mask.shape), least, out=mask)


def _replaced(module: nn.Module, kind: type[nn.Module]) -> nn.Module:
    twin = copy.deepcopy(module)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(parent, name, kind())
    return twin
