"""The abstract engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(ABC):
    """Calls a function for many items; subclasses are final, one per file."""

    name: ClassVar[str]

    @abstractmethod
    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield ``(item, function(item))`` for every item, each as soon as it is there, in any order.

        Torch has one thread in every call: with another number, sums come out rounded in another way. Whoever stops
        iterating, by an error or Ctrl-C too, stops all work that is going on.

        Args:
            function: that can be pickled, as its items and results can: a function of a module, or a
                ``functools.partial`` of one.
            items: what to call it with.

        Raises:
            SneframeError: that the function raised.
            MachineError: a worker died.
        """


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread here, and as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
