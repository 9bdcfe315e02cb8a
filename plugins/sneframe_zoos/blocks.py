"""A folder that keeps the finished blocks of a build, so that a build that was killed can continue.

Each block is one file of named arrays. The file is written atomically. Only one process at a time may build a
zoo.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from filelock import FileLock, Timeout

from sneframe.atomic import write_bytes, write_text
from sneframe.engine import Engine
from sneframe.errors import ZooError
from sneframe.zoo.staging import machine_errors

logger = logging.getLogger(__name__)


@contextmanager
def alone(zoo: Path) -> Iterator[None]:
    """Hold the lock of a zoo inside a ``with`` block, so that only one process at a time builds the zoo.

    A second process waits until the first has finished.

    Raises:
        MachineError: the folder of the zoo cannot be written to.
    """
    path = zoo.with_name(f"{zoo.name}.part.lock")
    lock = FileLock(path)
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.warning("another process is building %s; waiting for it to finish", zoo)
            lock.acquire()
    try:
        yield
    finally:
        # The lock file is removed while the lock is still held. A process that waits for it then makes a new
        # lock file. (Windows removes the file only when the lock is released.)
        with suppress(OSError):
            path.unlink()
        lock.release()


class Blocks:
    """The finished blocks of one build, in a folder next to the zoo.

    Use this class only inside :func:`alone`.

    Args:
        zoo: path of the zoo. The folder is ``ZOO.part``, next to the zoo.
        config: JSON values that determine every block.

    Raises:
        ZooError: the folder holds blocks of a different configuration.
    """

    def __init__(self, zoo: Path, config: Mapping[str, Any]) -> None:
        self.folder = zoo.with_name(f"{zoo.name}.part")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "config.json"
        if not path.exists():
            write_text(path, json.dumps(config))
        elif (earlier := json.loads(path.read_text())) != config:
            raise ZooError(
                f"{self.folder} holds an unfinished build with {difference(earlier, config)}; "
                f"remove that folder, or choose another path for this zoo"
            )

    def __contains__(self, number: int) -> bool:
        return self._path(number).exists()

    def load(self, number: int) -> dict[str, np.ndarray]:
        """Return the arrays of a finished block."""
        arrays: dict[str, np.ndarray] = safetensors.numpy.load_file(self._path(number))
        return arrays

    def save(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the arrays of a block."""
        write_bytes(self._path(number), safetensors.numpy.save(dict(arrays)))

    def shared(self, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the arrays that all blocks share. They are made by the first call, and kept on disk."""
        path = self.folder / "shared.safetensors"
        if not path.exists():
            write_bytes(path, safetensors.numpy.save(dict(make())))
        arrays: dict[str, np.ndarray] = safetensors.numpy.load_file(path)
        return arrays

    def remove(self) -> None:
        """Remove the folder. Call this when the zoo is complete."""
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number:05d}.safetensors"


def finish(
    blocks: Blocks,
    function: Callable[[int], Mapping[str, np.ndarray]],
    sizes: Sequence[int],
    progress: Callable[[int, int], None],
    engine: Engine,
) -> None:
    """Compute the missing blocks. Save each block as soon as it is computed.

    Args:
        blocks: the folder of finished blocks.
        function: a picklable function that returns the arrays of the block with a given number.
        sizes: number of networks in each block.
        progress: a function that is called with (networks done, all networks). Blocks that were finished
            earlier count as done from the first call on.
        engine: the engine that computes the blocks.
    """
    missing = [number for number in range(len(sizes)) if number not in blocks]
    done = sum(sizes) - sum(sizes[number] for number in missing)
    progress(done, sum(sizes))
    for number, arrays in engine.map_unordered(function, missing):
        blocks.save(number, arrays)
        done += sizes[number]
        progress(done, sum(sizes))


def difference(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return how a stored configuration differs from the wanted one, such as ``seed=0 (not 1)``."""
    keys = [key for key in {**stored, **wanted} if stored.get(key) != wanted.get(key)]
    return ", ".join(f"{key}={stored.get(key)} (not {wanted.get(key)})" for key in keys)
