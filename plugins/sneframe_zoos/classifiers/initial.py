"""Draw the initial weights of classifiers."""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from sneframe_zoos.classifiers.hyperparameters import Hyperparameters

POSITION_STD = 0.02  #: standard deviation of a transformer's initial positions


def is_kernel(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter is the kernel of a convolution or the matrix of a linear layer."""
    return name.endswith("weight") and parameter.ndim >= 2


def draw_weights(module: nn.Module, hyper: Hyperparameters, generator: np.random.Generator) -> np.ndarray:
    """Draw the initial weights of a module. Return flat weights ``(P,)``, float64.

    The flat weights have the order of ``module.named_parameters()``. ``hyper.init`` decides how kernels are
    drawn: from a normal distribution with the variance of Glorot and Bengio (2010) or of He et al. (2015), as
    orthogonal matrices (Saxe et al., 2014), or from a normal or truncated normal distribution whose standard
    deviation is ``hyper.init_std``. Biases are 0, and the scales of norms are 1. The positions of a
    transformer are drawn from a normal distribution with standard deviation 0.02.
    """
    pieces: list[np.ndarray] = []
    for name, parameter in module.named_parameters():
        shape = tuple(parameter.shape)
        if is_kernel(name, parameter):
            values = _kernel(shape, hyper, generator)
        elif name.endswith("bias"):
            values = np.zeros(shape)
        elif parameter.ndim == 1:
            values = np.ones(shape)
        else:
            values = generator.normal(0, POSITION_STD, shape)
        pieces.append(values.ravel())
    return np.concatenate(pieces)


def _kernel(shape: tuple[int, ...], hyper: Hyperparameters, generator: np.random.Generator) -> np.ndarray:
    fan_in, fan_out = math.prod(shape[1:]), shape[0] * math.prod(shape[2:])
    if hyper.init == "orthogonal":
        return _orthogonal(shape[0], fan_in, generator).reshape(shape)
    if hyper.init == "truncated_normal":
        return hyper.init_std * _within_two(shape, generator)
    std = {
        "glorot_normal": math.sqrt(2 / (fan_in + fan_out)),
        "he_normal": math.sqrt(2 / fan_in),
        "normal": hyper.init_std,
    }[hyper.init]
    return generator.normal(0, std, shape)


def _orthogonal(rows: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    """Return a random matrix ``(rows, columns)`` with orthonormal rows (columns if rows > columns)."""
    drawn = generator.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q = q * np.sign(np.diag(r))  # without this line the distribution is not uniform
    return q if rows >= columns else q.T


def _within_two(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return standard normal numbers between -2 and 2. Numbers outside are drawn again."""
    values = generator.normal(size=shape)
    while (far := np.abs(values) > 2).any():
        values[far] = generator.normal(size=int(far.sum()))
    return values
