"""Define Tasks: the properties that one run learns together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
from attrs import field, frozen
from einops import rearrange
from torch import Tensor

from sneframe.config.validators import as_tuple
from sneframe.tasks.category import Category
from sneframe.tasks.number import Fraction, LogRegression, Regression
from sneframe.tasks.task import Task
from sneframe.zoo.column import Column

KINDS: dict[str, type[Task]] = {each.kind: each for each in (Regression, Fraction, LogRegression, Category)}


@frozen(kw_only=True, slots=False)
class Tasks:
    """The tasks of a run, which are learned together. The scores of the first task decide the best epoch.

    Args:
        each: the tasks, at least one.
    """

    each: tuple[Task, ...] = field(converter=as_tuple)

    @property
    def main(self) -> Task:
        """The task of the main property, which is the first task."""
        return self.each[0]

    @property
    def width(self) -> int:
        """T, the number of columns of the raw output."""
        return sum(task.width for task in self.each)

    @cached_property
    def _columns(self) -> tuple[slice, ...]:
        ends = np.cumsum([0, *(task.width for task in self.each)]).tolist()
        return tuple(slice(start, end) for start, end in pairwise(ends))

    def split(self, value: Tensor) -> Iterator[tuple[Task, Tensor]]:
        """Yield each task together with the columns of the raw outputs ``(B, T)`` that belong to the task."""
        for task, columns in zip(self.each, self._columns, strict=True):
            yield task, value[:, columns]

    def targets(self, columns: Mapping[str, Column]) -> np.ndarray:
        """Return float64 targets ``(n, T)``. ``columns`` has the true values of each property, by name."""
        return np.concatenate([task.targets(task.truth(columns[task.name])) for task in self.each], axis=1)

    def loss(self, value: Tensor, target: Tensor) -> Tensor:
        """Return the losses ``(B,)`` of the networks, averaged over the tasks."""
        pairs = zip(self.split(value), self._columns, strict=True)
        losses = [task.loss(own, target[:, columns]) for (task, own), columns in pairs]
        return losses[0] if len(losses) == 1 else rearrange(losses, "task b -> task b").mean(0)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the tasks as plain data for JSON."""
        # asdict takes attrs values. Task is no attrs class, but its subclasses are.
        return [{"kind": task.kind, **attrs.asdict(task)} for task in self.each]  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, data: Sequence[Mapping[str, Any]]) -> Tasks:
        """Build the tasks from the data that :meth:`to_json` returned."""
        made = []
        for each in data:
            options = dict(each)
            made.append(KINDS[options.pop("kind")](**options))
        return cls(each=made)
