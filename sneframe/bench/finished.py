"""Decide which cells of a comparison are run: missing cells, and finished cells whose code has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from sneframe.bench import cell as cells
from sneframe.bench.cell import Cell
from sneframe.bench.outcome import Outcome, read_outcome
from sneframe.bench.source import LIBRARIES, Made, changes, libraries, sources
from sneframe.errors import counted


@frozen(kw_only=True)
class Policy:
    """Decides which finished cells are run again.

    Args:
        retry: run failed cells again.
        reuse: use finished cells although the code that made them has changed.
        rerun: keys of cells that are run again in any case.
    """

    retry: bool = False
    reuse: bool = False
    rerun: Collection[str] = ()


@frozen(kw_only=True)
class Finished:
    """A cell, with its result if it is finished.

    Args:
        cell: the cell.
        outcome: the result of the cell; None for a missing cell.
        changed: what has changed since the cell was made, each change in a few words.
        again: whether the cell is run again although it has a result.
    """

    cell: Cell
    outcome: Outcome | None
    changed: Sequence[str] = ()
    again: bool = False

    @property
    def missing(self) -> bool:
        """Whether the cell is still to be run."""
        return self.outcome is None or self.again


def look(folder: Path, wanted: Iterable[Cell], policy: Policy) -> list[Finished]:
    """Look for the files of cells in a folder.

    A cell counts as finished only if the distributions that computed it, and their source, are unchanged. A
    cell that was written before distributions were recorded always counts.

    Raises:
        RunError: the file of a cell is damaged.
    """
    made: dict[frozenset[str], Mapping[str, Made]] = {}
    found = []
    for cell in wanted:
        path = cells.find(folder, cell)
        if path is None:
            found.append(Finished(cell=cell, outcome=None))
            continue
        outcome = read_outcome(path)
        changed: list[str] = []
        if outcome.source is not None:
            names = frozenset(choice.plugin for choice in cell.config.choices)
            made.setdefault(names, sources(cell.config))
            changed = changes(outcome.source, made[names])
        again = cell.key in policy.rerun or (policy.retry and outcome.failed is not None)
        again = again or (bool(changed) and not policy.reuse)
        found.append(Finished(cell=cell, outcome=outcome, changed=changed, again=again))
    return found


def said(found: Sequence[Finished], labels: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines that are printed before cells are run.

    Args:
        found: the result of :func:`look`.
        labels: the row of each cell, by key.
    """
    used = [each for each in found if not each.missing]
    yield f"{len(found)} cells, {len(used)} of them finished before"
    again = [each for each in found if each.again and each.changed]
    yield from dict.fromkeys(f"{labels[e.cell.key]}: {', '.join(e.changed)}, run again" for e in again)
    unsaid = sum(each.outcome is not None and each.outcome.source is None for each in used)
    if unsaid:
        yield f"{_are_used(unsaid)}, although it is not recorded which code made {_it(unsaid)}"
    if old := sum(bool(each.changed) for each in used):
        yield f"{_are_used(old)}, although the code that made {_it(old)} has changed"
    now, others = libraries(), Counter[str]()
    for each in used:
        before = each.outcome.libraries if each.outcome is not None else {}
        others.update(f"{n} {before[n]}" for n in LIBRARIES if n in before and before[n] != now[n])
    if others:
        listed = ", ".join(f"{count} by {library}" for library, count in others.items())
        yield f"some finished cells were made with other library versions: {listed}"


def _are_used(cells: int) -> str:
    return f"{counted(cells, 'finished cell')} {'is' if cells == 1 else 'are'} used"


def _it(cells: int) -> str:
    return "it" if cells == 1 else "them"
