"""Train the base, and many low-rank adapters of it at once.

The factors of all adapters are padded to the largest rank. Padded rows of A and columns of B are 0, their
gradients are 0, and Adam leaves them at 0, so the padding changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional as F

from sneframe_zoos.classifiers.images import Images, taken
from sneframe_zoos.classifiers.optimisers import Stepper
from sneframe_zoos.lora.low_rank_linear import LowRankLinear
from sneframe_zoos.lora.options import TARGETS, Adapters, DrawnAdapter, generator_of, subsets

STACK = 16  #: the most adapters that are trained together
EVALUATED = 64  #: number of images of an adapter in one call of an evaluation
#: The shapes of A and B of one adapter.
FactorShapes = tuple[tuple[int, int], tuple[int, int]]
ORDER, INITIAL = 1, 2  #: streams of random numbers of an adapter: order of the images, initial weights


def train_base(config: Adapters) -> dict[str, np.ndarray]:
    """Train the base on all classes, and return its state dict.

    Args:
        config: the options of the zoo.
    """
    images = config.image_set()
    pictures, labels = Images.of(images).train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed % (1 << 63))
        module = config.design.module(images.shape, images.classes)
    optimiser = torch.optim.Adam(module.parameters(), lr=config.base_lr)
    generator = generator_of(config, 0, stream=4)
    for _ in range(config.base_steps):
        rows = torch.from_numpy(generator.integers(len(labels), size=config.batch_size))
        optimiser.zero_grad()
        F.cross_entropy(module(pictures[rows]), labels[rows]).backward()
        optimiser.step()
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


@frozen(kw_only=True, eq=False)
class TrainedAdapter:
    """An adapter after its training.

    Args:
        drawn: what was drawn for it.
        factors: A ``(rank, in)`` and B ``(out, rank)`` of each module.
        accuracy: accuracy on the test images of its classes.
        loss: mean cross-entropy on them.
        accuracy_all: accuracy on all test images.
        loss_all: mean cross-entropy on them.
    """

    drawn: DrawnAdapter
    factors: Mapping[str, tuple[np.ndarray, np.ndarray]]
    accuracy: float
    loss: float
    accuracy_all: float
    loss_all: float


class AdapterStack:
    """The adapters of one base that are trained together.

    Args:
        config: the options of the zoo.
        base: the state dict of the base.
    """

    def __init__(self, config: Adapters, base: Mapping[str, np.ndarray]) -> None:
        self._config = config
        images = config.image_set()
        self._images = Images.of(images)
        self._module = config.design.module(images.shape, images.classes).eval()
        self._module.load_state_dict({name: torch.from_numpy(value) for name, value in base.items()})
        self._module.requires_grad_(False)
        self._layers = {name: self._replaced(name) for name in modules_of(config, "all")}

    def _replaced(self, name: str) -> LowRankLinear:
        linear = self._module.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        layer = LowRankLinear(linear)
        parent, _, last = name.rpartition(".")
        setattr(self._module.get_submodule(parent), last, layer)
        return layer

    def train(self, drawn: Sequence[DrawnAdapter]) -> list[TrainedAdapter]:
        """Train adapters, each for its own number of steps, and measure them."""
        rank = max(each.rank for each in drawn)
        shapes = {
            name: ((rank, layer.linear.in_features), (layer.linear.out_features, rank))
            for name, layer in self._layers.items()
        }
        weights = torch.cat([self._initial(drawn, *key) for key in shapes.items()], dim=1)
        trained = torch.cat([self._trained(drawn, *key) for key in shapes.items()], dim=1)
        scaling = torch.tensor([each.alpha / each.rank for each in drawn])
        orders = [_Order(self._config, each, self._images.train[1]) for each in drawn]
        stepper = Stepper(["adam"] * len(drawn), torch.tensor([each.lr for each in drawn]), weights)
        left = torch.tensor([each.steps for each in drawn])
        for step in range(int(left.max())):
            chosen = torch.stack([order.take(self._config.batch_size) for order in orders])
            weights.requires_grad_(True)
            self._adapt(weights, shapes, scaling)
            inputs, labels = taken(self._images.train, chosen)
            logits = self._module(inputs.flatten(0, 1))
            loss = F.cross_entropy(logits, labels.flatten(), reduction="sum") / self._config.batch_size
            (gradient,) = torch.autograd.grad(loss, weights)
            weights = weights.detach()
            before = weights.clone()
            stepper.step(weights, gradient * trained)
            weights = torch.where((step < left)[:, None], weights, before)
        self._adapt(weights, shapes, scaling)
        measured = self._measured(drawn)
        return [
            TrainedAdapter(
                drawn=each,
                factors={
                    name: (a[row, : each.rank].numpy(), b[row, :, : each.rank].numpy())
                    for name, (a, b) in _views(weights, shapes).items()
                    if name in modules_of(self._config, each.targets)
                },
                accuracy=own_accuracy,
                loss=own_loss,
                accuracy_all=accuracy,
                loss_all=loss,
            )
            for row, (each, (own_accuracy, own_loss, accuracy, loss)) in enumerate(
                zip(drawn, measured.tolist(), strict=True)
            )
        ]

    def _initial(self, drawn: Sequence[DrawnAdapter], name: str, shapes: FactorShapes) -> Tensor:
        """Return the initial factors of a module for all adapters, flat ``(N, …)``: B is 0, as in PEFT.

        A is uniform within ±1 / √in, as the weights of torch's linear layers.
        """
        place = list(self._layers).index(name)
        (rank, inputs), second = shapes
        a = torch.zeros(len(drawn), rank, inputs)
        for row, each in enumerate(drawn):
            if name in modules_of(self._config, each.targets):
                generator = generator_of(self._config, each.number, stream=INITIAL + (place << 4))
                values = generator.uniform(-1, 1, (each.rank, inputs)) / math.sqrt(inputs)
                a[row, : each.rank] = torch.from_numpy(values).float()
        return torch.cat([a.flatten(1), torch.zeros(len(drawn), math.prod(second))], dim=1)

    def _trained(self, drawn: Sequence[DrawnAdapter], name: str, shapes: FactorShapes) -> Tensor:
        """Return 1 for the weights of a module in adapters that change the module, and 0 in all others."""
        count = sum(math.prod(shape) for shape in shapes)
        on = torch.tensor([name in modules_of(self._config, each.targets) for each in drawn]).float()
        return on[:, None].expand(-1, count)

    def _adapt(self, weights: Tensor, shapes: Mapping[str, FactorShapes], scaling: Tensor) -> None:
        for name, (a, b) in _views(weights, shapes).items():
            self._layers[name].adapt(a, b, scaling)

    @torch.no_grad()
    def _measured(self, drawn: Sequence[DrawnAdapter]) -> Tensor:
        """Return accuracy and loss on the test images of the own classes, and of all classes, ``(N, 4)``."""
        pictures, labels = self._images.test
        own = torch.stack(
            [torch.isin(labels, torch.tensor(subsets(self._config)[each.subset])) for each in drawn]
        )
        found = torch.zeros(len(drawn), 4, dtype=torch.float64)
        for rows in torch.arange(len(labels)).split(EVALUATED):
            logits = self._module(pictures[rows].repeat(len(drawn), 1, 1, 1))
            target = labels[rows].repeat(len(drawn))
            right = (logits.argmax(1) == target).view(len(drawn), -1).double()
            loss = F.cross_entropy(logits, target, reduction="none").view(len(drawn), -1).double()
            for column, values in enumerate((right * own[:, rows], loss * own[:, rows], right, loss)):
                found[:, column] += values.sum(1)
        counts = own.sum(1).double()
        return torch.stack(
            [*(found[:, :2] / counts[:, None]).unbind(1), *(found[:, 2:] / len(labels)).unbind(1)], dim=1
        )


def modules_of(config: Adapters, targets: str) -> tuple[str, ...]:
    """Return the names of the modules that an adapter changes, in the order of the network."""
    return tuple(f"blocks.{block}.{name}" for block in range(config.blocks) for name in TARGETS[targets])


def _views(weights: Tensor, shapes: Mapping[str, FactorShapes]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return A ``(N, r, in)`` and B ``(N, out, r)`` of each module, as views of the flat weights."""
    sizes = [math.prod(shape) for pair in shapes.values() for shape in pair]
    pieces = iter(weights.split(sizes, dim=1))
    return {
        name: (next(pieces).unflatten(1, first), next(pieces).unflatten(1, second))
        for name, (first, second) in shapes.items()
    }


class _Order:
    """The order in which an adapter sees the training images of its classes, shuffled for every pass."""

    def __init__(self, config: Adapters, drawn: DrawnAdapter, labels: Tensor) -> None:
        chosen = torch.isin(labels, torch.tensor(subsets(config)[drawn.subset]))
        self._own = chosen.nonzero().flatten().numpy()
        self._generator = generator_of(config, drawn.number, stream=ORDER)
        self._left = np.empty(0, np.int64)

    def take(self, count: int) -> Tensor:
        """Return the indices of the next ``count`` images."""
        while len(self._left) < count:
            self._left = np.concatenate([self._left, self._generator.permutation(self._own)])
        now, self._left = self._left[:count], self._left[count:]
        return torch.from_numpy(now)
