"""Measures image INRs per second: fitted together, as a zoo is built, and one by one with torch.optim.Adam.

Run ``python docs/benchmarks/image_inr_speed.py [--data digits npz:FILE …] [--networks N] [--stacks 1 4 …]``.
It uses one thread. All ways fit the same INRs to the same images with the same numbers of steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from attrs import evolve
from sneframe_zoos import image_inrs
from sneframe_zoos.fit import error_and_gradient
from sneframe_zoos.image_inrs import (
    COORDINATES,
    ImageINRs,
    UnfittedINR,
    draw,
    images_of,
    pixel_coordinates,
    signals,
    train,
)
from sneframe_zoos.inr import SineINR
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from sneframe.freed_memory import keep_freed_memory


def one_by_one(config: ImageINRs, drawn: list[UnfittedINR]) -> list[float]:
    """Fit the INRs with ``torch.nn`` and ``torch.optim.Adam``, and return their losses."""
    images = config.image_set()
    channels, height, width = images.shape
    points = pixel_coordinates(height, width).mT
    losses = []
    for each in drawn:
        module = SineINR(config.widths, COORDINATES, channels)
        nn.utils.vector_to_parameters(torch.from_numpy(each.weights).float(), module.parameters())
        target = signals(images, np.array([each.image]))[0].mT
        adam = torch.optim.Adam(module.parameters(), lr=each.lr)
        for _ in range(each.steps):
            adam.zero_grad()
            F.mse_loss(module(points), target).backward()
            adam.step()
        losses.append(F.mse_loss(module(points), target).item())
    return losses


def gradients_by_vmap(config: ImageINRs, drawn: list[UnfittedINR]) -> Callable[[], object]:
    """Return a function that computes the gradients of all INRs by ``vmap`` of autograd."""
    images = config.image_set()
    module = SineINR(config.widths, COORDINATES, images.shape[0])
    points = pixel_coordinates(*images.shape[1:]).mT
    targets = signals(images, np.array([each.image for each in drawn])).mT
    stacked = {
        name: value.detach().expand(len(drawn), *value.shape).clone()
        for name, value in module.named_parameters()
    }

    def loss(parameters: dict[str, Tensor], target: Tensor) -> Tensor:
        return F.mse_loss(functional_call(module, parameters, (points,)), target)

    gradient = vmap(grad(loss))
    return lambda: gradient(stacked, targets)


def gradients_by_hand(config: ImageINRs, drawn: list[UnfittedINR]) -> Callable[[], object]:
    """Return a function that computes the gradients of all INRs as a zoo is built."""
    images = config.image_set()
    described = image_inrs.described_inr(config.widths, images.shape[0])
    points = pixel_coordinates(*images.shape[1:])
    targets = signals(images, np.array([each.image for each in drawn]))
    weights = torch.stack([torch.from_numpy(each.weights).float() for each in drawn])
    return lambda: error_and_gradient(described, weights, points, targets)


def seconds(function: Callable[[], object]) -> float:
    """Return the time of a call on the processor, which other processes on it hardly change."""
    begun = time.process_time()
    function()
    return time.process_time() - begun


def compare(config: ImageINRs, stacks: list[int]) -> None:
    """Print networks per second by every way."""
    numbers = range(config.networks)
    images = images_of(config, numbers).tolist()
    drawn = [draw(config, image, 0) for image in images]
    name = config.image_set().name
    train(evolve(config, networks=2, steps=(1, 1)), 0)  # reads the images, and describes the INRs
    alone = config.networks / seconds(lambda: one_by_one(config, drawn))
    for stack in stacks:
        image_inrs.STACK = stack
        together = config.networks / seconds(lambda: train(config, 0))
        print(
            f"zoo: INRs of {name}, {config.networks} networks, steps {config.steps}, stacks of {stack}: "
            f"networks/s together {together:.2f}, one by one {alone:.2f}, ratio {together / alone:.2f}",
            flush=True,
        )
        some = drawn[:stack]
        for way, function in {"hand": gradients_by_hand, "vmap": gradients_by_vmap}.items():
            call = function(config, some)
            call()
            spent = min(seconds(lambda call=call: [call() for _ in range(10)]) for _ in range(5)) / 10
            print(f"  gradients by {way}: {1000 * spent / stack:.3f} ms for each network", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=["digits"])
    parser.add_argument("--networks", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs=2, default=[30, 100])
    parser.add_argument("--stacks", type=int, nargs="*", default=[image_inrs.STACK])
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as in the processes that build a zoo
    for data in given.data:
        compare(ImageINRs(data=data, networks=given.networks, steps=tuple(given.steps)), given.stacks)


if __name__ == "__main__":
    main()
