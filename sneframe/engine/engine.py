"""Define the base class of the engines."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES = 3  #: times that a call is made, if each time a worker dies


class Engine(ABC):
    """Calls a function for many items. Each subclass is final, and is the only engine in its file."""

    name: ClassVar[str]
    workers: int  #: largest number of calls at a time

    @property
    @abstractmethod
    def threads(self) -> int:
        """The number of threads that a program may use which a call starts, so that all cores are in use."""

    @abstractmethod
    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """Yield ``(item, function(item))`` for every item, in the order in which the results are ready.

        Torch uses one thread in every call, because the number of threads changes how sums are rounded.
        At most ``workers`` results wait for a caller who is slower than the workers. If the caller stops
        iterating early, for example after an error or Ctrl-C, all running calls are stopped.

        Args:
            function: a function at the top level of a module, or a ``functools.partial`` of one. Function,
                items and results must be picklable.
            items: arguments to call the function with, one for each call.

        Raises:
            SneframeError: ``function`` raised a SneframeError, which is raised again.
            MachineError: worker processes died again and again in the same call, or a Ray task was lost.
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


def cores() -> int:
    """Return the number of cores that this process may use."""
    # A container or taskset may allow fewer cores than the machine has. macOS and Windows do not report this.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
