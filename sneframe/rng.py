"""Random numbers as pure functions of seed, step and network, on any device and with any number of processes.

The generator is counter-based: it hashes (seed, step, network id, counter) into 64 bits. So a number depends
neither on the other networks of a batch nor on the numbers drawn before it.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from attrs import evolve, frozen
from einops import rearrange
from torch import Tensor


@frozen(kw_only=True, eq=False)
class Draw:
    """The step of a run for which random numbers are drawn.

    Args:
        seed: seed of the run.
        step: number of the step, counted from 0 over the whole run.
        positions: ``(B,)`` host integers, the positions of this process's networks in the whole batch of the
            step.
        size: size of the whole batch of the step, over all processes.
    """

    seed: int
    step: int
    positions: np.ndarray
    size: int

    def apart(self, name: str) -> Draw:
        """Return the step with a seed that depends on ``name``. Different names draw independent numbers."""
        return evolve(self, seed=word(f"{self.seed} {name}") & ((1 << 63) - 1))


def streams(ids: Tensor, *, seed: int, step: int) -> Tensor:
    """Return a stream for each network: a random int64, ``(B, 1)``, that decides its numbers in a step."""
    # The id is hashed before the seed is mixed in; else network 1 at seed 0 would equal network 0 at seed 1.
    return mix(mix(mix(rearrange(ids, "b -> b 1"), word("network")), seed), step)


def counted(stream: Tensor, count: int, salt: int = 0) -> Tensor:
    """Return random int64 numbers ``(B, count)`` from streams ``(B, 1)``. The salt selects other numbers."""
    return mix(mix(stream, salt), torch.arange(count, device=stream.device))


def uniform(bits: Tensor) -> Tensor:
    """Convert random int64 numbers to float64 numbers that are uniform in [0, 1)."""
    return shift(bits, 11).to(torch.float64) / (1 << 53)


def normal(stream: Tensor, count: int) -> Tensor:
    """Return standard normal float32 numbers ``(B, count)`` from streams ``(B, 1)`` (Box and Muller 1958)."""
    half = (count + 1) // 2
    bits = counted(stream, half)
    # 32 bits are enough for a float32. The logarithm needs a number in (0, 1] to be finite.
    radius = (-2 * ((shift(bits, 32) + 1).to(torch.float32) / (1 << 32)).log()).sqrt()
    angle = (bits & 0xFFFFFFFF).to(torch.float32) * (2 * math.pi / (1 << 32))
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


# -- SplitMix64's finaliser (Steele, Lea and Flood 2014) on wrapping int64 -------------------------------


def mix(state: Tensor, with_word: Tensor | int) -> Tensor:
    """Hash ``state`` and ``with_word``, which broadcast, into random int64 numbers."""
    z = (state ^ with_word).mul_(_signed(0x9E3779B97F4A7C15)).add_(_signed(0xD1B54A32D192ED03))
    z.bitwise_xor_(shift(z, 30)).mul_(_signed(0xBF58476D1CE4E5B9))
    z.bitwise_xor_(shift(z, 27)).mul_(_signed(0x94D049BB133111EB))
    return z.bitwise_xor_(shift(z, 31))


def shift(z: Tensor, bits: int) -> Tensor:
    """Shift int64 numbers right, and fill with zeros. Torch's ``>>`` would fill with the sign bit."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def word(name: str) -> int:
    """Hash a name into 64 bits, as a signed integer."""
    return _signed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >= 1 << 63 else bits
