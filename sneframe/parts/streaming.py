"""Define protocols with which parts encode a large network without loading all of its weights at once.

:mod:`sneframe.predict.stream` uses these protocols. Each protocol belongs to one slot. A normalise part
rescales some weights of a parameter, a tokenizer cuts a stretch of a parameter into tokens, and a layer
encoder encodes one unit from the blocks of the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture, Parameter


@frozen(kw_only=True, eq=False)
class Block:
    """Some chunks of one parameter of one network.

    Args:
        parameter: index of the parameter in the architecture.
        chunks: the chunks ``(q, C)``: q chunks of C weights each.
        mask: ``(q, C)`` bool, true for a weight and false for padding.
    """

    parameter: int
    chunks: Tensor
    mask: Tensor


@runtime_checkable
class Rescales(Protocol):
    """A normalise part that can rescale some weights of a parameter without the remaining weights."""

    def rescale(self, architecture: Architecture, parameter: int, weights: Tensor) -> Tensor:
        """Rescale n weights ``(n,)`` of one parameter as ``forward`` does, and return the result ``(n,)``."""


@runtime_checkable
class Cuts(Protocol):
    """A tokenizer that can cut a stretch of a parameter into chunks without the remaining weights."""

    def stretches(self, parameter: Parameter, most: int) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of stretches that cover a parameter.

        A stretch has at most ``most`` flat weights. Only the smallest stretch that the tokenizer can cut by
        itself may be longer. Cutting the stretches one by one gives the same chunks as cutting the whole
        parameter.
        """

    def cut_stretch(self, parameter: Parameter, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Cut one stretch into q chunks ``(q, C)``. Return the chunks and their mask ``(q, C)``."""

    def sample(self, parameter: Parameter, weights: Tensor, most: int | None) -> tuple[Tensor, Tensor] | None:
        """Cut only a sample of q chunks ``(q, C)``. Return the chunks and their mask ``(q, C)``.

        Args:
            parameter: the parameter.
            weights: the flat weights ``(n,)`` of the parameter. Only those of the sample are read.
            most: largest number of chunks; None if only the tokenizer itself has a limit.

        Returns:
            None if the parameter has no more chunks than the limit, or if there is no limit.
        """


@runtime_checkable
class Pools(Protocol):
    """A layer encoder that can encode one unit without the remaining units of the network."""

    def units(self, architecture: Architecture) -> tuple[tuple[int, ...], ...]:
        """Return the units of a network. A unit is the indices of the parameters that one code represents."""

    def least(self) -> int:
        """Return the smallest number of bytes that encoding a unit takes, without the blocks of the unit."""

    def encode_unit(
        self,
        architecture: Architecture,
        unit: tuple[int, ...],
        blocks: Callable[[], Iterator[Block]],
        *,
        memory: int,
    ) -> Tensor:
        """Return the code ``(1, D)`` of one unit of one network. Several threads may call this at once.

        Args:
            architecture: architecture of the network.
            unit: one of the units that :meth:`units` returns.
            blocks: function that yields the blocks of the unit in order. Each call starts at the first block.
            memory: number of bytes that may be used.

        Raises:
            PartError: encoding the unit needs more bytes than ``memory``.
        """
