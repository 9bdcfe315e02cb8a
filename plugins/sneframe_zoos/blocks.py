"""A folder of finished blocks, by which a build that was killed goes on where it stopped.

Named arrays in, one file per block out; each appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from sneframe.errors import ZooError
from sneframe.state import write_bytes, write_text


class Blocks:
    """The finished blocks of one build, beside the zoo that it makes.

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

    def load(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the arrays of a block, or None where it is not finished."""
        path = self._path(number)
        if not path.exists():
            return None
        arrays: dict[str, np.ndarray] = safetensors.numpy.load_file(path)
        return arrays

    def save(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a block."""
        write_bytes(self._path(number), safetensors.numpy.save(dict(arrays)))

    def remove(self) -> None:
        """Remove the folder: the zoo is complete."""
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number:05d}.safetensors"


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return ``seed=0 (not 1), …``: where the found configuration differs from the wanted one."""
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    return ", ".join(f"{key}={found.get(key)} (not {wanted.get(key)})" for key in keys)
