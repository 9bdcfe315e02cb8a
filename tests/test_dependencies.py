"""What is imported is declared, at the versions that pip is told of."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

import sneframe

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HOMES = [Path(sneframe.__file__).parent, *(ROOT / "plugins").glob("sneframe_*")]


@cache
def offering():
    """Which distributions offer each top-level module here."""
    return metadata.packages_distributions()


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def imported():
    """The top-level modules of other distributions that core and plugins import, wherever in a file."""
    found = set()
    for path in (path for home in HOMES for path in home.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return {name for name in found if not name.startswith("sneframe")} - set(sys.stdlib_module_names)


def declared(extras=()):
    lines = [
        *PROJECT["dependencies"],
        *(line for e in extras for line in PROJECT["optional-dependencies"][e]),
    ]
    return {canonical(re.match(r"[\w.-]+", line)[0]): line for line in lines}


#: What a user installs with an extra, and is told of where it is missing.
OPTIONAL = {"PIL": ("images", "pillow"), "ray": ("ray", "ray"), "pyarrow": ("parquet", "pyarrow")}
OPTIONAL |= {"gguf": ("gguf", "gguf"), "tflite": ("tflite", "tflite"), "h5py": ("keras", "h5py")}
OPTIONAL |= {"onnx": ("onnx", "onnx"), "yaml": ("yaml", "pyyaml")}


@pytest.mark.parametrize(
    "module", sorted(imported() - {"pytest", *OPTIONAL})
)  # sneframe.testing is for those who have it
def test_imported_packages_are_declared(module):
    """Every imported package is a dependency of the project."""
    assert {canonical(name) for name in offering()[module]} & set(declared())


@pytest.mark.parametrize("module", OPTIONAL)
def test_optional_packages_are_extras(module):
    """Every package that is imported only if it is there belongs to an extra."""
    extra, distribution = OPTIONAL[module]
    assert module in imported()
    assert distribution in declared([extra])


def test_declared_packages_are_pinned():
    """Every dependency has a version in constraints.txt."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonical(line.partition("==")[0]) for line in pins if "==" in line}
    assert set(declared()) <= pinned
