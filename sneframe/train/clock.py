"""Measure the seconds of a training over all sessions, and the fraction of the time budget that is spent."""

from __future__ import annotations

import time
from typing import final


@final
class Clock:
    """Adds up the seconds between each call of :meth:`start` and the next call of :meth:`stop`.

    Args:
        budget: seconds that the training may take, or None for no limit.
        spent: seconds of training in earlier sessions.
    """

    def __init__(self, budget: float | None, spent: float = 0.0) -> None:
        self._budget = budget
        self._spent = spent
        self._since: float | None = None

    def start(self) -> None:
        """Start counting."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop counting. Work that follows, such as writing to disk, does not count as training."""
        self._spent, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        """Seconds counted so far, including the seconds of earlier sessions."""
        return self._spent + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def fraction(self) -> float:
        """The fraction of the budget that is spent: at most 1, and 0 without a budget."""
        return 0.0 if self._budget is None else min(1.0, self.seconds / self._budget)
