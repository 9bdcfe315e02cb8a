"""Read a CSV, TSV or JSON lines table that lists the files of networks and the properties of each file."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from sneframe.errors import ZooError, choices, counted
from sneframe.zoo.format import RESERVED
from sneframe.zoo.splits import NAMES, UNUSED
from sneframe_importers.typed import ColumnSource, is_missing, run_group, typed, typed_json

#: Columns that are not properties. Only the column ``file`` is required.
FILE, GROUP, SPLIT = "file", "group", "split"
#: Columns that `zoo export` writes and an import ignores, because the import computes their values anew.
DERIVED = ("architecture", "healthy")
#: Names that a property must not have, because every imported zoo has columns of these names.
OURS = (*sorted({*RESERVED} - {FILE, GROUP, SPLIT}), "source")
#: Matches the id of an architecture.
ID = re.compile("[0-9a-f]{16}")


@frozen(kw_only=True)
class TableEntry:
    """One network to import: a line of a table, or a file if there is no table.

    Args:
        line: number of the line, or 0 without a table.
        file: path of the network's file, normalised (without ``./`` and the like).
        group: the run group, or None if the table gives none.
        split: 0 train, 1 val, 2 test, -1 unused; None if the table has no column ``split``.
        properties: values of the properties by name; missing values are None.
    """

    line: int
    file: str
    group: str | None
    split: int | None
    properties: Mapping[str, Any]


def read_table(path: Path) -> list[TableEntry]:
    """Read a table. The suffix of the path (``.csv``, ``.tsv`` or ``.jsonl``) decides its format.

    All values of a CSV column get the same kind: int if all of them can be read as ints, else float, else
    bool (``true`` and ``false``), else text. An empty text, ``NA``, ``N/A``, ``nan``, ``null`` and ``-`` are
    missing values. In a column of numbers, ``none`` is a missing value, too. ``91%`` is read as 0.91. A
    column becomes text if one of its numbers would lose digits: ``007``, or an int without an exact float in
    a column of floats.

    Raises:
        ZooError: the table is missing or damaged, has no column ``file``, names a file twice, names an
            unknown split, or has a column in which only some of the numbers have ``%``.

    Warns:
        UserWarning: a few values turn a column of numbers into text, or values with ``%`` are read as
            fractions.
    """
    lines = read_rows(path)
    derived = _derived(path, lines)
    entries: dict[str, TableEntry] = {}
    for number, values in lines:
        entry = _entry(path, number, {name: value for name, value in values.items() if name not in derived})
        if entry.file in entries:
            raise ZooError(
                f"{path}, line {number}: {entry.file} is already in line {entries[entry.file].line}"
            )
        entries[entry.file] = entry
    return list(entries.values())


def read_rows(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the line number and the values of each line of a table. See :func:`read_table` for the formats.

    Raises:
        ZooError: the table is missing, damaged or empty.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ZooError(f"{path}: the name of a table must end in {', '.join(READERS)}")
    try:
        lines = list(reader(path))
    except FileNotFoundError as error:
        raise ZooError(f"{path}: there is no such table") from error
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
    except (ValueError, csv.Error, RecursionError) as error:
        raise ZooError(f"{path}: damaged: {' '.join(str(error).split())[:200]}") from error
    if not lines:
        raise ZooError(f"{path}: the table is empty")
    return lines


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    text = path.read_text(encoding="utf-8-sig")
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True
    )
    head = [name.strip() for name in next((row for row in rows if row), [])]
    if not head:
        return
    if "" in head:
        raise ValueError(
            f"column {head.index('') + 1} has no name (pandas writes a column without a name "
            f"unless to_csv gets index=False)"
        )
    if len(set(head)) < len(head):
        raise ValueError(f"two columns have the same name: {', '.join(head)}")
    lines, table = [], []
    for row in rows:
        if not row:
            continue
        if len(row) != len(head):
            found = f"line {rows.line_num} has {counted(len(row), 'value')}"
            if len(head) == 1:
                raise ValueError(f"the header has one column {head[0]!r}, but {found}{_separators(head)}")
            raise ValueError(f"{found}, but there are {len(head)} columns")
        lines.append(rows.line_num)
        table.append([value.strip() for value in row])
    if not table:
        return
    columns: dict[str, Sequence[Any]] = dict(zip(head, zip(*table, strict=True), strict=True))
    exported = _is_export(columns)
    for name, words in columns.items():
        if name not in (FILE, GROUP, SPLIT, *(DERIVED if exported else ())):
            source = ColumnSource(table=str(path), column=name, lines=lines, exported=exported)
            columns[name] = typed(words, source)
    for row_number, line in enumerate(lines):
        yield line, {name: values[row_number] for name, values in columns.items()}


def _jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError(f"line {number} is not a JSON object")
            rows.append((number, values))
    for name in dict.fromkeys(name for _, values in rows for name in values):
        if name not in (FILE, GROUP, SPLIT):
            having = [(number, values) for number, values in rows if name in values]
            source = ColumnSource(table=str(path), column=name, lines=[number for number, _ in having])
            column = typed_json([values[name] for _, values in having], source)
            for (_, values), value in zip(having, column, strict=True):
                values[name] = value
    yield from rows


READERS: Mapping[str, Callable[[Path], Iterator[tuple[int, Mapping[str, Any]]]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
}


def _derived(path: Path, lines: Sequence[tuple[int, Mapping[str, Any]]]) -> tuple[str, ...]:
    """Return the columns to ignore: :data:`DERIVED` if `zoo export` wrote the table, or else no columns.

    Raises:
        ZooError: `zoo export` did not write the table, and a property has a name in :data:`OURS`.
    """
    whole = [name for name in DERIVED if all(name in values for _, values in lines)]
    if _is_export({name: [values[name] for _, values in lines] for name in whole}):
        return DERIVED
    for number, values in lines:
        for name in OURS:
            if name in values:
                raise ZooError(
                    f"{path}, line {number}: a property cannot be named {name!r}, because every zoo has a "
                    f"column of this name; rename the property"
                )
    return ()


def _is_export(columns: Mapping[str, Sequence[Any]]) -> bool:
    """Return whether `zoo export` wrote a table with these columns."""
    return "healthy" in columns and all(
        ID.fullmatch(str(value)) for value in columns.get("architecture", [""])
    )


def _separators(head: Sequence[str]) -> str:
    """Return a hint for a table whose only column has a name with separators, such as ``file;accuracy``."""
    if len(head) != 1 or not {*head[0]} & {*";\t|,"}:
        return ""
    return "; a .csv needs commas between columns, and a .tsv needs tabs"


def _entry(path: Path, number: int, values: Mapping[str, Any]) -> TableEntry:
    where = f"{path}, line {number}"
    if FILE not in values:
        known = choices(FILE, map(str, values))
        raise ZooError(f"{path}: there is no column 'file', {known}{_separators(list(values))}")
    file, group, split = (values.get(name) for name in (FILE, GROUP, SPLIT))
    if not isinstance(file, str) or not file:
        raise ZooError(f"{where}: 'file' must be the name of a file, but got {file!r}")
    split = None if is_missing(split) else split
    if split not in (None, *NAMES):
        raise ZooError(f"{where}: 'split' must be {', '.join(NAMES)} or empty, but got {split!r}")
    return TableEntry(
        line=number,
        file=posixpath.normpath(file),
        group=run_group(group),
        split=None if SPLIT not in values else NAMES.index(split) if split else UNUSED,
        properties={name: value for name, value in values.items() if name not in (FILE, GROUP, SPLIT)},
    )
