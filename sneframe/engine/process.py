"""The process engine calls a function in other processes of this machine, each with one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, ClassVar, final

from sneframe.engine.engine import TRIES, Engine, Item, Result, cores
from sneframe.errors import MachineError
from sneframe.freed_memory import keep_freed_memory


@final
class ProcessEngine(Engine):
    """Calls a function in new processes. A process takes seconds to start, so this pays off for long work.

    Args:
        workers: largest number of processes.
    """

    name: ClassVar[str] = "process"

    def __init__(self, *, workers: int) -> None:
        self.workers = workers

    @property
    def threads(self) -> int:
        """An equal share of the cores for each worker, and at least one."""
        return max(1, cores() // self.workers)

    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See :class:`~sneframe.engine.engine.Engine`.

        If a worker dies, another one takes its place and makes the call again. The other workers go on.
        """
        others = set(multiprocessing.active_children())
        pools = {_pool() for _ in range(min(self.workers, len(items)))}
        idle = list(pools)
        left = list(reversed(range(len(items))))
        deaths = [0] * len(items)  # workers that died in each call
        pending: dict[Future[Result], tuple[int, ProcessPoolExecutor]] = {}
        finished = False
        try:
            while left or pending:
                with _uninterrupted():  # a half-started child prints an error if Ctrl-C ends its parent
                    while left and idle:
                        pool, number = idle.pop(), left.pop()
                        try:
                            pending[pool.submit(function, items[number])] = number, pool
                        except BrokenProcessPool:  # its worker was killed while it had no call
                            idle.append(_replaced(pool, pools))
                            left.append(number)
                ended = [(each, *pending.pop(each)) for each in wait(pending, return_when=FIRST_COMPLETED)[0]]
                results: list[tuple[Item, Result]] = []
                for future, number, pool in ended:
                    try:
                        results.append((items[number], future.result()))
                        idle.append(pool)
                    except BrokenProcessPool as error:
                        idle.append(_replaced(pool, pools))
                        left.append(number)
                        deaths[number] += 1
                        if deaths[number] == TRIES:
                            raise MachineError(
                                "a worker process died: it was killed, or memory ran out; try fewer workers"
                            ) from error
                yield from results
            finished = True
        finally:
            if not finished:
                for child in set(multiprocessing.active_children()) - others:
                    child.terminate()
            for pool in pools:
                pool.shutdown(wait=finished, cancel_futures=True)


def _pool() -> ProcessPoolExecutor:
    """Return a pool of one worker, which starts with its first call.

    Each worker has a pool of its own. A pool that loses one of several workers ends all of them.
    """
    return ProcessPoolExecutor(
        max_workers=1,
        # A forked child would inherit locks that torch's threads hold.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
    )


def _replaced(pool: ProcessPoolExecutor, pools: set[ProcessPoolExecutor]) -> ProcessPoolExecutor:
    """Put a new pool in the place of one whose worker died, and return the new pool."""
    pool.shutdown(wait=False)
    pools.remove(pool)
    pools.add(new := _pool())
    return new


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
