"""The paths at which a zoo or an export may be written, and the names of its files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sneframe.architecture import Architecture
from sneframe.cli import main
from sneframe.errors import MachineError, ZooError
from sneframe.zoo import create, export, open_zoo

Weights = Callable[..., dict[str, np.ndarray]]


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code, capsys.readouterr().err


@pytest.fixture
def another(tmp_path: Path, architecture: Architecture, weights: Weights) -> Path:
    with create(tmp_path / "another.zarr", name="another") as zoo:
        zoo.append(architecture, weights(architecture, 1, seed=7), {}, group="z")
    return tmp_path / "another.zarr"


# -- paths in a zoo -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["x", "networks/x", "new/x"])
def test_nothing_is_made_in_a_zoo(
    small: Path, architecture: Architecture, weights: Weights, below: str
) -> None:
    """A zoo cannot be written inside another zoo."""
    with (
        pytest.raises(
            ZooError, match=rf"{below}: lies in the zoo .*small\.zarr; choose a path outside of it"
        ),
        create(small / below, name="inner") as zoo,
    ):
        zoo.append(architecture, weights(architecture, 1), {})
    open_zoo(small, unhealthy=True).verify()


def test_a_link_into_a_zoo_is_followed(small: Path, tmp_path: Path) -> None:
    """A target below a symbolic link into a zoo is refused."""
    (tmp_path / "link").symlink_to(small / "networks")
    with pytest.raises(ZooError, match="lies in the zoo"):
        export(open_zoo(small), tmp_path / "link" / "out")


def test_a_folder_next_to_a_zoo_may_have_any_name(small: Path, tmp_path: Path) -> None:
    """A folder called networks next to a zoo does not make its parent a zoo."""
    (tmp_path / "networks").mkdir()
    export(open_zoo(small), tmp_path / "out")
    assert (tmp_path / "out" / "zoo.json").exists()


def test_commands_refuse_a_path_in_a_zoo(
    capsys: pytest.CaptureFixture[str], small: Path, another: Path
) -> None:
    """export, merge and build exit with code 2 and one line."""
    for words in (
        ["zoo", "export", small, small / "x"],
        ["zoo", "merge", small, another, "--out", small / "x"],
        ["zoo", "build", "sine", "--networks", "2", "--out", small / "x"],
    ):
        code, said = call(capsys, *words)
        assert (code, said.count("\n")) == (2, 1)
        assert "lies in the zoo" in said
    open_zoo(small, unhealthy=True).verify()


# -- impossible paths ---------------------------------------------------------------------------------------


def test_a_too_long_folder_name_is_one_line(
    capsys: pytest.CaptureFixture[str], small: Path, another: Path, tmp_path: Path
) -> None:
    """A folder name that is too long exits with code 1 and one line."""
    for words in (
        ["zoo", "export", small, tmp_path / ("x" * 300)],
        ["zoo", "merge", small, another, "--out", tmp_path / ("x" * 300)],
        ["zoo", "build", "sine", "--networks", "2", "--out", tmp_path / ("x" * 300)],
        ["zoo", "info", tmp_path / ("x" * 300)],
    ):
        code, said = call(capsys, *words)
        assert (code, said.count("\n")) == (1, 1)
        assert "File name too long" in said
        assert "unexpected" not in said


def test_a_zoo_that_cannot_be_read_is_not_overwritten(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable zoo is kept, and MachineError is raised."""

    def closed(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", closed)
    with pytest.raises(MachineError, match=r"small\.zarr: Permission denied"):
        create(small, name="new", overwrite=True)


def test_an_unreadable_parent_is_one_line(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreadable parent folder raises MachineError with the path."""

    def closed(self: Path) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(MachineError, match="out: Permission denied"):
        export(open_zoo(small), tmp_path / "out")


# -- a full disk --------------------------------------------------------------------------------------------

FULL = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from sneframe.cli import main
main(sys.argv[1:])
"""


def test_a_full_disk_during_export_leaves_nothing(small: Path, tmp_path: Path) -> None:
    """An export to a full disk prints one line and leaves nothing."""
    words = ["zoo", "export", str(small), str(tmp_path / "out")]
    before = sorted(tmp_path.iterdir())
    done = subprocess.run([sys.executable, "-c", FULL, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path / 'out'}: File too large\n")
    assert sorted(tmp_path.iterdir()) == before


# -- names that are too long for a file ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("x" * 250, 250), ("λ" * 42, 252)])
def test_a_too_long_property_name_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights, name: str, size: int
) -> None:
    """The append with the name raises; the zoo can still be completed."""
    with create(tmp_path / "z.zarr", name="z") as zoo:
        zoo.append(architecture, weights(architecture, 1), {})
        with pytest.raises(ZooError) as caught:
            zoo.append(architecture, weights(architecture, 1), {name: [1]})
    assert f"property {name!r}: " in str(caught.value)
    assert f"at most 249 bytes, but got {size}" in str(caught.value)
    assert len(open_zoo(tmp_path / "z.zarr")) == 1


def test_a_too_long_parameter_name_is_refused(
    tmp_path: Path, make: Callable[..., Architecture], weights: Weights, architecture: Architecture
) -> None:
    """The append with the name raises; the zoo can still be completed."""
    long = make({"x" * 256: (2,)})
    with create(tmp_path / "z.zarr", name="z") as zoo:
        zoo.append(architecture, weights(architecture, 1), {})
        with pytest.raises(ZooError, match=r"parameter 'x+': .* at most 255 bytes"):
            zoo.append(long, weights(long, 1), {})
    assert len(open_zoo(tmp_path / "z.zarr")) == 1


def test_a_too_long_split_name_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """Storing a split with such a name raises."""
    with create(tmp_path / "z.zarr", name="z") as zoo:
        zoo.append(architecture, weights(architecture, 1), {})
        with pytest.raises(ZooError, match=r"split 'x+': .* at most 255 bytes"):
            zoo.split("x" * 256, [0])


def test_the_longest_names_are_stored(
    tmp_path: Path, make: Callable[..., Architecture], weights: Weights
) -> None:
    """Names of exactly the longest size are stored and read."""
    architecture, name = make({"x" * 255: (2,)}), "y" * 249
    with create(tmp_path / "z.zarr", name="z") as zoo:
        zoo.append(architecture, weights(architecture, 2), {name: [1, None]})
        zoo.split("z" * 255, [0, 1])
    opened = open_zoo(tmp_path / "z.zarr")
    opened.verify()
    assert opened.typed_column(name).objects() == [1, None]
