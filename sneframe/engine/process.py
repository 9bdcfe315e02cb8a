"""The process engine calls a function in other processes of this machine, each with one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, ClassVar, final

from sneframe.engine.engine import Engine, Item, Result
from sneframe.errors import MachineError
from sneframe.freed_memory import keep_freed_memory

TRIES = 3  #: times that a call is made, if each time a worker dies


@final
class ProcessEngine(Engine):
    """Calls a function in new processes. A process takes seconds to start, so this pays off for long work.

    Args:
        workers: largest number of processes.
    """

    name: ClassVar[str] = "process"

    def __init__(self, *, workers: int) -> None:
        self.workers = workers

    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """See :class:`~sneframe.engine.engine.Engine`.

        If a worker dies, new workers start, and the calls that have no result are made again.
        """
        left = list(items)
        lost = 0  # times in a row that a worker died before any call had a result
        while left:
            done: set[int] = set()
            try:
                for number, result in self._once(function, left):
                    done.add(number)
                    lost = 0
                    yield left[number], result
            except BrokenProcessPool as error:
                lost += 1
                if lost == TRIES:
                    raise MachineError(
                        "a worker process died: it was killed, or memory ran out; try fewer workers"
                    ) from error
            left = [item for number, item in enumerate(left) if number not in done]

    def _once(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the index and the result of each item, until a worker dies.

        Raises:
            BrokenProcessPool: a worker died.
        """
        others = set(multiprocessing.active_children())
        executor = ProcessPoolExecutor(
            max_workers=min(self.workers, len(items)),
            # A forked child would inherit locks that torch's threads hold.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
        )
        finished = False
        try:
            with _uninterrupted():  # a half-started child prints an error if Ctrl-C ends its parent
                pending: dict[Future[Result], int] = {
                    executor.submit(function, each): number for number, each in enumerate(items)
                }
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield pending.pop(future), future.result()
            finished = True
        finally:
            if not finished:
                for child in set(multiprocessing.active_children()) - others:
                    child.terminate()
            executor.shutdown(wait=finished, cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block.

    Outside the main thread there is nothing to delay, because Python delivers signals to the main thread
    only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[tuple[int, Any]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard and callable(before):
            before(*heard[0])


def _begin() -> None:
    """Prepare a worker process: limit torch to one thread, ignore Ctrl-C, and end with the parent."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch reads this when a function imports torch
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
    keep_freed_memory()
    # A terminal sends Ctrl-C to all processes. Workers ignore Ctrl-C, because the parent ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # If the parent is killed, its workers end themselves.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
