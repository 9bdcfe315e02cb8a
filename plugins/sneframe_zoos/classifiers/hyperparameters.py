"""Hyper-parameters, drawn for each run as in the Small CNN Zoo (Unterthiner et al., arXiv 2002.11448)."""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import numpy as np
from attrs import frozen

Optimiser = Literal["sgd", "momentum", "adam", "rmsprop"]
Init = Literal["glorot_normal", "he_normal", "orthogonal", "normal", "truncated_normal"]
OPTIMISERS: Final[tuple[Optimiser, ...]] = get_args(Optimiser)
INITS: Final[tuple[Init, ...]] = get_args(Init)
SCALED: Final = ("normal", "truncated_normal")  #: the inits whose standard deviation is drawn, too


@frozen(kw_only=True)
class Ranges:
    """The ranges from which the hyper-parameters are drawn, each independently of the others.

    Args:
        lr: bounds of the learning rate, drawn log-uniformly.
        optimisers: optimisers, drawn uniformly.
        inits: initialisations, drawn uniformly.
        init_std: bounds of the standard deviation, drawn log-uniformly, for the inits in :data:`SCALED` only.
        l2: bounds of the penalty, drawn log-uniformly.
        dropout: largest dropout probability; one run in two draws uniformly between 0 and this, the others
            use 0.
        activations: activations, drawn uniformly.
        train_fractions: fractions of the training images, drawn uniformly.
        epochs: smallest and largest number of epochs, drawn uniformly.
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
    """The hyper-parameters of one run; each of them is a property of the run's networks.

    Args:
        lr: learning rate.
        optimiser: one of :data:`OPTIMISERS`.
        init: initialisation of the kernels, one of :data:`INITS`.
        init_std: standard deviation of the initial kernels if ``init`` is one of :data:`SCALED`, else NaN.
        l2: penalty as in Keras: ``l2`` times the sum of the squared kernel weights is added to the loss, so
            the gradient of a kernel gets ``2 · l2`` times its weights.
        dropout: dropout probability after each hidden layer.
        activation: activation of the hidden layers for which the design sets none.
        train_fraction: fraction of the training images that the run trains on.
        epochs: number of passes over these images.
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
    """Draw the hyper-parameters of one run."""
    init = str(generator.choice(ranges.inits))
    return Hyperparameters(
        lr=_log_uniform(ranges.lr, generator),
        optimiser=str(generator.choice(ranges.optimisers)),
        init=init,
        init_std=_log_uniform(ranges.init_std, generator) if init in SCALED else math.nan,
        l2=_log_uniform(ranges.l2, generator),
        dropout=float(generator.uniform(0, ranges.dropout)) if generator.random() < 0.5 else 0.0,
        activation=str(generator.choice(ranges.activations)),
        train_fraction=float(generator.choice(ranges.train_fractions)),
        epochs=int(generator.integers(ranges.epochs[0], ranges.epochs[1] + 1)),
    )


def _log_uniform(bounds: tuple[float, float], generator: np.random.Generator) -> float:
    return math.exp(generator.uniform(math.log(bounds[0]), math.log(bounds[1])))
