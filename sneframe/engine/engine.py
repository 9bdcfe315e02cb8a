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
        """Yield ``(item, function(item))`` for every item, in any order, each as soon as it is ready.

        Torch has one thread in every call, because sums are rounded differently with another number. When the
        caller stops iterating, also because of an error or Ctrl-C, all work that is going on is stopped.

        Args:
            function: a function of a module, or a ``functools.partial`` of one; it, its items and its results
                must be picklable.
            items: arguments to call the function with.

        Raises:
            SneframeError: the function raised it.
            MachineError: a worker died.
        """


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in this block, and as many as before after it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
