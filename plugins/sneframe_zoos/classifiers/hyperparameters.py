"""Draw the hyper-parameters of each training run, as in the Small CNN Zoo (arXiv 2002.11448)."""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import numpy as np
from attrs import frozen

Optimiser = Literal["sgd", "momentum", "adam", "rmsprop"]
Init = Literal["glorot_normal", "he_normal", "orthogonal", "normal", "truncated_normal"]
OPTIMISERS: Final[tuple[Optimiser, ...]] = get_args(Optimiser)
INITS: Final[tuple[Init, ...]] = get_args(Init)
SCALED: Final = ("normal", "truncated_normal")  #: the inits that need ``init_std``


@frozen(kw_only=True)
class Ranges:
    """The ranges of the hyper-parameters. Each hyper-parameter is drawn independently of the others.

    Args:
        lr: bounds of the learning rate, which is drawn log-uniformly.
        optimisers: optimisers, of which one is drawn uniformly.
        inits: initialisations, of which one is drawn uniformly.
        init_std: bounds of the standard deviation of the inits in :data:`SCALED`, drawn log-uniformly.
        l2: bounds of the L2 penalty, which is drawn log-uniformly.
        dropout: largest dropout probability. With probability 1/2, a run has no dropout. Otherwise, its
            dropout probability is drawn uniformly between 0 and this bound.
        activations: activations, of which one is drawn uniformly.
        train_fractions: fractions of the training images, of which one is drawn uniformly.
        epochs: smallest and largest number of epochs; the number is drawn uniformly.
    """

    lr: tuple[float, float]
    optimisers: tuple[str, ...]
    inits: tuple[str, ...]
    init_std: tuple[float, float]
    l2: tuple[float, float]
    dropout: float
    activations: tuple[str, ...]
    train_fractions: tuple[float, ...]
    epochs: tuple[int, int]


@frozen(kw_only=True)
class Hyperparameters:
    """The hyper-parameters of one training run. Each hyper-parameter is a property of the run's networks.

    Args:
        lr: learning rate.
        optimiser: one of :data:`OPTIMISERS`.
        init: initialisation of the kernels, one of :data:`INITS`.
        init_std: standard deviation of the initial kernels if ``init`` is one of :data:`SCALED`, else NaN.
        l2: L2 penalty as in Keras: ``l2`` times the sum of the squared kernel weights is added to the loss.
            The gradient of a kernel weight therefore grows by ``2 · l2`` times the weight.
        dropout: dropout probability after each hidden layer.
        activation: activation of each hidden layer to which the design gives no other activation.
        train_fraction: fraction of the training images that the run trains on.
        epochs: number of passes over the training images of the run.
    """

    lr: float
    optimiser: str
    init: str
    init_std: float
    l2: float
    dropout: float
    activation: str
    train_fraction: float
    epochs: int


def draw(ranges: Ranges, generator: np.random.Generator) -> Hyperparameters:
    """Draw the hyper-parameters of one training run."""
    init = str(generator.choice(ranges.inits))
    return Hyperparameters(
        lr=log_uniform(ranges.lr, generator),
        optimiser=str(generator.choice(ranges.optimisers)),
        init=init,
        init_std=log_uniform(ranges.init_std, generator) if init in SCALED else math.nan,
        l2=log_uniform(ranges.l2, generator),
        dropout=float(generator.uniform(0, ranges.dropout)) if generator.random() < 0.5 else 0.0,
        activation=str(generator.choice(ranges.activations)),
        train_fraction=float(generator.choice(ranges.train_fractions)),
        epochs=int(generator.integers(ranges.epochs[0], ranges.epochs[1] + 1)),
    )


def log_uniform(bounds: tuple[float, float], generator: np.random.Generator) -> float:
    """Draw a number between two positive bounds whose logarithm is uniform."""
    return math.exp(generator.uniform(math.log(bounds[0]), math.log(bounds[1])))
