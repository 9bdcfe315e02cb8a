"""Build a zoo in blocks: train its networks block by block, then write the zoo."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.engine import Engine
from sneframe.zoo import ZooWriter, create
from sneframe_zoos.blocks import Blocks, finish
from sneframe_zoos.once import made_by, once


def numbers_of_block(total: int, size: int, block: int) -> range:
    """Return the numbers of the networks (or training runs) in a block.

    Args:
        total: number of networks in the zoo.
        size: number of networks in a block; only the last block may be smaller.
        block: number of the block.
    """
    return range(block * size, min((block + 1) * size, total))


@frozen(kw_only=True)
class BlockBuild:
    """The build of a zoo in blocks. A build that was killed continues with the blocks that are missing.

    Args:
        builder: name of the builder, ``PLUGIN/NAME``.
        options: JSON values that determine the zoo.
        defaults: the default of each option, for options that an older zoo does not record.
        networks: number of networks or training runs.
        size: number of networks or training runs in a block.
        check: a function that raises ZooError if the zoo cannot be built. It is called before any folder is
            made.
        shared: a function that returns arrays which all blocks need, such as the weights of a common base.
            It is called once; a build that continues uses the same arrays. None if blocks share nothing.
        train: a picklable function that trains the block with a given number and returns its arrays. If there
            are shared arrays, they are its argument ``shared``.
        write: a function that adds the arrays of a block to the zoo.
        complete: a function that adds to the zoo what belongs to all blocks, such as splits. It is called
            after all blocks were written.
        name: name of the zoo.
        description: one paragraph about the zoo.
    """

    builder: str
    options: Mapping[str, Any]
    defaults: Mapping[str, Any]
    networks: int
    size: int
    check: Callable[[], None] = lambda: None
    shared: Callable[[], Mapping[str, np.ndarray]] | None = None
    train: Callable[..., Mapping[str, np.ndarray]]
    write: Callable[[ZooWriter, int, Mapping[str, np.ndarray]], None]
    complete: Callable[[ZooWriter], None] = lambda _: None
    name: str
    description: str

    def run(self, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
        """Build the zoo, unless it exists. If another process is building the zoo, wait for that process.

        Raises:
            ZooError: ``check`` raised it, or ``path`` already holds a zoo or an unfinished build of different
                options.
            MachineError: the machine failed.
        """

        def make() -> None:
            self._make(path, progress, engine)

        if not once(path, self.builder, self.options, self.defaults, make):
            progress(self.networks, self.networks)

    def _make(self, path: Path, progress: Callable[[int, int], None], engine: Engine) -> None:
        self.check()
        blocks = Blocks(path, {"builder": self.builder, **self.options})
        count = math.ceil(self.networks / self.size)
        sizes = [len(numbers_of_block(self.networks, self.size, block)) for block in range(count)]
        train = self.train
        if self.shared is not None:
            train = partial(train, shared=blocks.shared(self.shared))
        finish(blocks, train, sizes, progress, engine)
        with create(
            path,
            name=self.name,
            description=self.description,
            builder=made_by(self.builder, self.options),
        ) as zoo:
            for block in range(count):
                self.write(zoo, block, blocks.load(block))
            self.complete(zoo)
        blocks.remove()
