"""Executes the examples of these pages.

Each page has a namespace and an empty folder of its own, and its blocks run from top to bottom:

- A block with a title, such as ``toml title="run.toml"``, becomes the file of that name.
- A ``python`` block is executed.
- In a ``bash`` block, the commands in :data:`COMMANDS` are executed and must succeed.
- In a ``console`` block, the commands after ``$`` are executed and must print the lines that follow them.
  ``...`` matches anything, and a backslash at the end continues a command.
- Other blocks, such as ``text``, are not executed.

The options in :data:`SMALL` are added to the ``sneframe`` commands of ``bash`` blocks, and the demo zoo is a
tiny one, so that each command takes about a second. ``<!-- skip: next "reason" -->`` before a block skips it.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import shutil
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

#: Options that make commands small. They are appended, and the last of two equal options counts.
SMALL = {
    "zoo build sine": ["--networks", "24", "--steps", "10"],
    "run": ["--set", "train.epochs=1", "--no-report"],
    "compare": ["--set", "train.epochs=1", "--seeds", "1"],
}
#: Warnings that pages may cause. Any other warning is an error.
EXPECTED = ".*their values are missing|.*they are groups of their own"
TITLED = re.compile(r'(?P<language>\w+) title="(?P<title>[^"]+)"$\n', re.MULTILINE)


# -- the commands of bash and console blocks -----------------------------------------------------------------


def sneframe(words: list[str]) -> tuple[int, str]:
    """Run a ``sneframe`` command."""
    from sneframe.cli import main

    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("default", EXPECTED)
        try:
            main(words)
        except SystemExit as exit_:
            return int(exit_.code or 0), said.getvalue()
    raise AssertionError("the command line always exits")


def pip(words: list[str]) -> tuple[int, str]:
    """Install a plugin as ``pip install -e FOLDER`` would; other packages are installed already."""
    if words[:2] != ["install", "-e"] or words[2] == ".":
        return 0, ""
    folder = Path(words[2]).absolute()
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    facts = {"Metadata-Version": "2.1", "Name": project["name"], "Version": project["version"]}
    (info / "METADATA").write_text("".join(f"{key}: {value}\n" for key, value in facts.items()))
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups]
    (info / "entry_points.txt").write_text("".join(lines))
    sys.path.insert(0, str(folder))
    return 0, ""


def run_pytest(words: list[str]) -> tuple[int, str]:
    """Run the tests of a plugin."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(["-q", "-p", "no:cacheprovider", *words])
    return int(code), said.getvalue()


COMMANDS: dict[str, Callable[[list[str]], tuple[int, str]]] = {
    "sneframe": sneframe,
    "pip": pip,
    "pytest": run_pytest,
}


def evaluate_bash(example: Example) -> str | None:
    """Run the lines that start with a known command, and return the output of the first that fails.

    ``> FILE`` at the end of a line writes the output to a file. A backslash at the end continues a line.
    """
    for line in example.parsed.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] not in COMMANDS:
            continue
        file = Path(words[-1]) if words[-2:-1] == [">"] else None
        name, *words = words[:-2] if file else words
        code, said = COMMANDS[name]([*words, *small(words)] if name == "sneframe" else words)
        if code:
            return f"{line}\nexit code {code}\n{said}"
        if file:
            file.write_text(said)
    return None


def small(words: list[str]) -> list[str]:
    """Return the options that make a ``sneframe`` command small; a resumed run takes no further options."""
    line = " ".join(words)
    return [
        word
        for start, more in SMALL.items()
        for word in more
        if line.startswith(start) and "--resume" not in words
    ]


def evaluate_console(example: Example) -> str | None:
    """Run the commands after ``$``, and return the first whose output differs from the page."""
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for block in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        line, _, expected = block.replace("\\\n", " ").partition("\n")
        name, *words = shlex.split(line)
        _, said = COMMANDS[name](words)
        if not checker.check_output(expected, said, flags):
            return f"$ {line}\nexpected:\n{expected}\nprinted:\n{said}"
    return None


# -- blocks that are files -----------------------------------------------------------------------------------


def parse_files(document: Document) -> Iterator[Region]:
    """Yield the blocks with a title."""
    for region in RawFencedCodeBlockLexer(info_pattern=TITLED)(document):
        region.evaluator = write_file
        yield region


def write_file(example: Example) -> None:
    """Write a block into the file that its title names."""
    path = Path(example.region.lexemes["title"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(example.region.lexemes["source"])


# -- pages ---------------------------------------------------------------------------------------------------


def enter(namespace: dict[str, Any]) -> None:
    """Enter an empty folder, and make the demo zoo a tiny one."""
    from sneframe.train import data

    folder = Path(tempfile.mkdtemp()).resolve()
    patch = namespace["_patch"] = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setattr(sys, "path", [str(folder), *sys.path])  # as Python does with the folder it is started in
    patch.setenv("COLUMNS", "110")
    patch.setattr(data, "demo_zoo", lambda reporter: tiny_zoo(folder / ".demo.zarr"))


def leave(namespace: dict[str, Any]) -> None:
    """Leave the folder, and remove it together with the modules that were imported from it."""
    folder = Path.cwd()
    namespace["_patch"].undo()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
    shutil.rmtree(folder)


def tiny_zoo(path: Path) -> Path:
    """Return a sine zoo of 24 networks, which is built at the first call."""
    from sneframe_zoos.sine import Sine, build

    from sneframe.engine import SerialEngine

    if not path.exists():
        build(Sine(networks=24, widths=(4, 4), steps=10), path, lambda done, total: None, SerialEngine())
    return path


PAGES = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("bash", evaluate_bash),
        CodeBlockParser("console", evaluate_console),
        parse_files,
        SkipParser(),
    ],
    pattern="*.md",
    setup=enter,
    teardown=leave,
)
pytest_collect_file = PAGES.pytest()


@pytest.fixture
def pages() -> Sybil:
    """Return the parser of pages, for pages outside this folder."""
    return PAGES
