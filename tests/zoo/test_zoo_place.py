"""Where a zoo or an export may appear, and what its files may be called."""

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


# -- a place in a zoo -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["x", "networks/x", "new/x"])
def test_nothing_is_made_in_a_zoo(
    small: Path, architecture: Architecture, weights: Weights, below: str
) -> None:
    with (
        pytest.raises(
            ZooError, match=rf"{below}: lies in the zoo .*small\.zarr; choose a path outside of it"
        ),
        create(small / below, name="inner") as zoo,
    ):
        zoo.append(architecture, weights(architecture, 1), {})
    open_zoo(small, unhealthy=True).verify()


def test_a_link_into_a_zoo_is_seen_through(small: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(small / "networks")
    with pytest.raises(ZooError, match="lies in the zoo"):
        export(open_zoo(small), tmp_path / "link" / "out")


def test_a_folder_beside_a_zoo_may_hold_folders_of_any_name(small: Path, tmp_path: Path) -> None:
    (tmp_path / "networks").mkdir()
    export(open_zoo(small), tmp_path / "out")
    assert (tmp_path / "out" / "zoo.json").exists()


def test_export_merge_and_build_refuse_a_place_in_a_zoo(
    capsys: pytest.CaptureFixture[str], small: Path, another: Path
) -> None:
    for words in (
        ["zoo", "export", small, small / "x"],
        ["zoo", "merge", small, another, "--out", small / "x"],
        ["zoo", "build", "sine", "--networks", "2", "--out", small / "x"],
    ):
        code, said = call(capsys, *words)
        assert (code, said.count("\n")) == (2, 1)
        assert "lies in the zoo" in said
    open_zoo(small, unhealthy=True).verify()


# -- a place that cannot be -------------------------------------------------------------------------------------


def test_a_name_that_no_folder_can_have_is_one_line(
    capsys: pytest.CaptureFixture[str], small: Path, another: Path, tmp_path: Path
) -> None:
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
    def closed(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", closed)
    with pytest.raises(MachineError, match=r"small\.zarr: Permission denied"):
        create(small, name="new", overwrite=True)


def test_a_folder_below_one_that_cannot_be_read_is_one_line(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(self: Path) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(MachineError, match="out: Permission denied"):
        export(open_zoo(small), tmp_path / "out")


# -- a full disk ------------------------------------------------------------------------------------------------

FULL = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from sneframe.cli import main
main(sys.argv[1:])
"""


def test_an_export_to_a_full_disk_is_one_line_and_leaves_nothing(small: Path, tmp_path: Path) -> None:
    words = ["zoo", "export", str(small), str(tmp_path / "out")]
    before = sorted(tmp_path.iterdir())
    done = subprocess.run([sys.executable, "-c", FULL, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path / 'out'}: File too large\n")
    assert sorted(tmp_path.iterdir()) == before


# -- names that are too long for a file -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("x" * 250, 250), ("λ" * 42, 252)])
def test_a_property_name_that_is_too_long_is_refused_when_it_is_given(
    tmp_path: Path, architecture: Architecture, weights: Weights, name: str, size: int
) -> None:
    with create(tmp_path / "z.zarr", name="z") as zoo:
        zoo.append(architecture, weights(architecture, 1), {})
        with pytest.raises(ZooError) as caught:
            zoo.append(architecture, weights(architecture, 1), {name: [1]})
    assert f"property {name!r}: a percent-encoded name may have at most 249 bytes, got {size}" in str(
        caught.value
    )
    assert len(open_zoo(tmp_path / "z.zarr")) == 1


def test_a_parameter_name_that_is_too_long_is_refused_when_it_is_given(
    tmp_path: Path, make: Callable[..., Architecture], weights: Weights, architecture: Architecture
) -> None:
    long = make({"x" * 256: (2,)})
    with create(tmp_path / "z.zarr", name="z") as zoo:
        zoo.append(architecture, weights(architecture, 1), {})
        with pytest.raises(ZooError, match=r"parameter 'x+': a percent-encoded name may have at most 255 bytes"):
            zoo.append(long, weights(long, 1), {})
    assert len(open_zoo(tmp_path / "z.zarr")) == 1


def test_a_split_name_that_is_too_long_is_refused_when_it_is_given(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    with create(tmp_path / "z.zarr", name="z") as zoo:
        zoo.append(architecture, weights(architecture, 1), {})
        with pytest.raises(ZooError, match=r"split 'x+': a percent-encoded name may have at most 255 bytes"):
            zoo.split("x" * 256, [0])


def test_the_longest_names_are_stored(
    tmp_path: Path, make: Callable[..., Architecture], weights: Weights
) -> None:
    architecture, name = make({"x" * 255: (2,)}), "y" * 249
    with create(tmp_path / "z.zarr", name="z") as zoo:
        zoo.append(architecture, weights(architecture, 2), {name: [1, None]})
        zoo.split("z" * 255, [0, 1])
    opened = open_zoo(tmp_path / "z.zarr")
    opened.verify()
    assert opened.typed_column(name).objects() == [1, None]
