"""Measure the seconds of a training over all sessions, and the fraction of the time budget that is spent.

Seconds are those that pass. CPU seconds are those that the cores work for this process, so they do not grow
if other work shares the machine.
"""

from __future__ import annotations

import time
from typing import final

from sneframe.config.schema import TrainConfig


@final
class Clock:
    """Adds up the seconds between each call of :meth:`start` and the next call of :meth:`stop`.

    Args:
        budget: seconds that the training may take, or None for no limit.
        cpu: whether the budget counts CPU seconds instead of the seconds that pass.
        spent: seconds of training in earlier sessions.
        cpu_spent: CPU seconds of training in earlier sessions.
    """

    def __init__(
        self,
        budget: float | None,
        spent: float = 0.0,
        cpu_spent: float = 0.0,
        *,
        cpu: bool = False,
    ) -> None:
        self._budget, self._cpu = budget, cpu
        self._spent, self._cpu_spent = spent, cpu_spent
        self._since: float | None = None
        self._cpu_since = 0.0

    @classmethod
    def of(cls, config: TrainConfig, spent: float, cpu_spent: float) -> Clock:
        """Return the clock of a training, which counts the budget as the configuration says."""
        return cls(config.budget, spent, cpu_spent, cpu=config.budget_clock == "cpu")

    def start(self) -> None:
        """Start counting."""
        self._since, self._cpu_since = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Stop counting. Work that follows, such as writing to disk, does not count as training."""
        self._spent, self._cpu_spent, self._since = self.seconds, self.cpu_seconds, None

    @property
    def seconds(self) -> float:
        """Seconds counted so far, including the seconds of earlier sessions."""
        return self._spent + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of all threads of this process, user and system, counted as :attr:`seconds` are."""
        return self._cpu_spent + (0.0 if self._since is None else time.process_time() - self._cpu_since)

    @property
    def fraction(self) -> float:
        """The fraction of the budget that is spent: at most 1, and 0 without a budget."""
        if self._budget is None:
            return 0.0
        return min(1.0, (self.cpu_seconds if self._cpu else self.seconds) / self._budget)
