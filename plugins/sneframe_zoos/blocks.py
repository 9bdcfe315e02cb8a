"""A folder of finished blocks, by which a build that was killed goes on where it stopped.

Named arrays in, one file per block out; each appears whole or not at all. One builder at a time has the folder.
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
    """Let one process at a time build a zoo: the others wait, and then find what it made.

    Raises:
        MachineError: the folder that the zoo is to lie in cannot be written to.
    """
    path = zoo.with_name(f"{zoo.name}.part.lock")
    lock = FileLock(path)
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.warning("%s is being built by another process; waiting for it to end", zoo)
            lock.acquire()
    try:
        yield
    finally:
        # While it is still ours: who waits for a file that is gone starts over with a new one. (Windows removes it
        # when it is released, and not before.)
        with suppress(OSError):
            path.unlink()
        lock.release()


class Blocks:
    """The finished blocks of one build, beside the zoo that it makes; to be used :func:`alone`.

    Args:
        zoo: the zoo's path; the folder is its sibling ``ZOO.part``.
        config: JSON values that determine every block.

    Raises:
        ZooError: the folder holds blocks of another configuration.
    """

    def __init__(self, zoo: Path, config: Mapping[str, Any]) -> None:
        self.folder = zoo.with_name(f"{zoo.name}.part")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "config.json"
        if not path.exists():
            write_text(path, json.dumps(config))
        elif (found := json.loads(path.read_text())) != config:
            raise ZooError(
                f"{self.folder} holds an unfinished build with {difference(found, config)}; "
                f"remove it, or build this zoo elsewhere"
            )

    def __contains__(self, number: int) -> bool:
        return self._path(number).exists()

    def load(self, number: int) -> dict[str, np.ndarray]:
        """Return the arrays of a finished block."""
        arrays: dict[str, np.ndarray] = safetensors.numpy.load_file(self._path(number))
        return arrays

    def save(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a block."""
        write_bytes(self._path(number), safetensors.numpy.save(dict(arrays)))

    def remove(self) -> None:
        """Remove the folder: the zoo is complete."""
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
    """Compute the blocks that are missing, and keep each as soon as it is there.

    Args:
        blocks: the folder.
        function: gives the arrays of a block of this number; can be pickled.
        sizes: how many networks each block has.
        progress: called with (networks done, all), first with those of the blocks that were there.
        engine: where they are computed.
    """
    missing = [number for number in range(len(sizes)) if number not in blocks]
    done = sum(sizes) - sum(sizes[number] for number in missing)
    progress(done, sum(sizes))
    for number, arrays in engine.map_unordered(function, missing):
        blocks.save(number, arrays)
        done += sizes[number]
        progress(done, sum(sizes))


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return ``seed=0 (not 1), …``: where the found configuration differs from the wanted one."""
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    return ", ".join(f"{key}={found.get(key)} (not {wanted.get(key)})" for key in keys)
