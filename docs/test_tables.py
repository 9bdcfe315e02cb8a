"""The pages say what commands, configuration, parts and hooks are now."""

import inspect
from pathlib import Path

import pytest
import tables

from sneframe import hookspecs

DOCS = Path(__file__).parent
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "<!-- table:" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_tables_of_a_page_are_up_to_date(path):
    page = path.read_text(encoding="utf-8")
    assert tables.filled(page) == page, "run: python docs/tables.py"


def test_every_command_has_its_table():
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    missing = [
        " ".join(words)
        for words in tables.commands()
        if f"<!-- table: command {' '.join(words)} -->" not in page
    ]
    assert set(missing) <= {"zoo build demo"}


def test_every_hook_is_a_heading_with_what_it_returns():
    page = (DOCS / "reference" / "hooks.md").read_text(encoding="utf-8")
    hooks = [(name, hook) for name, hook in vars(hookspecs).items() if name.startswith("sneframe_")]
    assert len(hooks) == 4
    for name, hook in hooks:
        signature = inspect.signature(hook)
        assert f"## `{name}{signature}`".replace("'", "") in page.replace("'", "")
