"""Imports run down only; the core never imports a plugin; plugins import only sneframe."""

import ast
import importlib
from pathlib import Path

import pytest

import sneframe

CORE = Path(sneframe.__file__).parent
PLUGINS = (
    "sneframe_sne",
    "sneframe_stats",
    "sneframe_dwsnet",
    "sneframe_nfn",
    "sneframe_zoos",
    "sneframe_importers",
    "sneframe_normalise",
    "sneframe_head",
    "sneframe_tokenizer",
    "sneframe_mlp",
    "sneframe_deepsets",
    "sneframe_invariance",
    "sneframe_augmentation",
    "sneframe_suites",
)

# A row may import the rows below it; what stands in one row never imports its neighbours.
ROWS = (
    ("__main__",),
    ("cli",),
    ("testing",),
    ("bench",),
    ("run", "predictor"),
    ("fit",),
    ("evaluate", "environment", "prediction"),
    ("data", "checkpoint", "objective", "recipe", "stream", "tested", "question"),
    ("model", "report", "folder", "plan", "devices", "tasks", "reference", "doubt"),
    ("reader", "declared", "outline"),
    ("factory", "plugins", "progress", "state", "metrics", "convert"),
    ("describe",),
    (
        "normalise",
        "tokenizer",
        "layer_encoder",
        "aggregator",
        "head",
        "invariance",
        "augmentation",
        "symmetry",
        "member",
    ),
    ("part", "config", "suite"),
    ("zoo",),
    ("batch", "encoding", "perceptron", "statistics", "embedded"),
    (
        *("architecture", "identity", "engine", "hookspecs", "checks", "clock", "toml", "draw", "files"),
        "atomic",
    ),
    ("errors",),
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


def test_every_module_of_the_core_has_its_row():
    assert {owner(path) for path in core_files()} - {"__init__"} == set(RANK)


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CORE)))
def test_imports_run_down(path):
    if owner(path) == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in PLUGINS, f"the core imports the plugin {parts[0]}"
        if parts[0] == "sneframe" and len(parts) > 1 and parts[1] in RANK and parts[1] != owner(path):
            assert RANK[parts[1]] < RANK[owner(path)], (
                f"{owner(path)} imports {parts[1]}, which is not below it"
            )


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_no_other_plugin(plugin):
    folder = Path(importlib.import_module(plugin).__file__).parent
    for path in folder.rglob("*.py"):
        others = {name.split(".")[0] for name in imports(path)} & set(PLUGINS) - {plugin}
        assert not others, f"{path.name} imports {others}"


def test_core_and_plugins_come_from_one_installation():
    # An editable checkout keeps its plugins in a folder of their own, a wheel puts all side by side.
    homes = {Path(importlib.import_module(plugin).__file__).parent.parent for plugin in PLUGINS}
    assert homes in ({CORE.parent}, {CORE.parent / "plugins"})


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CORE)))
def test_a_core_file_is_one_idea(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
