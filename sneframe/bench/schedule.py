"""Run the missing cells of a comparison with an engine. Several commands may share the cells of a folder.

A cell is locked while it runs. A command leaves a locked cell to the command that runs it, takes another one,
and looks again later. So two commands on one folder finish with the same table, and no cell runs twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from attrs import frozen
from filelock import FileLock, Timeout

from sneframe.bench import cell as cells
from sneframe.bench.cell import Cell
from sneframe.bench.finished import Policy, look
from sneframe.bench.source import sources
from sneframe.bench.worker import Note, run_cell
from sneframe.engine import Engine
from sneframe.errors import MachineError
from sneframe.progress import Reporter

#: A cell whose process is killed runs once more: when other cells have ended, memory may suffice.
TRIES = 2
WAIT = 2.0  #: seconds between two looks at cells that other commands run


@frozen(kw_only=True)
class Ended:
    """What became of a cell in a worker.

    Args:
        taken: whether another command runs the cell, so that this one has not run it.
        failed: the reason why the cell failed, or None.
    """

    taken: bool = False
    failed: str | None = None


def run_cells(
    missing: Sequence[Cell],
    names: Mapping[str, str],
    folder: Path,
    policy: Policy,
    engine: Engine,
    reporter: Reporter,
) -> None:
    """Run cells, and write each result as soon as it is there.

    Args:
        missing: the cells to run, in this order.
        names: what to call each cell in messages, by its key.
        folder: folder of the cells.
        policy: which finished cells are run again.
        engine: where the cells run.
        reporter: receives progress and the reasons of failures.

    Raises:
        MachineError: a result cannot be written, or the engine failed.
    """
    left, total = {cell.key: cell for cell in missing}, len(missing)
    with reporter.bar("cells", unit="cells") as advance:

        def note(key: str, text: str) -> None:
            advance(total - len(left), total, f"{names[key]}: {text}")

        advance(0, total)
        function = partial(
            run_alone,
            folder=folder.resolve(),  # a worker may have another current folder
            policy=policy,
            threads=threads_of(engine),
            # Only a cell that is started from this process can tell how far it is.
            note=note if engine.name == "serial" else None,
        )
        while left:
            before = len(left)
            for cell, ended in engine.map_unordered(function, list(left.values())):
                if ended.taken:
                    continue
                del left[cell.key]
                if ended.failed is not None:
                    reporter.say(f"{names[cell.key]} failed: {ended.failed}")
                advance(total - len(left), total, names[cell.key])
            if len(left) == before:  # other commands run all that is left
                time.sleep(WAIT)


def run_alone(
    cell: Cell,
    *,
    folder: Path,
    policy: Policy,
    threads: str | None,
    note: Callable[[str, str], None] | None = None,
) -> Ended:
    """Run a cell and write its result, unless another command runs it, or has finished it.

    Args:
        cell: the cell.
        folder: folder of the cells.
        policy: which finished cells are run again.
        threads: ``OMP_NUM_THREADS`` of the cell's process; None for that of this process.
        note: receives the key of the cell, and its progress.

    Raises:
        MachineError: the cell cannot be locked, or its result cannot be written.
    """
    with _locked(folder / f".{cell.key}.lock") as free:
        if not free:
            return Ended(taken=True)
        (now,) = look(folder, [cell], policy)
        if not now.missing:
            return Ended()
        # The source is hashed before the cell runs. If it is edited meanwhile, the cell counts as changed.
        source = sources(cell.config)
        said: Note = partial(note, cell.key) if note is not None else _ignore
        for _ in range(TRIES):
            left = run_cell(cell, said, threads=threads)
            if not left.pop("killed", False):
                break
        before = cells.find(folder, cell)
        path = cells.write(folder, cell, left, source)
        if before is not None and before != path:
            before.unlink(missing_ok=True)
        return Ended(failed=left["failed"])


def threads_of(engine: Engine) -> str | None:
    """Return ``OMP_NUM_THREADS`` for the processes of cells, or None to leave it as it is.

    It is what the user has set, or the number of threads that the engine has for each call. A worker of an
    engine has one thread, so its cells would otherwise have one, too.
    """
    if engine.name == "serial":
        return None
    return os.environ.get("OMP_NUM_THREADS", str(engine.threads))


def _ignore(_: str) -> None:
    """Tell no progress."""


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock inside a ``with`` block, and tell whether it was free.

    The lock ends with the process that holds it.

    Raises:
        MachineError: the file system refuses the lock.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise MachineError(
            f"{path}: cannot be locked: {error.strerror or error}; a folder of cells needs locks"
        ) from error
    try:
        yield True
    finally:
        # The file is removed while the lock is held. Whoever opened it before finds the cell finished.
        with suppress(OSError):
            path.unlink()
        lock.release()
