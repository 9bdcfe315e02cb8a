"""The clock of a training: seconds spent over all sittings, and the share of the budget that they are."""

from __future__ import annotations

import time
from typing import final


@final
class Clock:
    """Counts while it is started.

    Args:
        budget: seconds of training, or None where there is no end.
        spent: seconds of earlier sittings.
    """

    def __init__(self, budget: float | None, spent: float = 0.0) -> None:
        self._budget = budget
        self._spent = spent
        self._since: float | None = None

    def start(self) -> None:
        """Go on counting."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Count no longer: what follows, such as writing to disk, is no training."""
        self._spent, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        """Seconds counted so far."""
        return self._spent + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def share(self) -> float:
        """The part of the budget that is spent, 1 at most; 0 where there is no budget."""
        return 0.0 if self._budget is None else min(1.0, self.seconds / self._budget)
