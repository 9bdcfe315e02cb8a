"""Writes the tables of options into the pages, between ``<!-- table: … -->`` and ``<!-- end -->``.

Run ``python docs/tables.py`` after a change to a command, the configuration or a part. A test fails while a
page differs from what this script would write.

The first word of a marker names the kind of table:

- ``command COMMAND``: the arguments and options of a command;
- ``command COMMANDS``: those that several commands share; COMMANDS is a list such as ``predict, embed``, or a
  group such as ``zoo build``;
- ``command COMMAND beyond COMMANDS``: those that the other commands lack;
- ``keys SECTION``: the keys of a section of the configuration;
- ``slot NAME``: the options of every part that fits into a slot;
- ``part NAME``: the options of a part;
- ``part NAME beyond OTHER``: those that another part lacks;
- ``symmetry``: how much each method changes when the neurons of a group move;
- ``history FOLDER EPOCH …``: scores of committed runs after some epochs;
- ``cells FOLDER: …`` and ``pivot FOLDER: …``: the scores of committed cells; see docs/cell_tables.py.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import tomli_w
from by_group import METHODS, by_group
from cell_tables import cells_table, digest, pivot_table, stands

from sneframe import plugins
from sneframe.cli import sneframe_command
from sneframe.config import schema

#: The plugins whose parts have tables, in the order of the flow.
SHIPPED = (
    *("normalise", "sne", "stats", "dwsnet", "nfn", "deepsets", "probe", "mlp", "neural-graph", "scale-gmn"),
    *("hyperrep", "sane"),
    *("tokenizer", "head", "invariance", "augmentation"),
)
DOCS = Path(__file__).parent
HISTORY = ("λ", "epoch", "validation MSE", "τ-b", "e_g", "e_noise")
OPTION = ("option", "values", "default", "meaning")
SECTIONS = {"run": schema.RunConfig, "zoo": schema.ZooConfig, "train": schema.TrainConfig}
MARKED = re.compile(r"(<!-- table: (?P<words>[^>]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
CELLS = {"cells": cells_table, "pivot": pivot_table}
#: What the values of a type are called.
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "string", schema.Choice: "table"}
#: The same for the types of the command line.
METAVARS = {"INTEGER": "whole number", "FLOAT": "number", "TEXT": "text", "PATH": "path"}
LISTS = {"INT,…": "whole numbers", "FLOAT,…": "numbers", "STR,…": "words", "A,B,…": "names"}
#: Arguments without a help text of their own.
ARGUMENTS = {
    "FILE": "file of a network",
    "FILES...": "files of networks",
    "FOLDER": "folder to write",
    "NETWORKS...": "zoos, and files of networks",
    "PATH": "folder of the zoo",
    "PATHS...": "folders of the zoos",
    "PLUGIN": "name of the plugin",
    "RUN": "folder of the run",
    "SRC": "file or folder to import",
    "ZOO": "folder of the zoo",
}
#: An empty cell.
NOTHING = "–"


def filled(page: str, depth: int = 0) -> str:
    """Return a page with all its tables up to date.

    Args:
        page: the text of the page.
        depth: number of folders between ``docs`` and the page, for links.
    """
    return MARKED.sub(lambda mark: _filled(mark, depth), page)


def _filled(mark: re.Match[str], depth: int) -> str:
    words = mark["words"]
    if words.partition(" ")[0] not in CELLS:
        return f"{mark[1]}\n{table(words)}\n\n{mark[4]}"
    if stands(words, mark["body"]):
        return mark[0]
    text = of_cells(words).replace("](plugins/", f"]({'../' * depth}plugins/")
    return f"{mark[1]}\n{text}\n\n{mark[4]}"


def of_cells(words: str) -> str:
    """Return a table of committed cells, after the digest that tells :func:`filled` if it is up to date."""
    kind, _, what = words.partition(" ")
    return f"<!-- digest: {digest(words)} -->\n{markdown(*CELLS[kind](what))}"


def table(words: str) -> str:
    """Return the table that a marker asks for, as Markdown."""
    kind, _, what = words.partition(" ")
    what, _, known = what.partition(" beyond ")
    if kind == "symmetry":
        return markdown(("network", "group", "action", *(code(method[0]) for method in METHODS)), by_group())
    if kind == "history":
        return markdown(HISTORY, history_rows(*what.split()))
    if kind == "command":
        return markdown(OPTION, without(command_rows(what), command_rows(known) if known else ()))
    if kind == "keys":
        return markdown(("key", *OPTION[1:]), key_rows(SECTIONS[what]))
    if kind == "slot":
        return markdown(("part", *OPTION), slot_rows(what))
    if kind == "part":
        return markdown(OPTION, without(part_rows(what), part_rows(known) if known else ()))
    raise ValueError(kind)


def without(rows: Iterable[tuple[str, ...]], known: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows that another table lacks."""
    known = set(known)
    return (row for row in rows if row not in known)


# -- commands ------------------------------------------------------------------------------------------------


def commands(group: click.Group = sneframe_command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command of a group."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def command_rows(names: str) -> list[tuple[str, str, str, str]]:
    """Return the rows of a command, or those that all of several commands share."""
    tables = [
        [parameter_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        for name in names.split(", ")
        for command in members(find(name.split()))
    ]
    return [row for row in tables[0] if all(row in rows for rows in tables[1:])]


def find(words: Iterable[str], command: click.Command = sneframe_command) -> click.Command:
    """Return the command that some words call."""
    for word in words:
        assert isinstance(command, click.Group)
        inner = command.get_command(click.Context(command), word)
        assert inner is not None, words
        command = inner
    return command


def members(command: click.Command) -> list[click.Command]:
    """Return the commands of a group, or the command itself."""
    if isinstance(command, click.Group):
        return [find(words, command) for words in commands(command)]
    return [command]


def parameter_row(parameter: click.Parameter) -> tuple[str, str, str, str]:
    """Return the row of an argument or option, from what its ``--help`` says."""
    if isinstance(parameter, click.Argument):
        name = parameter.make_metavar(click.Context(sneframe_command))
        return code(name), "argument", NOTHING, cell(parameter.help or ARGUMENTS[name])
    assert isinstance(parameter, click.Option)
    help_text, _, stated = str(parameter.help or "").partition("[default: ")
    return (
        "<br>".join(code(name) for name in [*parameter.opts, *parameter.secondary_opts]),
        values(parameter),
        option_default(parameter, stated.rstrip("]")),
        cell(help_text.strip()),
    )


def option_default(option: click.Option, stated: str) -> str:
    """Return the default of an option: as it is typed, or in the words that its help text states."""
    default = str(option.get_help_extra(click.Context(sneframe_command)).get("default", stated))
    if option.required:
        return "required"
    if " " in default.replace(", ", ","):
        return default
    return code(default.replace(", ", ",")) if default else NOTHING


def values(option: click.Option) -> str:
    """Say in words which values an option takes."""
    metavar = option.make_metavar(click.Context(sneframe_command))
    if option.is_flag:
        return "flag"
    if isinstance(option.type, click.Choice):
        words = ", ".join(code(str(choice)) for choice in option.type.choices)
    elif isinstance(option.type, click.IntRange):
        words = f"whole number from {option.type.min}"
    elif metavar in LISTS:
        words = f"{LISTS[metavar]}, with commas"
    else:
        words = METAVARS.get(metavar, code(metavar))
    return f"{words}; repeatable" if option.multiple else words


# -- configuration and parts ---------------------------------------------------------------------------------


def shipped_parts() -> dict[str, Any]:
    """Return every part of the shipped plugins by its name."""
    return dict(plugins.load(SHIPPED).parts)


def part_rows(name: str) -> list[tuple[str, str, str, str]]:
    """Return the rows of a part's options."""
    return list(key_rows(shipped_parts()[name].Config))


def key_rows(cls: type[Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each key of a section, or each option of a part; sections and parts are left out."""
    kinds = typing.get_type_hints(cls)
    for attribute in attrs.fields(cls):
        if "help" in attribute.metadata:
            name, help_text = attribute.name, str(attribute.metadata["help"])
            yield code(name), kind_words(kinds[name]), default_words(attribute.default), cell(help_text)


def slot_rows(slot: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the options of each part for a slot; options that an earlier part has are not repeated."""
    earlier: dict[str, list[tuple[str, str, str, str]]] = {}
    for name, part in shipped_parts().items():
        if part.slot != slot:
            continue
        options = part_rows(name)
        same = next((other for other, rows in earlier.items() if rows and options[: len(rows)] == rows), None)
        if same is not None:
            own = options[len(earlier[same]) :]
            shown = [(f"as {code(same)}{', and' if own else ''}", "", "", ""), *own]
        else:
            shown = options or [(NOTHING, NOTHING, NOTHING, "no options")]
        for number, option in enumerate(shown):
            yield (code(name) if number == 0 else "", *option)
        earlier[name] = options


def kind_words(kind: Any) -> str:
    """Say in words which values a type has."""
    if isinstance(kind, types.UnionType):
        inner = next(each for each in typing.get_args(kind) if each is not type(None))
        return f"{kind_words(inner)} or {default_words(None)}"
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(default_words(each) for each in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"list of {kind_words(typing.get_args(kind)[0])}s"
    return WORDS[kind]


def default_words(value: Any) -> str:
    """Return a default as TOML writes it."""
    if value is None:
        value = schema.NONE
    if isinstance(value, tuple):
        return code(str(list(value)))
    return code(tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip())


# -- committed runs ------------------------------------------------------------------------------------------


def history_rows(folder: str, *epochs: str) -> Iterator[tuple[str, ...]]:
    """Yield validation scores and invariance errors after some epochs, from committed histories."""
    for path in sorted((DOCS / folder).glob("*.jsonl"), key=lambda path: float(path.stem.partition("-")[2])):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        by_epoch = {record["epoch"]: record["val"] for record in records}
        for number, epoch in enumerate(epochs):
            val = by_epoch[int(epoch)]
            weight = path.stem.partition("-")[2] if number == 0 else ""
            yield (
                weight,
                epoch,
                f"{val['mse']:.3f}",
                f"{val['tau']:.3f}",
                f"{val['e_g']:.4f}",
                f"{val['e_noise']:.2f}",
            )


# -- Markdown ------------------------------------------------------------------------------------------------


def markdown(heading: tuple[str, ...], body: Iterable[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [heading, ("---",) * len(heading), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Return text for a cell: a bar would end it, and two brackets in a row are a link."""
    return text.replace("|", "\\|").replace("][", "] [")


def code(text: str) -> str:
    """Return text as code; a bar would end the cell."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


if __name__ == "__main__":
    for path in sorted(DOCS.rglob("*.md")):
        page = path.read_text(encoding="utf-8")
        new = filled(page, len(path.relative_to(DOCS).parts) - 1)
        if new != page:
            path.write_text(new, encoding="utf-8")
            print(path)
