"""The serial engine calls a function in this process, for one item after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import ClassVar, final

from sneframe.engine.engine import Engine, Item, Result, cores, one_thread


@final
class SerialEngine(Engine):
    """Calls a function in this process. No process has to start, and a debugger stops at an error."""

    name: ClassVar[str] = "serial"
    workers = 1

    @property
    def threads(self) -> int:
        """All cores, because there is one call at a time."""
        return cores()

    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See :class:`~sneframe.engine.engine.Engine`."""
        for item in items:
            with one_thread():
                result = function(item)
            yield item, result
