"""The pages agree with the commands, configuration, parts and hooks."""

import inspect
from pathlib import Path

import pytest
import tables

from sneframe import hookspecs

DOCS = Path(__file__).parent
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "<!-- table:" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_tables_are_up_to_date(path):
    """A page holds the tables that docs/tables.py would write."""
    page = path.read_text(encoding="utf-8")
    assert tables.filled(page) == page, "run: python docs/tables.py"


def test_every_command_has_a_table():
    """The page on the command line has a table for each command with options of its own."""
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    missing = [
        words for words in map(" ".join, tables.commands()) if f"<!-- table: command {words} " not in page
    ]
    assert missing == ["zoo build demo"]


def test_beyond_leaves_known_options_out():
    """`beyond` leaves out the options that the other part or command has, and no others."""
    logit, contrastive = (tables.part_rows(f"invariance/{name}") for name in ("logit", "contrastive"))
    own = list(tables.without(contrastive, logit))
    assert [row[0] for row in own] == ["`temperature`", "`projection`"]
    shared = [row[0] for row in tables.command_rows("zoo build")]
    assert shared == ["`--out`", "`--engine`", "`--workers`", "`--address`"]


def test_default_of_an_option():
    """The default is what a user types; a default that only words describe is no code."""
    rows = {row[0]: row for row in tables.command_rows("zoo build sine")}
    assert rows["`--widths`"][1:3] == ("whole numbers, with commas", "`32,32`")
    assert rows["`--workers`"][1:3] == ("whole number from 1", "one per core")
    assert rows["`--out`"][2] == "required"


def test_every_hook_has_a_heading():
    """The page on hooks has a heading for each hook, with its signature."""
    page = (DOCS / "reference" / "hooks.md").read_text(encoding="utf-8")
    hooks = [(name, hook) for name, hook in vars(hookspecs).items() if name.startswith("sneframe_")]
    assert hooks
    for name, hook in hooks:
        signature = inspect.signature(hook)
        assert f"## `{name}{signature}`".replace("'", "") in page.replace("'", "")
