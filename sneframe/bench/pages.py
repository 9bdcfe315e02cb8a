"""Write a table as HTML, CSV and Markdown. HTML and Markdown use the same words. CSV has bare numbers."""

from __future__ import annotations

import csv as csv_module
import html as html_module
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import frozen
from markupsafe import Markup

import sneframe
from sneframe.bench import charts
from sneframe.bench.sheet import Table, name_of
from sneframe.bench.table import Line, PairedDifference, Spread
from sneframe.config.suite import METRICS
from sneframe.report.bootstrap import DRAWS
from sneframe.report.template import template
from sneframe.report.words import NOTHING, count, duration, number, ratio, rough
from sneframe.report.words import limits as limits_in_words

MOST_DRAWN = 6  #: columns that get charts of their own


def headings(table: Table) -> tuple[str, ...]:
    """Return the headings of the table's columns, without the first column, which names the row."""
    main, *others = (name_of(metric, table.lines) for metric in table.metrics)
    coverage = ("coverage",) if _has_coverage(table) else ()
    cpu = ("CPU",) if _has_cpu(table) else ()
    costs = ("size", "epochs", "a step", "training", *cpu, "to best", "memory")
    return (main, "95 % interval", "against the best", *others, *coverage, *costs)


def words(table: Table, line: Line) -> tuple[str, ...]:
    """Return the text for each column of :func:`headings`. The line must have a score."""
    main = line.scores[table.metric]
    coverage = NOTHING if line.coverage is None else f"{100 * line.coverage:.1f} %"
    return (
        spread(table.metric, main),
        limits(table.metric, main.interval if main else None),
        "best" if line.best else difference(table.metric, line.against),
        *(spread(name, line.scores[name]) for name in table.metrics[1:]),
        *((coverage,) if _has_coverage(table) else ()),
        NOTHING if line.size is None else count(line.size),
        epochs(line),
        NOTHING if line.step_seconds is None else seconds(line.step_seconds),
        NOTHING if line.train_seconds is None else seconds(line.train_seconds),
        *((NOTHING if line.cpu_seconds is None else seconds(line.cpu_seconds),) if _has_cpu(table) else ()),
        NOTHING if line.seconds_to_best is None else seconds(line.seconds_to_best),
        NOTHING if line.peak_memory is None else f"{line.peak_memory / 2**20:.0f} MiB",
    )


def _has_coverage(table: Table) -> bool:
    """Return whether a cell records the coverage of intervals. Cells of older versions do not."""
    return any(line.coverage is not None for line in table.lines)


def _has_cpu(table: Table) -> bool:
    """Return whether a cell records CPU seconds. Cells of older versions do not."""
    return any(line.cpu_seconds is not None for line in table.lines)


def verdict(line: Line) -> str:
    """Return the text that a line without a score shows in place of the score."""
    if not line.failed:
        return NOTHING
    return "failed" if line.applicable else "not applicable"


def reason(line: Line) -> str:
    """Return why seeds of a line have no score. The text is empty for a complete line."""
    if line.failed:
        said = verdict(line) if not line.done else f"{line.done} of {line.seeds} seeds are finished, failed"
        return f"{said}: {'; '.join(line.failed)}"
    if line.done < line.seeds:
        return f"{line.done} of {line.seeds} seeds are finished"
    return ""


def spread(metric: str, value: Spread | None) -> str:
    """Write the mean and standard deviation of a metric, such as ``0.0367 ± 0.0021``."""
    if value is None:
        return NOTHING
    mean = number(value.mean) if metric == "mse" else ratio(value.mean)
    return mean + ("" if value.std is None else f" ± {_short(metric, value.std)}")


def limits(metric: str, between: tuple[float, float] | None) -> str:
    """Write the interval of a metric, such as ``0.031 … 0.042``."""
    return limits_in_words(between, "number" if metric == "mse" else "ratio")


def difference(metric: str, value: PairedDifference | None) -> str:
    """Write a difference and its interval, such as ``+0.12 (+0.09 … +0.15)``."""
    if value is None:
        return NOTHING

    def signed(each: float) -> str:
        return ("+" if each >= 0 else "") + _short(metric, each)

    between = (
        "" if value.interval is None else f" ({signed(value.interval[0])} … {signed(value.interval[1])})"
    )
    return f"{'' if value.clear or value.interval is None else '≈ '}{signed(value.mean)}{between}"


def epochs(line: Line) -> str:
    """Write trained, planned and best epochs: ``12.4 of 40 † (11)``. A method without epochs gets a dash."""
    if not line.passes:
        return NOTHING
    whole = line.planned is not None and abs(line.passes - line.planned) < 1e-9
    trained = f"{line.passes:.4g}" if whole else f"{line.passes:.3g} of {line.planned}"
    return f"{trained}{' †' if line.cut else ''} ({line.best_epoch:.3g})"


def seconds(value: float) -> str:
    """Write a time. A time below a second is written in milliseconds."""
    return f"{value * 1000:.3g} ms" if value < 1 else duration(value)


def notes(table: Table) -> tuple[str, ...]:
    """Return paragraphs that explain what the numbers of the table mean."""
    kind = " of CPU time" if table.cpu_budget else ""
    budget = () if table.budget is None else (f"Each run trains for {duration(table.budget)}{kind} at most.",)
    several = any(line.done > 1 for line in table.lines)
    means = (
        "Scores are means over seeds ± their standard deviation."
        if several
        else "Scores are those of one seed."
    )
    grouped = any(line.test is not None and line.test.group is not None for line in table.lines)
    drawn = "test networks, drawn by run group" if grouped else "test networks"
    covered = (
        "The coverage is the fraction of test networks whose 90 % prediction interval holds the true value."
    )
    cpu = (
        "CPU is the time that the cores worked for the training, which other work on the machine does not "
        "change."
    )
    return (
        *budget,
        f"{means} The 95 % intervals are percentiles of {count(DRAWS)} resamples of the {drawn}: those of "
        f"the mean over seeds, and of its difference to the best on the same resamples. ≈ marks a difference "
        f"whose interval holds 0.",
        *((covered,) if _has_coverage(table) else ()),
        "Epochs are those trained, with the one of the best validation score in brackets; † marks a training "
        "that its budget cut. A step is a training step; to best is the training until the best epoch; "
        "memory is the largest resident set of the run’s process.",
        *((cpu,) if _has_cpu(table) else ()),
    )


@frozen(kw_only=True)
class Figures:
    """The charts of one column.

    Args:
        intervals: the chart of the intervals of all methods; None if no method has a score.
        costs: the charts of the metric against training time and model size, each with its caption.
        predictions: a chart of the predictions of each method.
        maps: the method and the maps of its embeddings, for each method whose cells hold them.
        seed: the seed that made the predictions.
    """

    intervals: Markup | None
    costs: tuple[tuple[Markup, str], ...] = ()
    predictions: tuple[Markup, ...] = ()
    maps: tuple[tuple[str, tuple[Markup, ...]], ...] = ()
    seed: int = 0


def figures(table: Table, place: int, lines: Sequence[Line]) -> Figures | None:
    """Draw the charts of a column. The ids in the charts contain the position of the column.

    Returns:
        None for a column without scores, or if there are too many columns to draw each.
    """
    known = [line for line in lines if line.scores.get(table.metric) is not None]
    if not known or len(table.columns) > MOST_DRAWN:
        return None
    look, heading, prefix = charts.marks(list(table.rows)), name_of(table.metric, table.lines), f"{place}"
    captions = {
        "time": "The same against the training time, validation included.",
        "size": "The same against the number of trainable weights.",
    }
    costs = (
        (charts.against(known, table.metric, heading, cost, look, prefix), said)
        for cost, said in captions.items()
    )
    ends, name = charts.common_limits(known), table.property or "property"
    drawn = (charts.predictions(line, name, ends, f"{prefix}-{row}-") for row, line in enumerate(known))
    maps = ((line.row, charts.maps(line, f"{prefix}-{row}-")) for row, line in enumerate(known))
    return Figures(
        intervals=charts.intervals(known, table.metric, heading, look, prefix),
        costs=tuple((chart, said) for chart, said in costs if chart is not None),
        predictions=tuple(chart for chart in drawn if chart is not None),
        maps=tuple((row, own) for row, own in maps if own),
        seed=known[0].outcomes[0].seed if known[0].outcomes else 0,
    )


def overview(table: Table) -> Markup | None:
    """Draw the metric over the variations of a suite. Return None for one column or for pairs of zoos."""
    if len(table.columns) < 2 or table.matrices:
        return None
    if not any(line.scores.get(table.metric) for line in table.lines):
        return None
    columns = list(dict.fromkeys(line.column for line in table.lines))
    return charts.over_variations(table.rows, columns, table.metric, name_of(table.metric, table.lines))


def html(table: Table) -> str:
    """Return the table as one HTML page that loads nothing and runs no script."""
    return template("sneframe.bench", "compare.html.j2").render(
        table=table,
        version=sneframe.__version__,
        headings=headings(table),
        notes=notes(table),
        words=words,
        reason=reason,
        verdict=verdict,
        spread=spread,
        metric=name_of(table.metric, table.lines),
        category=any(line.scores.get("accuracy") for line in table.lines),
        figures=figures,
        overview=overview(table),
        several=any(line.done > 1 for line in table.lines),
        most_drawn=MOST_DRAWN,
    )


def markdown(table: Table) -> str:
    """Return the table as Markdown."""
    blocks = [f"# {_plain(table.title)}"]
    if table.header is not None:
        facts = [f"- {name}: {_plain(text)}" for name, text in table.header.facts]
        blocks.append("\n".join(facts))
        if table.header.command is not None:
            # Indented code takes every character as it is.
            blocks.append(f"    {' '.join(table.header.command.split())}")
        blocks += map(_plain, table.header.lacks)
    if len(table.columns) > 1:
        body = [
            (_plain(row), *(_pivot(table, lines.get(column)) for column in table.columns))
            for row, lines in table.rows.items()
        ]
        blocks.append(
            f"{name_of(table.metric, table.lines)}\n\n{_grid(('', *map(_plain, table.columns)), body)}"
        )
    for matrix in table.matrices:
        body = [
            (_plain(source), *(_pivot(table, matrix.lines[source, target]) for target in matrix.targets))
            for source in matrix.sources
        ]
        heads = ("trained on ↓, tested on →", *map(_plain, matrix.targets))
        blocks.append(f"{_plain(matrix.name)}: {name_of(table.metric, table.lines)}\n\n{_grid(heads, body)}")
    for column, lines in table.columns.items():
        if column:
            blocks.append(f"## {_plain(column)}")
        blocks.append(_grid(("", *headings(table)), [_cells(table, line) for line in lines]))
        missing = [f"- {_plain(line.row)}: {_plain(reason(line))}" for line in lines if reason(line)]
        if missing:
            blocks.append("\n".join(missing))
    return "\n\n".join([*blocks, *notes(table)]) + "\n"


def csv(table: Table) -> str:
    """Return the table as CSV, with one line per row and column. Numbers have all digits."""
    text = io.StringIO()
    writer = csv_module.writer(text, lineterminator="\n")
    heads = [f"{metric}_{what}" for metric in METRICS for what in ("mean", "std", "low", "high", "seeds")]
    writer.writerow(("column", "row", "recipe", "seeds", "of", "networks", *heads, *CSV))
    for lines in table.columns.values():
        for line in lines:
            scores = [number for metric in METRICS for number in _numbers(line, metric)]
            head = (line.column, line.row, line.recipe, line.done, line.seeds, line.networks)
            writer.writerow(_bare(value) for value in (*head, *scores, *(of(line) for of in CSV.values())))
    return text.getvalue()


CSV: dict[str, Callable[[Line], Any]] = {
    "best": lambda line: int(line.best),
    "against_mean": lambda line: line.against and line.against.mean,
    "against_low": lambda line: line.against and line.against.interval and line.against.interval[0],
    "against_high": lambda line: line.against and line.against.interval and line.against.interval[1],
    "coverage": lambda line: line.coverage,
    "size": lambda line: line.size,
    "epochs": lambda line: line.passes,
    "of_epochs": lambda line: line.planned,
    "cut": lambda line: line.cut,
    "best_epoch": lambda line: line.best_epoch,
    "step_seconds": lambda line: line.step_seconds,
    "train_seconds": lambda line: line.train_seconds,
    "cpu_seconds": lambda line: line.cpu_seconds,
    "seconds_to_best": lambda line: line.seconds_to_best,
    "peak_memory": lambda line: line.peak_memory,
    "failed": lambda line: "; ".join(line.failed),
}


def _numbers(line: Line, metric: str) -> tuple[float | tuple[float, ...] | None, ...]:
    """Return the mean, the standard deviation, both limits of the interval, and the value of each seed."""
    value = line.scores.get(metric)
    if value is None:
        return (None,) * 5
    return (value.mean, value.std, *(value.interval or (None, None)), line.each.get(metric, ()))


def _bare(value: Any) -> str:
    """Return a value for CSV. A quote is put before a text that a spreadsheet would take for a formula."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(map(repr, value))
    text = repr(value) if isinstance(value, float) else str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _cells(table: Table, line: Line) -> tuple[str, ...]:
    name = _plain(line.row)
    if line.scores[table.metric] is None:
        return (name, verdict(line), *[""] * (len(headings(table)) - 1))
    first, *rest = words(table, line)
    return (name, f"**{first}**" if line.best else first, *rest)


def _pivot(table: Table, line: Line | None) -> str:
    spreads = line.scores[table.metric] if line else None
    if line is None or spreads is None:
        return verdict(line) if line else NOTHING
    text = spread(table.metric, spreads)
    return f"**{text}**" if line.best else text


def _grid(heading: tuple[str, ...], body: list[tuple[str, ...]]) -> str:
    rows: Iterator[tuple[str, ...]] = iter((heading, ("---",) * len(heading), *body))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _plain(text: str) -> str:
    """Return a text as one line in which neither Markdown nor HTML sees markup."""
    escaped = html_module.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", escaped)


def _short(metric: str, value: float) -> str:
    """Return a standard deviation or a limit of an interval with three digits."""
    return rough(value) if metric == "mse" else ratio(value)
