"""Write a toy zoo of random networks in milliseconds.

The zoo has a property that can be predicted from the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from sneframe.architecture import Architecture, Layer, NeuronGroup, Parameter
from sneframe.zoo import create


def mlp(*widths: int, activation: str = "relu") -> Architecture:
    """Return the architecture of an MLP. ``mlp(1, 8, 1)`` has one hidden layer with eight neurons.

    Each hidden layer is a neuron group, which can be permuted.
    """
    groups = [NeuronGroup(name=f"hidden{number}", size=size) for number, size in enumerate(widths[1:-1])]
    factors: list[int | str] = [widths[0], *(group.name for group in groups), widths[-1]]
    layers = []
    for number, (fan_in, fan_out) in enumerate(pairwise(widths)):
        rows, columns = ((factors[number + 1],),), ((factors[number],),)
        layers.append(
            Layer(
                kind="linear",
                parameters=(
                    Parameter(name=f"{number}.weight", shape=(fan_out, fan_in), axes=(rows, columns)),
                    Parameter(name=f"{number}.bias", shape=(fan_out,), role="bias", axes=(rows,)),
                ),
                inputs=(number - 1,) if number else (),
                activation=activation if number < len(groups) else "none",
            )
        )
    return Architecture(layers=layers, groups=groups)


def toy_zoo(
    path: Path,
    *,
    networks: int = 40,
    hidden: Sequence[Sequence[int]] = ((4, 4),),
    seed: int = 0,
    name: str = "toy",
) -> Path:
    """Write a zoo of random MLPs 1 → hidden → 1, and return its path.

    The property ``scale`` is the factor by which all weights of a network were multiplied. The property
    ``kind`` is an integer and the property ``label`` is a string. Both are the same for all networks of one
    architecture.

    Args:
        path: path of the new zoo.
        networks: number of networks of each architecture.
        hidden: for each architecture, the widths of the hidden layers.
        seed: seed of the weights.
        name: name of the zoo.
    """
    generator = np.random.default_rng(seed)
    with create(path, name=name, description="random MLPs") as writer:
        for number, widths in enumerate(hidden):
            architecture = mlp(1, *widths, 1)
            scale = generator.uniform(0.5, 2.0, networks)
            weights = {
                p.name: (generator.standard_normal((networks, *p.shape)).T * scale).T.astype(np.float32)
                for p in architecture.parameters
            }
            properties = {
                "scale": scale,
                "kind": np.full(networks, number),
                "label": np.array([f"label {number}"] * networks),
            }
            writer.append(architecture, weights, properties)
    return path
