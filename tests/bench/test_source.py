"""The hash of the code that makes a cell: which changes count, and which do not."""

import importlib
import sys
from importlib.metadata import EntryPoint

import pytest

import sneframe
from sneframe.bench import source
from sneframe.bench.source import Made, changes, sources
from sneframe.plugins import Installed

CODE = '''"""A plugin."""


def pool(codes):
    """Take the mean."""
    return codes.mean(1)  # over layers
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package with one module and one data file, as a plugin."""
    package = tmp_path / "spectra_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text(CODE)
    (package / "table.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return package


def hashed(name):
    importlib.invalidate_caches()
    entry = EntryPoint("spectra", name, "sneframe")
    return source._own(
        Installed(name="spectra", distribution="d", version="1", module=name, entry_point=entry)
    )


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("__init__.py", "mean", "amax"),
        ("__init__.py", "(1)", "(2)"),
        ("table.json", "{}", "[]"),
        ("more.py", "", "x = 1"),
    ],
)
def test_what_can_change_a_number_changes_the_hash(plugin, file, old, new):
    """Changes of code and data, and new files, change the hash."""
    before = hashed("spectra_of_mine")
    path = plugin / file
    path.write_text(path.read_text().replace(old, new) if path.exists() else new)
    assert hashed("spectra_of_mine") != before


@pytest.mark.parametrize(
    ("old", "new"),
    [("A plugin.", "My plugin."), ("Take the mean.", "Average."), ("# over layers", ""), ("\n\n\n", "\n")],
)
def test_prose_and_layout_leave_the_hash(plugin, old, new):
    """Changes of docstrings, comments and blank lines leave the hash as it was."""
    before = hashed("spectra_of_mine")
    path = plugin / "__init__.py"
    path.write_text(path.read_text().replace(old, new))
    assert hashed("spectra_of_mine") == before


def test_a_plugin_is_hashed_without_being_imported(plugin):
    """A plugin is hashed without an import, and without Python's caches."""
    before = hashed("spectra_of_mine:plugin")
    (plugin / "__pycache__").mkdir()
    (plugin / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert hashed("spectra_of_mine") == before
    assert "spectra_of_mine" not in sys.modules


def test_odd_plugins_have_hashes(tmp_path, plugin):
    """A plugin of one file and one that does not parse have hashes that are not empty."""
    (tmp_path / "lone_of_mine.py").write_text("x = (")
    before = hashed("lone_of_mine")
    (tmp_path / "lone_of_mine.py").write_text("x = ((")
    assert before != hashed("lone_of_mine") != ""


def test_a_module_that_is_not_there_has_no_hash():
    """A plugin whose files are gone has an empty hash, which does not end a comparison."""
    assert hashed("nowhere_of_mine") == ""


def test_a_cell_names_the_plugins_of_its_parts():
    """A cell names sneframe and the plugins of its own parts only."""
    found = sources(sneframe.recipe("stats"))
    assert (
        {"sneframe", "plugin stats", "plugin head", "plugin normalise"}
        >= found.keys()
        >= {"sneframe", "plugin stats"}
    )
    assert all(len(made.source) == 16 for made in found.values())
    assert len({made.source for made in found.values()}) == len(found)


def test_changes_are_in_words():
    """Changes of version, source, distribution and set of plugins are described in words."""
    old = {
        "sneframe": Made("sneframe", "0.1", "a"),
        "plugin x": Made("mine", "1", "b"),
        "plugin y": Made("y", "1", "c"),
    }
    new = {
        "sneframe": Made("sneframe", "0.2", "a"),
        "plugin x": Made("mine", "1", "z"),
        "plugin w": Made("w", "1", "d"),
    }
    assert changes(old, new) == [
        "plugin w new",
        "plugin x 1, its source",
        "plugin y gone",
        "sneframe 0.1 → 0.2",
    ]
    assert changes({"plugin x": Made("a", "1", "b")}, {"plugin x": Made("c", "2", "b")}) == [
        "plugin x a 1 → c 2"
    ]
    assert changes(old, old) == []
