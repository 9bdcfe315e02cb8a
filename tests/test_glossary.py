"""The glossary and the code agree, and a class name has one meaning."""

import ast
import importlib
import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import attrs
import click
import pytest

from sneframe.cli import sneframe_command
from sneframe.config.schema import SLOTS, RunConfig

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"

#: Pages that the list of avoided words is held against.
PAGES = (
    *("README.md", "CHANGELOG.md", "docs/index.md", "docs/concept.md", "docs/flow.md", "docs/benchmarks.md"),
    "docs/explanation/design.md",
)

pytestmark = pytest.mark.skipif(not GLOSSARY.is_file(), reason="the pages are not in a wheel")


def rows():
    """Return the cells of each term: term, meaning, in Python, key or option."""
    lines = GLOSSARY.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in cells if len(row) == 4 and row[0] != "Term"]


def quoted(text):
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


PATHS = sorted({path for row in rows() for path in quoted(row[2])}) if GLOSSARY.is_file() else []
KEYS = sorted(
    {key for row in rows() for key in quoted(row[3]) if not key.startswith(("--", "sneframe "))}
    if GLOSSARY.is_file()
    else ()
)
OPTIONS = sorted(
    {pair for row in rows() for pair in re.findall(r"`(--[\w-]+)` of `sneframe ([\w ]+)`", row[3])}
    if GLOSSARY.is_file()
    else ()
)


@lru_cache
def classes():
    """Return for each class name of the core and of the plugins the files that define it."""
    found = defaultdict(list)
    for path in [*ROOT.glob("sneframe/**/*.py"), *ROOT.glob("plugins/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name != "Config":
                found[node.name].append(str(path.relative_to(ROOT)))
    return found


def test_a_term_stands_once():
    """A word is explained in one row."""
    terms = [row[0] for row in rows()]
    assert len(terms) > 50
    assert sorted(terms) == sorted(set(terms))


def test_each_row_has_a_meaning():
    """A row without a sentence explains nothing."""
    assert [row[0] for row in rows() if not row[1].endswith(".")] == []


@pytest.mark.parametrize("path", PATHS)
def test_a_path_exists(path):
    """A class, function or module that the page names is at the path that it gives."""
    try:
        importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("path", [path for path in PATHS if path.rpartition(".")[2][:1].isupper()])
def test_a_class_of_the_glossary_has_no_namesake(path):
    """The name of a class that the page names is given once in the core and the plugins."""
    name = path.rpartition(".")[2]
    assert len(classes().get(name, ())) <= 1, classes()[name]


def test_a_class_name_is_given_once():
    """Two classes of one name are two meanings of one word; those that are known are listed."""
    twice = {name: files for name, files in classes().items() if len(files) > 1}
    assert twice == {}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_exists(key):
    """A key that the page names is one of the configuration, or of a part that fills a slot."""
    first, _, rest = key.partition(".")
    field = attrs.fields_dict(attrs.resolve_types(RunConfig))[first]
    if rest and first in SLOTS:
        from sneframe.plugins import load

        parts = load(["invariance"]).parts.values()
        assert any(rest in attrs.fields_dict(part.Config) for part in parts if part.slot == first)
    elif rest:
        assert rest in attrs.fields_dict(field.type)


@pytest.mark.parametrize(("option", "command"), OPTIONS, ids=lambda value: value)
def test_an_option_exists(option, command):
    """An option that the page names is one of its command."""
    found = sneframe_command
    context = click.Context(sneframe_command)
    for word in command.split():
        found = found.get_command(context, word)
    assert option in {name for parameter in found.params for name in parameter.opts}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_avoids_the_word_sitting(page):
    """The word is session."""
    path = ROOT / page
    assert not path.is_file() or not re.search(r"\bsittings?\b", path.read_text(encoding="utf-8"))
