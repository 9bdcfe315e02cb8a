"""Write a folder under a temporary name, and rename the folder when it is complete.

Readers therefore never see an incomplete folder at the target.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final
from uuid import uuid4

from filelock import FileLock

from sneframe.errors import MachineError, ZooError
from sneframe.zoo.manifest import enclosing_zoo

#: The errors of acquiring a lock. They are raised if another process holds the lock (``filelock.Timeout`` is
#: an OSError), or if the file system does not support locks.
NOT_LOCKED = (OSError, NotImplementedError)

TEMPORARY = ".tmp-"  #: what the name of a temporary folder has after the name of its target


@final
class Staging:
    """A temporary folder next to the target. The caller fills :attr:`folder` and then calls :meth:`commit`.

    Whatever the caller writes to :attr:`scratch` meanwhile is removed with the temporary folder.

    If killed writers left temporary folders of the same target behind, these folders are removed first. A
    running writer is recognised by the lock that it holds in its temporary folder. The operating system
    releases the lock when the process of the writer ends, however it ends.

    Args:
        target: the final path of the folder.
        overwrite: whether :meth:`commit` may replace an existing folder at the target.

    Raises:
        ZooError: the target lies inside a zoo.
        OSError: the temporary folder cannot be created.
    """

    def __init__(self, target: Path, *, overwrite: bool = False) -> None:
        check_place(target)
        self._target = Path(os.path.abspath(target))  # noqa: PTH100  # resolve() would follow a link
        self._overwrite = overwrite
        _sweep(self._target)
        self._made = [parent for parent in self._target.parents if not parent.exists()]
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self._target.with_name(f"{self._target.name}{TEMPORARY}{uuid4().hex}")
        self.folder = self._temporary / "content"
        self.scratch = self._temporary / "scratch"
        try:
            self.folder.mkdir(parents=True)
            (self._temporary / "lock").touch()
            self.scratch.mkdir()
        except OSError:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        self._lock = FileLock(self._temporary / "lock", thread_local=False)
        with suppress(*NOT_LOCKED):
            self._lock.acquire(blocking=False)

    def commit(self) -> None:
        """Move the folder to the target.

        Raises:
            ZooError: the target exists, and ``overwrite`` is false.
            OSError: the folder cannot be moved. An earlier folder at the target is kept.
        """
        replaced = self._temporary / "replaced"
        if os.path.lexists(self._target):
            if not self._overwrite:
                raise ZooError(f"{self._target}: exists already; it appeared while this folder was written")
            self._target.rename(replaced)
        try:
            self.folder.rename(self._target)
        except OSError:
            _restore(replaced, self._target)
            raise

    def discard(self) -> None:
        """Remove the temporary folder, and the empty parent folders that were created for the target."""
        self._lock.release()
        shutil.rmtree(self._temporary, ignore_errors=True)
        with suppress(OSError):  # a parent is not empty if the target or the files of others are in it
            for parent in self._made:
                parent.rmdir()


def check_place(target: Path) -> None:
    """Check that the path of a new folder does not lie inside a zoo.

    The verification of a zoo would report a foreign folder as damage.

    Raises:
        ZooError: the path lies inside a zoo.
    """
    if (zoo := enclosing_zoo(target)) is not None:
        raise ZooError(f"{target}: lies in the zoo {zoo}; choose a path outside of it")


@contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Convert an OSError in the ``with`` block to a MachineError of one line that names ``path``.

    Raises:
        MachineError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror or error}") from error


def _sweep(target: Path) -> None:
    if not target.parent.is_dir():
        return
    for folder in target.parent.iterdir():
        if folder.name.startswith(f"{target.name}{TEMPORARY}") and _abandoned(folder):
            _restore(folder / "replaced", target)
            shutil.rmtree(folder, ignore_errors=True)


def _restore(replaced: Path, target: Path) -> None:
    """Move a replaced folder back to the target, if the replacement stopped half-way."""
    if os.path.lexists(replaced) and not os.path.lexists(target):
        replaced.rename(target)


def _abandoned(folder: Path) -> bool:
    """Return whether no running process holds the lock of a temporary folder."""
    if not (folder / "lock").exists():
        return True
    try:
        with FileLock(folder / "lock").acquire(blocking=False):
            return True
    except NOT_LOCKED:
        return False
