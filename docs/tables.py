"""Writes the tables of options into the pages, between ``<!-- table: … -->`` and ``<!-- end -->``.

Run as ``python docs/tables.py`` after a change of commands, configuration or parts; a test fails where a page does
not say what this would write.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import tomli_w
from by_group import METHODS, by_group

from sneframe import plugins
from sneframe.cli import sneframe_command
from sneframe.config import schema

SHIPPED = (
    *("normalise", "sne", "stats", "dwsnet", "nfn", "deepsets", "mlp"),
    *("tokenizer", "head", "invariance", "augmentation"),
)
DOCS = Path(__file__).parent
HISTORY = ("λ", "epoch", "validation MSE", "τ-b", "e_g", "e_noise")
SECTIONS = {"run": schema.RunConfig, "zoo": schema.ZooConfig, "train": schema.TrainConfig}
MARKED = re.compile(r"(<!-- table: (?P<words>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "string", schema.Choice: "table"}


def filled(page: str) -> str:
    """Return a page with all its tables as they have to be."""
    return MARKED.sub(lambda mark: f"{mark[1]}\n{table(*mark['words'].split())}\n\n{mark[3]}", page)


def table(kind: str, *words: str) -> str:
    """Return a table: command NAME…, keys SECTION, slot NAME, part NAME, symmetry, or history FOLDER EPOCH…."""
    if kind == "symmetry":
        return rows(("network", "group", "action", *(code(method[0]) for method in METHODS)), by_group())
    if kind == "history":
        return rows(HISTORY, history_rows(*words))
    if kind == "command":
        return rows(("", ""), command_rows(*words))
    if kind == "keys":
        return rows(("key", "value", "default", ""), key_rows(SECTIONS[words[0]]))
    if kind == "slot":
        return rows(("part", "option", "value", "default", ""), slot_rows(words[0]))
    if kind == "part":
        return rows(("option", "value", "default", ""), key_rows(shipped_parts()[words[0]].Config))
    raise ValueError(kind)


def commands(group: click.Group = sneframe_command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def shipped_parts() -> dict[str, Any]:
    """Return every part of the shipped plugins by its name."""
    return dict(plugins.load(SHIPPED).parts)


def command_rows(*words: str) -> Iterator[tuple[str, str]]:
    """Yield what each argument and option of a command is for, as its ``--help`` says it."""
    command: click.Command = sneframe_command
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, words
        command = found
    for parameter in command.params:
        record = parameter.get_help_record(click.Context(command))
        if record is not None:
            # Markdown reads two brackets beside each other as a link.
            yield code(record[0]), record[1].replace("; [", "; ").replace("]  [", "; ").replace("  [", " [")


def key_rows(cls: type[Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the keys of a section or of a part's options; sections and parts have tables of their own."""
    kinds = typing.get_type_hints(cls)
    for attribute in attrs.fields(cls):
        if "help" in attribute.metadata:
            name, help_text = attribute.name, str(attribute.metadata["help"]).replace("|", "\\|")
            yield code(name), kind_words(kinds[name]), default_words(attribute.default), help_text


def slot_rows(slot: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the options of every part that can fill a slot."""
    for name, part in shipped_parts().items():
        if part.slot == slot:
            options = list(key_rows(part.Config)) or [("–", "", "", "")]
            for number, option in enumerate(options):
                yield (code(name) if number == 0 else "", *option)


def history_rows(folder: str, *epochs: str) -> Iterator[tuple[str, ...]]:
    """Yield validation scores and invariance error of runs after some epochs, from their committed histories."""
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


def rows(heading: tuple[str, ...], body: Iterator[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [heading, ("---",) * len(heading), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """Return text as code; a bar would end the cell."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def kind_words(kind: Any) -> str:
    """Say in words what a value must be."""
    if isinstance(kind, types.UnionType):
        inner = next(each for each in typing.get_args(kind) if each is not type(None))
        return f"{kind_words(inner)} or {default_words(None)}"
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(code(each) for each in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"list of {kind_words(typing.get_args(kind)[0])}s"
    return WORDS[kind]


def default_words(value: Any) -> str:
    """Say a default as TOML writes it."""
    if value is None:
        value = schema.NONE
    if isinstance(value, tuple):
        return code(str(list(value)))
    return code(tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip())


if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.rglob("*.md")):
        page = path.read_text(encoding="utf-8")
        if filled(page) != page:
            path.write_text(filled(page), encoding="utf-8")
            print(path)
