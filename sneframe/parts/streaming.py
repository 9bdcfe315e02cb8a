"""What parts need so that a large network can be encoded parameter by parameter, as :mod:`sneframe.predict.stream` does.

Each protocol belongs to one slot: a normalisation rescales some weights, a tokenizer cuts a stretch of a parameter, and a
layer encoder encodes one unit from its blocks.
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
        parameter: its index in the architecture.
        chunks: ``(q, C)``.
        mask: ``(q, C)`` bool, true where a weight stands.
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
        """Yield start and end of stretches of a parameter's flat weights, ``most`` in each, cut alone as in the whole."""

    def cut_stretch(self, parameter: Parameter, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chunks ``(q, C)`` of one stretch, and their mask."""


@runtime_checkable
class Pools(Protocol):
    """A layer encoder that can encode one unit by itself."""

    def units(self, architecture: Architecture) -> tuple[tuple[int, ...], ...]:
        """Return for each code the parameters it stands for."""

    def least(self) -> int:
        """Return the bytes that encoding a unit takes at least, however large it is, beside its blocks."""

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
            architecture: of the network.
            unit: one of :meth:`units`.
            blocks: yields the unit's tokens in order, from the start whenever it is called.
            memory: bytes that may be taken.

        Raises:
            PartError: more is needed.
        """
