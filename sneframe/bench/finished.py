"""Which cells of a comparison are run: those that are missing, and finished ones that something else made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from sneframe.bench import cell as cells
from sneframe.bench.cell import Cell, Outcome
from sneframe.bench.source import LIBRARIES, Made, changes, libraries, sources
from sneframe.errors import counted


@frozen(kw_only=True)
class Policy:
    """Which finished cells are run again.

    Args:
        retry: those that failed.
        reuse: none for what made them: they are used whatever that was.
        rerun: those of these keys, whatever they left.
    """

    retry: bool = False
    reuse: bool = False
    rerun: Collection[str] = ()


@frozen(kw_only=True)
class Finished:
    """A cell that was looked for.

    Args:
        cell: itself.
        outcome: what it left; None where it is missing.
        changed: what made it and is another thing now, a few words each.
        again: whether it is to be run though it left something.
    """

    cell: Cell
    outcome: Outcome | None
    changed: Sequence[str] = ()
    again: bool = False

    @property
    def missing(self) -> bool:
        """Whether it is to be run."""
        return self.outcome is None or self.again


def look(folder: Path, wanted: Iterable[Cell], policy: Policy) -> list[Finished]:
    """Look for cells in a folder.

    A cell counts only if the distributions that made it, and their source, are those of now. One that does not say what
    made it, as those from before this was kept, counts as it is.

    Raises:
        RunError: a damaged file is in the place of one.
    """
    made: dict[frozenset[str], Mapping[str, Made]] = {}
    found = []
    for cell in wanted:
        path = cells.find(folder, cell)
        if path is None:
            found.append(Finished(cell=cell, outcome=None))
            continue
        outcome = cells.read(path)
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
    """Yield what there is to say of cells before they are run, a line each.

    Args:
        found: by :func:`look`.
        labels: of their rows, by key.
    """
    used = [each for each in found if not each.missing]
    yield f"{len(found)} cells, {len(used)} of them finished before"
    again = [each for each in found if each.again and each.changed]
    yield from dict.fromkeys(f"{labels[e.cell.key]}: {', '.join(e.changed)}, run again" for e in again)
    unsaid = sum(each.outcome is not None and each.outcome.source is None for each in used)
    if unsaid:
        yield f"{counted(unsaid, 'cell')} of these say nothing of their source and are used as they are"
    if old := sum(bool(each.changed) for each in used):
        yield f"{counted(old, 'cell')} of these are used though what made them has changed since"
    now, others = libraries(), Counter[str]()
    for each in used:
        before = each.outcome.libraries if each.outcome is not None else {}
        others.update(f"{n} {before[n]}" for n in LIBRARIES if n in before and before[n] != now[n])
    if others:
        listed = ", ".join(f"{count} by {library}" for library, count in others.items())
        yield f"some of these were made by other versions of libraries: {listed}"
