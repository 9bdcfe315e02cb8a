"""Find the initialiser that the weights of a parameter cannot be told from: such a parameter is untrained.

Weights that were trained have left the distribution that they were drawn from. So a parameter whose
distribution is still that of a common initialiser, with its exact scale, was hardly trained, if at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from attrs import frozen
from scipy import stats
from torch import Tensor

from sneframe.inspection.spectrum import Spectrum

#: With fewer weights, a distribution cannot be told from others.
FEWEST = 4096
SIDE = 8  #: smaller side from which equal singular values are no accident
MOST = 20_000  #: weights that are compared with a distribution, at equal distances
CHANCE = 1e-4  #: a true initialiser is overlooked in about so many cases
DEVIATIONS = 4.0  #: standard errors within which scale and kurtosis must be those of the initialiser
#: Standard deviation of a standard normal that is cut off at ±2, by which jax and keras divide.
CUT = 0.8796256610342398


@frozen(kw_only=True)
class InitialDistribution:
    """A distribution from which a common initialiser draws.

    Args:
        name: the initialiser in words.
        family: ``uniform``, ``normal``, or ``cut`` for a normal that is cut off at twice its scale.
        scale: bound of the uniform distribution, or standard deviation before the cut.
    """

    name: str
    family: str
    scale: float

    @property
    def deviation(self) -> float:
        """The standard deviation of the weights."""
        return {"uniform": self.scale / math.sqrt(3), "normal": self.scale, "cut": self.scale * CUT}[
            self.family
        ]

    @property
    def kurtosis(self) -> float:
        """The fourth moment over the squared variance."""
        cut = 3 + float(stats.truncnorm(-2, 2).stats("k"))
        return {"uniform": 1.8, "normal": 3.0, "cut": cut}[self.family]

    def chance(self, sample: np.ndarray) -> float:
        """Return the p-value of the test of Kolmogorov and Smirnov for a sample."""
        scaled = sample / self.scale
        if self.family == "uniform":
            return float(stats.kstest(scaled, stats.uniform(-1, 2).cdf).pvalue)
        law = stats.norm if self.family == "normal" else stats.truncnorm(-2, 2)
        return float(stats.kstest(scaled, law.cdf).pvalue)


def initialiser_of(
    values: Tensor, *, kurtosis: float | None = None, spectrum: Spectrum | None = None
) -> str | None:
    """Return the name of the initialiser that the weights of a parameter cannot be told from, or None.

    A vector is only compared with constants. A matrix or kernel is compared with the initialisers of torch,
    jax and keras, whose scale follows from its shape.

    Args:
        values: the weights, all finite.
        kurtosis: fourth central moment over the squared variance of the weights.
        spectrum: the singular values of a matrix.
    """
    if bool((values == values.reshape(-1)[0]).all()):
        constant = float(values.reshape(-1)[0])
        return {0.0: "zeros", 1.0: "ones"}.get(constant) if values.numel() > 1 else None
    if spectrum is not None and spectrum.complete and spectrum.of >= SIDE:
        least = float(spectrum.values[-1])
        if spectrum.norm <= (1 + 1e-3) * least:
            return "orthogonal"
    if values.ndim < 2 or values.numel() < FEWEST or kurtosis is None:
        return None
    flat = values.reshape(-1)
    deviation = float(torch.sqrt(sum(b.double().square().sum() for b in flat.split(1 << 20)) / flat.numel()))
    largest = float(flat.abs().max())
    sample = flat[:: max(1, flat.numel() // MOST)].double().numpy()
    scale = DEVIATIONS / math.sqrt(2 * flat.numel())
    shape = DEVIATIONS * math.sqrt(24 / flat.numel())
    for candidate in _candidates(tuple(values.shape)):
        if abs(deviation / candidate.deviation - 1) > scale or abs(kurtosis - candidate.kurtosis) > shape:
            continue
        bound = {"uniform": 1.0, "cut": 2.0}.get(candidate.family)
        if bound is not None and largest > candidate.scale * bound * (1 + 1e-3):
            continue
        if candidate.chance(sample) > CHANCE:
            return candidate.name
    return None


def _candidates(shape: tuple[int, ...]) -> Iterator[InitialDistribution]:
    """Yield the distributions of common initialisers for a weight ``(out, in, …)``."""
    field = math.prod(shape[2:])
    inputs, outputs = shape[1] * field, shape[0] * field
    both = (inputs + outputs) / 2
    yield InitialDistribution(name="torch default, U(±1/√in)", family="uniform", scale=inputs**-0.5)
    for name, fan, gain in (("Xavier", both, 1.0), ("Kaiming", inputs, 2.0), ("LeCun", inputs, 1.0)):
        deviation = math.sqrt(gain / fan)
        yield InitialDistribution(name=f"{name} uniform", family="uniform", scale=deviation * math.sqrt(3))
        yield InitialDistribution(name=f"{name} normal", family="normal", scale=deviation)
        yield InitialDistribution(name=f"{name} normal, cut at 2σ", family="cut", scale=deviation / CUT)
    yield InitialDistribution(name="Kaiming normal, fan out", family="normal", scale=math.sqrt(2 / outputs))
    for scale in (0.02, 0.01, 1.0):
        yield InitialDistribution(name=f"N(0, {scale:g}²)", family="normal", scale=scale)
        yield InitialDistribution(name=f"N(0, {scale:g}²), cut at 2σ", family="cut", scale=scale)
