"""The clock of a training: the seconds of all sessions, and the fraction of the budget that they use."""

from __future__ import annotations

import time
from typing import final


@final
class Clock:
    """Counts seconds between :meth:`start` and :meth:`stop`.

    Args:
        budget: seconds that the training may take, or None for no limit.
        spent: seconds of earlier sessions.
    """

    def __init__(self, budget: float | None, spent: float = 0.0) -> None:
        self._budget = budget
        self._spent = spent
        self._since: float | None = None

    def start(self) -> None:
        """Start counting."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop counting: what follows, such as writing to disk, is not training."""
        self._spent, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        """Seconds counted so far."""
        return self._spent + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def fraction(self) -> float:
        """The fraction of the budget that is spent, at most 1; 0 without a budget."""
        return 0.0 if self._budget is None else min(1.0, self.seconds / self._budget)
