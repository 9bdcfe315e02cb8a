"""Methods with which parts encode a large network parameter by parameter, for :mod:`sneframe.predict.stream`.

Each protocol belongs to one slot: a normalisation rescales some weights, a tokenizer cuts a stretch of a
parameter, and a layer encoder encodes one unit from its blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture, Parameter


@frozen(kw_only=True, eq=False)
class Block:
    """Some tokens of one parameter of one network.

    Args:
        parameter: index of the parameter in the architecture.
        chunks: ``(q, C)``.
        mask: ``(q, C)`` bool, true for a weight, false for padding.
    """

    parameter: int
    chunks: Tensor
    mask: Tensor


@runtime_checkable
class Rescales(Protocol):
    """A normalisation that can rescale some weights of one parameter by themselves."""

    def rescale(self, architecture: Architecture, parameter: int, weights: Tensor) -> Tensor:
        """Return some weights ``(n,)`` of one parameter as ``forward`` rescales them."""


@runtime_checkable
class Cuts(Protocol):
    """A tokenizer that can cut stretches of one parameter by themselves."""

    def stretches(self, parameter: Parameter, most: int) -> Iterator[tuple[int, int]]:
        """Yield start and end of stretches of at most ``most`` flat weights, cut alone as in the whole."""

    def cut_stretch(self, parameter: Parameter, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chunks ``(q, C)`` of one stretch, and their mask."""


@runtime_checkable
class Pools(Protocol):
    """A layer encoder that can encode one unit by itself."""

    def units(self, architecture: Architecture) -> tuple[tuple[int, ...], ...]:
        """Return for each code the indices of the parameters that it stands for."""

    def least(self) -> int:
        """Return the bytes that encoding a unit of any size takes at least, without its blocks."""

    def encode_unit(
        self,
        architecture: Architecture,
        unit: tuple[int, ...],
        blocks: Callable[[], Iterator[Block]],
        *,
        memory: int,
    ) -> Tensor:
        """Return the code ``(1, D)`` of one unit of one network.

        Args:
            architecture: architecture of the network.
            unit: one of :meth:`units`.
            blocks: function that yields the unit's tokens in order, from the start at each call.
            memory: bytes that may be used.

        Raises:
            PartError: the unit needs more memory.
        """
