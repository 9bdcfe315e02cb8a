"""Collect the facts of a comparison: zoos, split, command, versions, machines and dates."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from sneframe.bench.outcome import Outcome
from sneframe.config.schema import ZooConfig
from sneframe.errors import counted
from sneframe.report.words import count, duration, moment

LIBRARIES = ("sneframe", "python", "torch", "numpy", "scikit-learn")
PLUGIN = "plugin "


@frozen(kw_only=True)
class Header:
    """The facts of a comparison.

    Args:
        facts: the name and the text of each fact.
        command: the command that writes the pages again; None for a comparison that Python code ran.
        lacks: a sentence for each fact that is not known, with the reason.
    """

    facts: tuple[tuple[str, str], ...]
    command: str | None
    lacks: tuple[str, ...]


def header(
    *,
    zoos: Iterable[tuple[str, str]],
    configs: Sequence[ZooConfig],
    outcomes: Sequence[Outcome],
    seeds: int,
    budget: float | None,
    command: str | None,
    cpu_budget: bool = False,
    note: str | None = None,
    unknown: str = "Python code made this comparison",
) -> Header:
    """Return the facts of a comparison.

    Args:
        zoos: name and digest of each zoo.
        configs: the zoo part of each cell's configuration.
        outcomes: results of the cells that were read.
        seeds: number of seeds of each row.
        budget: seconds of training of each run, or None.
        command: the command that runs the comparison again, or None.
        cpu_budget: whether the budget counts CPU seconds.
        note: what a suite says about its zoos, or None.
        unknown: why the command is not known, if it is None.
    """
    facts = [("Zoo", "; ".join(f"{name}, digest {digest[:16]}" for name, digest in dict.fromkeys(zoos)))]
    if note is not None:
        facts.append(("Note", note))
    names = dict.fromkeys(config.property for config in configs if config.property is not None)
    if names:
        facts.append(("Property", ", ".join(names)))
    splits = list(dict.fromkeys(filter(None, map(split_in_words, configs))))
    if splits:
        facts.append(("Split", "; ".join(splits)))
    wheres = dict.fromkeys(config.where for config in configs if config.where is not None)
    if wheres:
        facts.append(("Networks", "; ".join(f"zoo.where = {where}" for where in wheres)))
    facts.append(("Seeds", ", ".join(map(str, range(seeds))) if seeds <= 5 else f"0 to {seeds - 1}"))
    if budget is not None:
        facts.append(("Budget", f"{duration(budget)} of {'CPU time' if cpu_budget else 'training'} a run"))
    if versions := list(versions_in_words([outcome.libraries for outcome in outcomes])):
        facts.append(("Versions", "; ".join(versions)))
    if machines := list(dict.fromkeys(outcome.machine for outcome in outcomes if outcome.machine)):
        facts.append(("Machine" if len(machines) == 1 else "Machines", "; ".join(machines)))
    dates = sorted(outcome.finished for outcome in outcomes if outcome.finished is not None)
    if dates:
        ends = list(dict.fromkeys((dates[0], dates[-1])))
        facts.append(("Finished", " to ".join(map(moment, ends))))
    return Header(facts=tuple(facts), command=command, lacks=tuple(_lacks(outcomes, command, unknown)))


def split_in_words(config: ZooConfig) -> str:
    """Return how the networks are split, such as ``random: 70 % train, 15 % validation, 15 % test, …``."""
    if config.split != "random":
        return f"{config.split}, stored in the zoo"
    fractions = sum(config.sizes) <= 1 + 1e-9
    parts = (
        f"{100 * size:g} % {part}" if fractions else f"{count(round(size))} {part}"
        for size, part in zip(config.sizes, ("train", "validation", "test"), strict=True)
    )
    return f"random: {', '.join(parts)}, zoo.split_seed {config.split_seed}"


def versions_in_words(versions: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a phrase such as ``torch 2.13.0`` for each library or plugin.

    The phrase lists all versions that were used. A plugin is named with its distribution.
    """
    for name in LIBRARIES:
        found = dict.fromkeys(each[name] for each in versions if name in each)
        if found:
            yield f"{name} {' and '.join(found)}"
    pairs = {
        (distribution, name.removeprefix(PLUGIN))
        for each in versions
        for name, distribution in each.items()
        if name.startswith(PLUGIN)
    }
    for distribution, names in itertools.groupby(sorted(pairs), key=lambda pair: pair[0]):
        yield f"plugins of {distribution}: {', '.join(name for _, name in names)}"


def _lacks(outcomes: Sequence[Outcome], command: str | None, unknown: str) -> Iterator[str]:
    """Yield a sentence for each fact that the page leaves out, with the reason."""
    undated = sum(outcome.finished is None and outcome.failed is None for outcome in outcomes)
    if undated:
        cells = f"{counted(undated, 'cell')} of {len(outcomes)}"
        yield (
            f"The date and the run groups are not recorded in {cells}. The test networks of such cells are "
            f"resampled one by one."
        )
    if command is None:
        yield f"The command is not known: {unknown}."
