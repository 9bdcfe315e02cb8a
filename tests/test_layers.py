"""Imports run down only; the core never imports a plugin; plugins import only sneframe."""

import ast
import importlib
import re
from functools import lru_cache
from pathlib import Path

import pytest

import sneframe

CORE = Path(sneframe.__file__).parent
PLUGINS = (
    "sneframe_sne",
    "sneframe_stats",
    "sneframe_dwsnet",
    "sneframe_neural_graph",
    "sneframe_scale_gmn",
    "sneframe_nfn",
    "sneframe_zoos",
    "sneframe_importers",
    "sneframe_formats",
    "sneframe_normalise",
    "sneframe_head",
    "sneframe_tokenizer",
    "sneframe_mlp",
    "sneframe_deepsets",
    "sneframe_probe",
    "sneframe_hyperrep",
    "sneframe_sane",
    "sneframe_invariance",
    "sneframe_augmentation",
    "sneframe_suites",
)

# A row may import the rows below it, and its own where that makes no circle.
ROWS = (
    ("__main__", "cli"),
    ("adaptation", "bench", "inspection", "testing"),
    ("train",),
    ("predict", "report"),
    ("run_folder",),
    ("compose", "model", "declared"),
    ("files", "nn", "plugins", "tasks"),
    ("parts", "symmetry"),
    ("zoo",),
    ("batch",),
    (
        *("architecture", "config", "engine", "metrics", "rng"),
        *("atomic", "correction", "devices", "freed_memory", "progress", "hookspecs", "errors", "_version"),
    ),
)
RANK = {name: len(ROWS) - row for row, names in enumerate(ROWS) for name in names}


def imports(path):
    """Names of modules imported when the file runs: not those for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def core_files():
    return sorted(CORE.rglob("*.py"))


def owner(path):
    """The module or package of the core that a file belongs to."""
    first = path.relative_to(CORE).parts[0]
    return first.removesuffix(".py")


@lru_cache
def above():
    """For each module or package of the core those that it imports, and a place where it does."""
    found = {name: {} for name in RANK}
    for path in core_files():
        for name in imports(path) if owner(path) != "__init__" else ():
            parts = name.split(".")
            assert parts[0] not in PLUGINS, f"the core imports the plugin {parts[0]}"
            if parts[0] == "sneframe" and len(parts) > 1 and parts[1] in RANK and parts[1] != owner(path):
                found[owner(path)][parts[1]] = str(path.relative_to(CORE))
    return found


def test_every_module_of_the_core_has_its_row():
    """A new file or folder needs a place in the order."""
    assert {owner(path) for path in core_files()} - {"__init__"} == set(RANK)


@pytest.mark.parametrize("name", RANK)
def test_imports_run_down(name):
    """Nothing imports what stands above it."""
    for other, place in above()[name].items():
        assert RANK[other] <= RANK[name], f"{place} imports {other}, which stands above {name}"


def test_imports_make_no_circle():
    """What a module imports never leads back to it, also within a row."""
    edges = above()

    left = {name: set(others) for name, others in edges.items()}
    while left:
        free = sorted(name for name, others in left.items() if not others & left.keys())
        assert free, f"a circle among {', '.join(sorted(left))}"
        for name in free:
            del left[name]


def test_a_file_name_occurs_once():
    """A name says which file is meant; a command's file is named after the command."""
    names = [path.name for path in core_files() if "cli" not in path.parts and path.name != "__init__.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_no_other_plugin(plugin):
    """Plugins use parts of other plugins by name only."""
    folder = Path(importlib.import_module(plugin).__file__).parent
    for path in folder.rglob("*.py"):
        others = {name.split(".")[0] for name in imports(path)} & set(PLUGINS) - {plugin}
        assert not others, f"{path.name} imports {others}"


def test_core_and_plugins_come_from_one_installation():
    """The tests do not mix a checkout with an installed package."""
    # An editable checkout keeps its plugins in a folder of their own, a wheel puts all side by side.
    homes = {Path(importlib.import_module(plugin).__file__).parent.parent for plugin in PLUGINS}
    assert homes in ({CORE.parent}, {CORE.parent / "plugins"})


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CORE)))
def test_a_core_file_is_short(path):
    """A file of the core has at most 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_names_no_method(path):
    """No text of the core, such as an error that suggests something, quotes the name of a method's plugin."""
    assert re.findall(r"'(?:sne|stats|dwsnet|nfn|mlp)[/']", path.read_text(encoding="utf-8")) == []
