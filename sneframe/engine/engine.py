"""The abstract engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(ABC):
    """Calls a function for many items. Subclasses are final, one per file."""

    name: ClassVar[str]

    @abstractmethod
    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield ``(item, function(item))`` for every item, in any order, each as soon as it is ready.

        Torch uses one thread in every call, because the number of threads changes how sums are rounded. When
        the caller stops iterating, be it because of an error or Ctrl-C, all running work is stopped.

        Args:
            function: a function at the top level of a module, or a ``functools.partial`` of one. Function,
                items and results must be picklable.
            items: arguments to call the function with, one for each call.

        Raises:
            SneframeError: the function raised this error.
            MachineError: a worker died.
        """


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in this block, and restore the number of threads after it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
