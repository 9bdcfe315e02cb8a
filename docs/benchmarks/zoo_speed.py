"""Measures networks per second: trained together, as a zoo is built, and one by one with torch.optim.

Run ``python docs/benchmarks/zoo_speed.py [npz:FILE]``. It uses one thread. Both ways train the same runs on
the same batches with the same masks, and end at the same weights up to rounding.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict

import numpy as np
import torch
from sneframe_zoos.classifiers.build import draw
from sneframe_zoos.classifiers.design import Design
from sneframe_zoos.classifiers.initial import draw_weights, is_kernel
from sneframe_zoos.classifiers.options import CNNs
from sneframe_zoos.classifiers.train import Checkpoint, Images, Mask, Masks, Order, Run, evaluate, train
from torch import nn
from torch.nn import functional as F

from sneframe.freed_memory import keep_freed_memory

RUNS, STACK, SEED, BATCH = 64, 16, 0, 64
OPTIMISERS = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9}),
}


def stacked(module: nn.Module, runs: list[Run], images: Images) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    for place in range(0, len(runs), STACK):
        found += train(
            module, runs[place : place + STACK], images, seed=SEED, batch_size=BATCH, checkpoints=1
        )
    return found


def one_by_one(module: nn.Module, run: Run, images: Images) -> float:
    """Train one run; return its test accuracy."""
    pictures, labels = images.train
    masks = Masks(module, [run], pictures[:1], seed=SEED, batch_size=BATCH)
    network = masks.network
    nn.utils.vector_to_parameters(torch.from_numpy(run.weights).float(), network.parameters())
    places = {name: place for name, place in network.named_modules() if isinstance(place, Mask)}
    kind, options = OPTIMISERS[run.hyper.optimiser]
    optimiser = kind(network.parameters(), lr=run.hyper.lr, **options)
    kernels = [parameter for name, parameter in network.named_parameters() if is_kernel(name, parameter)]
    order = Order(run, len(pictures), SEED)
    for _ in range(-(-run.hyper.epochs * len(order.own) // BATCH)):
        chosen = order.take(BATCH)
        for name, mask in masks.draw([0]).items():
            places[name.removesuffix(".mask")].mask = mask[0]
        penalty = sum(kernel.square().sum() for kernel in kernels)
        loss = F.cross_entropy(network(pictures[chosen]), labels[chosen]) + run.hyper.l2 * penalty
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    parameters = dict(network.named_parameters())
    evaluate(module, parameters, pictures[order.own], labels[order.own])  # as a zoo does, of every checkpoint
    return evaluate(module, parameters, *images.test)[0]


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as in the processes that build a zoo
    data = sys.argv[1] if len(sys.argv) > 1 else "digits"
    counts = {"train_images": 7000, "test_images": 2000} if len(sys.argv) > 1 else {}
    config = CNNs(data=data, networks=RUNS, seed=SEED, **counts)
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
    for (design, dropout), runs in stacks.items():
        module = design.module(found.shape, found.classes, dropout=0.5 if dropout else 0.0)
        begun = time.perf_counter()
        by_run = {each.run: each.test_accuracy for each in stacked(module, runs, images)}
        seconds[0] += time.perf_counter() - begun
        begun = time.perf_counter()
        alone = [one_by_one(module, run, images) for run in runs]
        seconds[1] += time.perf_counter() - begun
        accuracies[0].extend(by_run[run.number] for run in runs)
        accuracies[1].extend(alone)
    gap = np.abs(np.subtract(*accuracies))
    print(f"{RUNS} runs of {data}, {total} images in all, batches of {BATCH}, one thread")
    for name, spent in zip(("many at a time", "one by one"), seconds, strict=True):
        print(f"{name:15} {RUNS / spent:6.2f} networks/s {total / spent:8.0f} images/s {spent:7.1f} s")
    print(f"ratio {seconds[1] / seconds[0]:.2f}; test accuracies differ by {gap.mean():.4f} in the mean")


if __name__ == "__main__":
    main()
