"""Measures networks per second: trained together, as a zoo is built, and one by one with torch.optim.

``python docs/benchmarks/zoo_speed.py [--data digits npz:FILE …] [--design small-cnn arch1 …] [--ways]``. It
uses one thread. Both train the same runs on the same batches, and evaluate the same checkpoint. Runs without
dropout end at the same weights up to rounding. Runs with dropout draw other masks. ``--ways`` measures the
gradients by every way of computing many networks, too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from functools import partial

import numpy as np
import torch
from sneframe_zoos.classifiers.build import draw
from sneframe_zoos.classifiers.design import Design
from sneframe_zoos.classifiers.evaluate import Checkpoint
from sneframe_zoos.classifiers.images import Images
from sneframe_zoos.classifiers.initial import draw_weights, is_kernel
from sneframe_zoos.classifiers.options import CNNs, MLPs, Transformers
from sneframe_zoos.classifiers.per_run import Order, Run
from sneframe_zoos.classifiers.stacked_convs import Grouped, Patched
from sneframe_zoos.classifiers.train import train
from sneframe_zoos.classifiers.vectorised import Vectorised
from sneframe_zoos.classifiers.ways import stacked
from torch import Tensor, nn
from torch.nn import functional as F

from sneframe.freed_memory import keep_freed_memory

RUNS, STACK, SEED, BATCH = 64, 16, 0, 64
DESIGNS = {
    **{name: partial(CNNs, arch=name) for name in ("small-cnn", "arch1", "arch2")},
    "mlp": MLPs,
    "vit": Transformers,
}
SMALLEST = {"arch1": 18}  #: the size to which smaller images are enlarged
OPTIMISERS = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9}),
}


def together(module: nn.Module, runs: list[Run], images: Images) -> list[Checkpoint]:
    """Train the runs of one design, as a zoo is built."""
    found: list[Checkpoint] = []
    for place in range(0, len(runs), STACK):
        found += train(
            module, runs[place : place + STACK], images, seed=SEED, batch_size=BATCH, checkpoints=1
        )
    return found


@torch.no_grad()
def accuracy(network: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    """Return the accuracy of a network on images."""
    right = [
        (network(some).argmax(1) == wanted).sum()
        for some, wanted in zip(pictures.split(500), labels.split(500), strict=True)
    ]
    return int(sum(right)) / len(labels)


def one_by_one(network: nn.Module, run: Run, images: Images) -> float:
    """Train one run with the layers and optimisers of PyTorch; return its test accuracy."""
    pictures, labels = images.train
    nn.utils.vector_to_parameters(torch.from_numpy(run.weights).float(), network.parameters())
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = run.hyper.dropout
    kind, options = OPTIMISERS[run.hyper.optimiser]
    optimiser = kind(network.parameters(), lr=run.hyper.lr, **options)
    kernels = [parameter for name, parameter in network.named_parameters() if is_kernel(name, parameter)]
    order = Order(run, len(pictures), SEED)
    network.train()
    for _ in range(-(-run.hyper.epochs * len(order.own) // BATCH)):
        chosen = order.take(BATCH)
        penalty = sum(kernel.square().sum() for kernel in kernels)
        loss = F.cross_entropy(network(pictures[chosen]), labels[chosen]) + run.hyper.l2 * penalty
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    accuracy(network, pictures[order.own], labels[order.own])  # as a zoo does, of every checkpoint
    return accuracy(network, *images.test)


def config_of(design: str, data: str) -> CNNs | MLPs | Transformers:
    """Return the options of a zoo of ``RUNS`` runs."""
    counts = (
        {"size": SMALLEST.get(design)} if data == "digits" else {"train_images": 7000, "test_images": 2000}
    )
    return DESIGNS[design](data=data, networks=RUNS, seed=SEED, **counts)


def compare(design: str, data: str) -> None:
    """Print the speed of training together, and one by one."""
    config = config_of(design, data)
    found = config.image_set()
    images = Images.of(found)
    stacks: dict[tuple[Design, bool], list[Run]] = defaultdict(list)
    total = 0
    for number in range(RUNS):
        drawn = draw(config, number)
        weights = draw_weights(drawn.design.module(found.shape, found.classes), drawn.hyper, drawn.generator)
        stacks[drawn.design, drawn.hyper.dropout > 0].append(
            Run(number=number, hyper=drawn.hyper, weights=weights)
        )
        total += drawn.hyper.epochs * round(drawn.hyper.train_fraction * found.train)
    seconds, accuracies = [0.0, 0.0], ([], [])
    for (drawn_design, dropout), runs in stacks.items():
        module = drawn_design.module(found.shape, found.classes, dropout=0.5 if dropout else 0.0)
        begun = time.perf_counter()
        by_run = {each.run: each.test_accuracy for each in together(module, runs, images)}
        seconds[0] += time.perf_counter() - begun
        begun = time.perf_counter()
        alone = [one_by_one(module, run, images) for run in runs]
        seconds[1] += time.perf_counter() - begun
        if not dropout:
            accuracies[0].extend(by_run[run.number] for run in runs)
            accuracies[1].extend(alone)
    gap = np.abs(np.subtract(*accuracies))
    rates = [RUNS / spent for spent in seconds]
    print(
        f"zoo: {design} on {data.rsplit('/', 1)[-1]}, {RUNS} runs, {total} images: networks/s together "
        f"{rates[0]:.2f}, one by one {rates[1]:.2f}, ratio {rates[0] / rates[1]:.2f}; test accuracies "
        f"without dropout differ by {gap.mean():.4f} in the mean",
        flush=True,
    )


def ways(design: str, data: str) -> None:
    """Print the time of the gradients of one network in a batch, by every way."""
    config = config_of(design, data)
    found = config.image_set()
    module = draw(config, 0).design.module(found.shape, found.classes)
    inputs = torch.randn(STACK, BATCH, *found.shape)
    labels = torch.randint(found.classes, (STACK, BATCH))
    parameters = {
        name: value.detach().expand(STACK, *value.shape) for name, value in module.named_parameters()
    }
    kinds = {"vectorised": Vectorised(module, STACK), "loop": Vectorised(module, 1)}
    if DESIGNS[design] not in (MLPs, Transformers):
        kinds |= {
            "grouped": Grouped(module, STACK),
            "patched": Patched(module, found.shape, BATCH, STACK),
        }
    for name, way in kinds.items():

        def step(way=way) -> None:
            for first in range(0, STACK, way.networks):
                here = slice(first, first + way.networks)
                some = {name: value[here] for name, value in parameters.items()}
                if name == "loop":
                    alone(
                        module, {name: value[0] for name, value in some.items()}, inputs[first], labels[first]
                    )
                else:
                    way.gradients(some, {}, inputs[here], labels[here])

        step()
        spent = []
        for _ in range(5):
            begun = time.process_time()
            step()
            spent.append(time.process_time() - begun)
        chosen = " (chosen)" if name == stacked(module, found.shape, BATCH, STACK).name else ""
        print(
            f"zoo: {design} on {data.rsplit('/', 1)[-1]}: gradients of one network, {name}{chosen}: "
            f"{1000 * statistics.median(spent) / STACK:.2f} ms",
            flush=True,
        )


def alone(module: nn.Module, parameters: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> None:
    """Compute the gradients of one network with PyTorch's own layers."""
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    loss = F.cross_entropy(torch.func.functional_call(module, leaves, (inputs,)), labels)
    torch.autograd.grad(loss, list(leaves.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=["digits"])
    parser.add_argument("--design", nargs="*", default=list(DESIGNS), choices=list(DESIGNS))
    parser.add_argument("--ways", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as in the processes that build a zoo
    for data in given.data:
        for design in given.design:
            if given.ways:
                ways(design, data)
            compare(design, data)


if __name__ == "__main__":
    main()
