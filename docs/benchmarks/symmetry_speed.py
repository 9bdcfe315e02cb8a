"""Measures the time to draw and apply permutations, and the time of one gather of the same weights.

The weights are those of 256 networks of the Small CNN Zoo. Run ``python docs/benchmarks/symmetry_speed.py
[THREADS]``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import join
from sneframe.symmetry import apply, sample

NETWORKS, ROUNDS = 256, 100


def small_cnn() -> nn.Module:
    """Return the network of the Small CNN Zoo: 4 970 weights."""
    return nn.Sequential(
        *(
            nn.Conv2d(1, 16, 3, 2),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, 2),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, 2),
            nn.ReLU(),
        ),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )


def milliseconds(action: Callable[[], object]) -> float:
    """Return the median of one call."""
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    architecture = Architecture.from_module(small_cnn(), torch.randn(2, 1, 28, 28))
    weights = torch.randn(NETWORKS, architecture.num_weights)
    batch = join({architecture: weights}, {architecture: range(NETWORKS)})
    index = torch.stack([torch.randperm(architecture.num_weights) for _ in range(NETWORKS)])
    print(f"{tuple(weights.shape)}, {torch.get_num_threads()} threads, milliseconds, medians of {ROUNDS}")
    for _ in range(5):
        gather = milliseconds(lambda: weights.gather(1, index))
        both = milliseconds(lambda: apply(batch, sample(batch, seed=0, step=0)))
        print(f"gather {gather:.2f}  sample and apply {both:.2f}  ratio {both / gather:.2f}")
