"""A folder that appears whole or not at all: filled beside its place under a temporary name, then renamed."""

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

#: What a lock raises that somebody else holds (``filelock.Timeout`` is an OSError), or that the file system does not know.
NOT_LOCKED = (OSError, NotImplementedError)


@final
class Staging:
    """The temporary place of a folder.

    Temporary places of the same folder whose writer was killed are swept first. A writer holds a lock in its
    own, which the system lets go of when the process ends, however it ends.

    Args:
        target: where the folder is to appear.
        overwrite: whether it may replace one that is there, once it is complete.

    Raises:
        ZooError: the target lies in a zoo.
        OSError: the place cannot be made.
    """

    def __init__(self, target: Path, *, overwrite: bool = False) -> None:
        check_place(target)
        self._target = Path(os.path.abspath(target))  # noqa: PTH100  # resolve() would follow a link
        self._overwrite = overwrite
        _sweep(self._target)
        self._made = [parent for parent in self._target.parents if not parent.exists()]
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._place = self._target.with_name(f"{self._target.name}.tmp-{uuid4().hex}")
        self.folder = self._place / "content"
        try:
            self.folder.mkdir(parents=True)
            (self._place / "lock").touch()
        except OSError:
            shutil.rmtree(self._place, ignore_errors=True)
            raise
        self._lock = FileLock(self._place / "lock", thread_local=False)
        with suppress(*NOT_LOCKED):
            self._lock.acquire(blocking=False)

    def commit(self) -> None:
        """Move the folder to its target.

        Raises:
            ZooError: something else appeared there meanwhile.
            OSError: the machine failed; what was there is there still.
        """
        replaced = self._place / "replaced"
        if os.path.lexists(self._target):
            if not self._overwrite:
                raise ZooError(f"{self._target}: exists already; it appeared while this one was written")
            self._target.rename(replaced)
        try:
            self.folder.rename(self._target)
        except OSError:
            _restore(replaced, self._target)
            raise

    def discard(self) -> None:
        """Remove the temporary place and what is left in it, and the folders above that were made for it alone."""
        self._lock.release()
        shutil.rmtree(self._place, ignore_errors=True)
        with suppress(OSError):  # not empty: the target is there, or somebody else's
            for parent in self._made:
                parent.rmdir()


def check_place(target: Path) -> None:
    """Check that a folder is not to appear in a zoo, whose readers would take it for damage.

    Raises:
        ZooError: it is.
    """
    if (zoo := enclosing_zoo(target)) is not None:
        raise ZooError(f"{target}: lies in the zoo {zoo}; choose a path outside of it")


@contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors into the one line that a user reads.

    Raises:
        MachineError: for any OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror or error}") from error


def _sweep(target: Path) -> None:
    if not target.parent.is_dir():
        return
    for place in target.parent.iterdir():
        if place.name.startswith(f"{target.name}.tmp-") and _abandoned(place):
            _restore(place / "replaced", target)
            shutil.rmtree(place, ignore_errors=True)


def _restore(replaced: Path, target: Path) -> None:
    """Undo half of a replacement."""
    if os.path.lexists(replaced) and not os.path.lexists(target):
        replaced.rename(target)


def _abandoned(place: Path) -> bool:
    """Return whether nobody holds the lock in a temporary place."""
    if not (place / "lock").exists():
        return True
    try:
        with FileLock(place / "lock").acquire(blocking=False):
            return True
    except NOT_LOCKED:
        return False
