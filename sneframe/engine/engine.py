"""Define the base class of the engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(ABC):
    """Calls a function for many items. Each subclass is final, and is the only engine in its file."""

    name: ClassVar[str]
    workers: int  #: largest number of calls at a time

    @abstractmethod
    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield ``(item, function(item))`` for every item, in the order in which the results are ready.

        Torch uses one thread in every call, because the number of threads changes how sums are rounded. If
        the caller stops iterating early, for example after an error or Ctrl-C, all running calls are stopped.

        Args:
            function: a function at the top level of a module, or a ``functools.partial`` of one. Function,
                items and results must be picklable.
            items: arguments to call the function with, one for each call.

        Raises:
            SneframeError: ``function`` raised a SneframeError, which is raised again.
            MachineError: a worker process died, or a Ray task was lost.
        """


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread inside this block, and restore the previous number afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
