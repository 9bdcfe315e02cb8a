"""What is drawn for each training run, as the Small CNN Zoo does (Unterthiner et al., arXiv 2002.11448)."""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import numpy as np
from attrs import frozen

Optimiser = Literal["sgd", "momentum", "adam", "rmsprop"]
Init = Literal["glorot_normal", "he_normal", "orthogonal", "normal", "truncated_normal"]
OPTIMISERS: Final[tuple[Optimiser, ...]] = get_args(Optimiser)
INITS: Final[tuple[Init, ...]] = get_args(Init)
SCALED: Final = ("normal", "truncated_normal")  #: the inits that have a standard deviation of their own


@frozen(kw_only=True)
class Ranges:
    """From what each hyper-parameter is drawn, independently of the others.

    Args:
        lr: log-uniform between the two.
        optimisers: uniform among them.
        inits: uniform among them.
        init_std: log-uniform between the two; only of :data:`SCALED`.
        l2: log-uniform between the two.
        dropout: uniform between 0 and this, in one of two runs; else 0.
        activations: uniform among them.
        train_fractions: uniform among them.
        epochs: an integer, uniform from the first to the second.
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
    """Of one run; each is a property of its networks.

    Args:
        lr: learning rate.
        optimiser: one of :data:`OPTIMISERS`.
        init: of the kernels, one of :data:`INITS`.
        init_std: standard deviation of the initial kernels where ``init`` is one of :data:`SCALED`, else NaN.
        l2: times the sum of the squared kernels, added to the loss (Keras's ``l2``: its gradient is twice that).
        dropout: probability behind each hidden layer.
        activation: the activation of the hidden layers, where the design sets none.
        train_fraction: of the training images.
        epochs: passes over these.
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
