"""Writes tables of committed cells, for markers of docs/tables.py.

- ``cells FOLDER: HEADING, HEADING, …``: a line for each method, with columns of ``sneframe compare``. The
  lines are ordered by the metric of the suite; ``cells FOLDER by METRIC: …`` orders them by another one.
- ``pivot FOLDER: METRIC``: a line for each method, and a column for each variation or pair of zoos.

FOLDER lies in docs/benchmarks. If a suite has its name, the table has the labels of its rows. Intervals take
minutes, so a table is written again only if a cell or the marker has changed: the table begins with a digest
of both.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from sneframe import plugins
from sneframe.bench import pages
from sneframe.bench.gathered import gather
from sneframe.bench.sheet import Table
from sneframe.bench.table import Line
from sneframe.report.bootstrap import DRAWS

HERE = Path(__file__).parent
STARTED = re.compile(r"<!-- digest: (\w+) -->\n")
#: The pages of recipes that are not on the page of their plugin.
PAGES = {"sne/message": "message", "sne/probe": "sne-probe"}
NOTHING = "–"
#: Zoos that old cells were only tested on, by the start of their digests. Newer cells hold the names.
NAMES = {"0e9ba4e5": "fashion-small-cnn", "30dafee5": "cifar10-small-cnn"}
HEADS = {"mse": "test MSE", "tau": "τ", "r2": "R²", "accuracy": "accuracy"}
Rows = Iterable[tuple[str, ...]]


def digest(words: str) -> str:
    """Return a hash of a marker and of the cells that its table shows."""
    folder = HERE / "benchmarks" / words.split(maxsplit=1)[1].partition(":")[0].partition(" ")[0]
    state = hashlib.sha256(words.encode())
    for path in sorted(folder.rglob("*.json")):
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()[:12]


def stands(words: str, body: str) -> bool:
    """Return whether a table was written from the cells that are there now."""
    started = STARTED.match(body.lstrip())
    return started is not None and started[1] == digest(words)


def cells_table(words: str) -> tuple[tuple[str, ...], Rows]:
    """Return the heading and the rows of a ``cells`` table, the best method first."""
    folder, headings = words.split(": ")
    folder, _, metric = folder.partition(" by ")
    table, shown = _gathered(folder, metric or None), [each.strip() for each in headings.split(",")]
    names = pages.headings(table)
    places = [names.index(each) for each in shown]
    rows: list[tuple[str, ...]] = []
    for column, lines in table.columns.items():
        for line in lines:
            if line.scores[table.metric] is None:
                continue
            found = pages.words(table, line)
            cells = [found[place] for place in places]
            cells[0] = f"**{cells[0]}**" if line.best else cells[0]
            rows.append((*([column] if column else []), _linked(line), *cells))
    heads = ("zoos",) if any(table.columns) else ()
    return (*heads, "method", *(f"test {each}" if each == names[0] else each for each in shown)), rows


def pivot_table(words: str) -> tuple[tuple[str, ...], Rows]:
    """Return the heading and the rows of a ``pivot`` table. Methods are ordered by their mean rank."""
    folder, metric = words.split(": ")
    table = _gathered(folder, metric, draws=0)
    rows = sorted(table.rows.values(), key=lambda lines: _rank(table, list(lines.values())))
    body = [
        (_linked(next(iter(lines.values()))), *(_cell(table, lines.get(column)) for column in table.columns))
        for lines in rows
    ]
    return ("", *(_named(column) or HEADS[metric] for column in table.columns)), body


def _gathered(folder: str, metric: str | None = None, *, draws: int = DRAWS) -> Table:
    suites = plugins.load(["suites"]).suites
    return gather(HERE / "benchmarks" / folder, suites.get(f"suites/{folder}"), metric, draws=draws)


def _rank(table: Table, lines: Sequence[Line]) -> float:
    """Return the mean place of a method in the columns. A column without a score counts as the last place."""
    places = []
    for line in lines:
        column = [each.row for each in table.columns[line.column]]
        places.append(column.index(line.row) if line.scores[table.metric] is not None else len(column))
    return fmean(places)


def _cell(table: Table, line: Line | None) -> str:
    if line is None:
        return NOTHING
    if (score := line.scores[table.metric]) is None:
        return pages.verdict(line)
    text = pages.spread(table.metric, score)
    text = text if table.metric == "mse" else text.replace("0.", ".")
    return f"**{text}**" if line.best else text


def _named(column: str) -> str:
    for digest, name in NAMES.items():
        column = column.replace(digest, name)
    return column


def _linked(line: Line) -> str:
    """Return the label of a row. The name of a recipe is code, with a link to the page of its method."""
    if not line.row.startswith(line.recipe):
        return line.row
    plugin = line.recipe.partition("/")[0]
    page = next((page for start, page in PAGES.items() if line.recipe.startswith(start)), plugin)
    recipe, *words = line.row.split(", ", 1)
    return ", ".join((f"[`{recipe}`](plugins/{page}.md)", *words))
