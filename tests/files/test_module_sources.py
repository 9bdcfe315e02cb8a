"""A user's function receives the row, the path, both or nothing; words with patterns choose the function."""

import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from sneframe.cli import sneframe_command
from sneframe.errors import ConfigError
from sneframe.files.module_factory import Factory, as_words
from sneframe.files.network_reader import NetworkReader
from sneframe.zoo import open_zoo

CODE = """
from __future__ import annotations
import functools
import pathlib
from pathlib import Path
from torch import nn

got = []

def net(*values):
    got.append(values)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

def nothing(): return net()
def row(row): return net(row)
def other(config): return net(config)
def path(path): return net(path)
def annotated(file: Path): return net(file)
def optional(file: pathlib.Path | None): return net(file)
def both(row, path): return net(row, path)
def turned(path, row): return net(row, path)
def placed(row, path, /): return net(row, path)
def keyed(*, path, row): return net(row, path)
def extra(width=8, *, bias=True): return net(width, bias)
def row_and_extra(row, width=8): return net(row, width)
def row_by_name(row=None, width=8): return net(row, width)
def path_by_name(path=None): return net(path)
def anything(*args, **kwargs): return net(args, kwargs)
part = functools.partial(lambda width, row: net(width, row), 8)

def two(first, second): return net()
def two_paths(path, other: Path): return net()
def three(row, path, more): return net()
def fails(path): raise ValueError("no\\nsuch")
def leaves(): raise SystemExit(3)

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.add_module("0", nn.Linear(4, width))
        self.add_module("2", nn.Linear(width, 3))
    def forward(self, x):
        first, second = self.children()
        return second(first(x).tanh())

class FromPath(Net):
    def __init__(self, path: Path):
        super().__init__()
        got.append((path,))
"""
STATE = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).state_dict()
FILE = Path("some/net.pt")


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Return the module of the functions above, which lies in the current folder."""
    (tmp_path / "taken.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "taken", raising=False)
    Factory("taken:nothing")
    return sys.modules["taken"]


ROW = {"act": "relu"}


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("nothing", ()),
        ("row", (ROW,)),
        ("other", (ROW,)),
        ("path", (FILE,)),
        ("annotated", (FILE,)),
        ("optional", (FILE,)),
        ("both", (ROW, FILE)),
        ("turned", (ROW, FILE)),
        ("placed", (ROW, FILE)),
        ("keyed", (ROW, FILE)),
        ("extra", (8, True)),
        ("row_and_extra", (ROW, 8)),
        ("row_by_name", (ROW, 8)),
        ("path_by_name", (FILE,)),
        ("anything", ((), {})),
        ("part", (8, ROW)),
        ("FromPath", (FILE,)),
    ],
)
def test_a_function_receives_what_it_names(code, name, received):
    """The names and annotations of the parameters decide what a function receives."""
    found = Factory(f"taken:{name}").architecture(STATE, ROW, FILE)
    assert code.got == [received]
    assert found.num_weights == 67


def test_a_class_without_required_arguments_is_a_function(code):
    """A class of modules whose parameters have defaults is called without arguments."""
    assert Factory("taken:Net").architecture(STATE, ROW, FILE).layers[0].activation == "tanh"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("two", "taken:two: needs 'first' and 'second', but a module factory takes no argument, the row"),
        ("two_paths", "taken:two_paths: needs 'path' and 'other'"),
        ("three", "taken:three: needs 'row' and 'more'"),
    ],
)
def test_other_arguments_are_refused_in_one_line(code, name, said):
    """A function that needs more than the row and the path is refused before any file is read."""
    with pytest.raises(ConfigError, match=said) as error:
        Factory(f"taken:{name}")
    assert "\n" not in str(error.value)


def test_an_optional_path_is_left_out_without_a_file(code):
    """A network that is not in a file leaves a path with a default alone, and a required path is an error."""
    Factory("taken:path_by_name").architecture(STATE, {})
    assert code.got == [(None,)]
    with pytest.raises(ConfigError, match="taken:path: takes the path of a file, but this network is not in"):
        Factory("taken:path").architecture(STATE, {})


@pytest.mark.parametrize(
    ("name", "said"), [("fails", "taken:fails: ValueError: no such$"), ("leaves", "taken:leaves: SystemExit")]
)
def test_a_function_that_fails_is_one_line(code, name, said):
    """An error or an exit in a function is one line that names the function."""
    with pytest.raises(ConfigError, match=said):
        Factory(f"taken:{name}").architecture(STATE, ROW, FILE)


# -- several module factories -----------------------------------------------------------------------------


def test_the_first_pattern_that_matches_is_used(code, tmp_path):
    """Patterns are compared with the path in the folder; a word without a pattern serves the rest."""
    factory = Factory(["a/*=taken:row", "*.pth=taken:path", "taken:nothing"], tmp_path)
    for name in ("a/b/1.pth", "b/1.pth", "b/a/1.pt"):
        factory.architecture(STATE, ROW, tmp_path / name)
    assert code.got == [(ROW,), (tmp_path / "b/1.pth",), ()]


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a/*", "a/b/c.pt", True),
        ("a/*", "b/a/c.pt", False),
        ("*/a/*", "b/a/c.pt", True),
        ("[ab]?.pt", "a1.pt", True),
        ("A*", "a1.pt", False),
        ("lr=0.1/*", "lr=0.1/net.pt", True),
        ("*", "x.pt", True),
    ],
)
def test_patterns_are_globs_on_the_path(code, tmp_path, pattern, name, matches):
    """A star matches slashes, case matters, and a pattern may hold an equals sign."""
    factory = Factory(f"{pattern}=taken:nothing", tmp_path)
    assert factory.serves(tmp_path / name) is matches
    assert not factory.serves(None)


def test_a_path_outside_of_the_folder_is_compared_whole(code, tmp_path):
    """Without a folder, or outside of it, a pattern is compared with the path as it is given."""
    assert Factory("a/*=taken:nothing").serves(Path("a/1.pt"))
    assert not Factory("a/*=taken:nothing").serves(Path("/b/a/1.pt"))
    assert Factory("*/a/*=taken:nothing", tmp_path).serves(Path("/b/a/1.pt"))


def test_words_may_be_a_string_a_sequence_or_a_mapping():
    """In Python, module factories are one word, several words, or words by pattern."""
    assert as_words(None) == ()
    assert as_words("m:f") == ("m:f",)
    assert as_words(["a*=m:f", "m:g"]) == ("a*=m:f", "m:g")
    assert as_words({"a*": "m:f", "": "m:g"}) == ("a*=m:f", "m:g")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("=m:f", "=m:f: the pattern is empty"),
        ("a*=m", "must be given as package.module:function, but got 'm'"),
        ("a*=", "must be given as package.module:function, but got ''"),
        ((), "must be given as package.module:function, but got none"),
        ([nn.Linear], "must be given as package.module:function, but got "),
        (b"m:f", "must be given as package.module:function, but got b'm:f'"),
        ({"a": nn.Linear}, "must be given as package.module:function"),
        (3, "must be given as package.module:function, but got 3"),
        (["taken:nothing", "a*=taken:gone"], "taken:gone: AttributeError"),
    ],
)
def test_wrong_words_are_one_line(code, words, said):
    """A word of the wrong form is refused before any file is read, also if another word is right."""
    with pytest.raises(ConfigError, match=said) as error:
        Factory(words)
    assert "\n" not in str(error.value)


def test_a_file_without_a_pattern_is_described_without_code(code):
    """A network that no word serves is described from names and shapes."""
    reader = NetworkReader(module=Factory({"a/*": "taken:Net"}), trust_names=True)
    assert reader.describe(STATE, path=Path("a/1.pt")).symmetry == "verified"
    assert reader.describe(STATE, path=Path("b/1.pt")).symmetry == "guessed"
    assert reader.describe(STATE).symmetry == "guessed"
    assert code.got == []
    with pytest.raises(ConfigError, match=r"b/1\.pt: no pattern of --module matches"):
        reader.module.architecture(STATE, {}, Path("b/1.pt"))


def test_the_import_command_takes_several_words(code, tmp_path):
    """--module may be repeated, and the summary counts the networks that no pattern matches."""
    source = tmp_path / "nets"
    for name in ("a/1.pt", "b/1.pt", "c/1.pt", "c/2.pt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(STATE, source / name)
    words = ["--module", "a/*=taken:path", "--module", "b/*=taken:Net", "--trust-names"]
    command = ["zoo", "import", "files", str(source), *words, "--out", str(tmp_path / "z.zarr")]
    told = CliRunner(env={"COLUMNS": "200"}).invoke(sneframe_command, command)
    assert told.exit_code == 0, told.output
    assert "verified for 2 of 4 networks" in told.output
    assert "c/1.pt: described without code, because no --module matches its path" in told.output
    assert code.got == [(source / "a/1.pt",)]
    acts = [architecture.layers[0].activation for architecture in open_zoo(tmp_path / "z.zarr").architectures]
    assert sorted(acts) == ["other", "relu", "tanh"]
