"""The commands `sneframe zoo info`, `verify`, `export` and `merge`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from sneframe.architecture import Architecture
from sneframe.cli.zoo import zoo as command
from sneframe.errors import ZooError
from sneframe.zoo import create, open_zoo


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_info_shows_what_the_zoo_holds(small: Path) -> None:
    """`zoo info` prints counts, licence, architectures, properties, splits and the digest."""
    result = run("info", small)
    assert result.exit_code == 0
    for expected in (
        "10, 1 of them unhealthy",
        "CC0-1.0",
        "linear 2×3 · linear 3 (9 weights)",
        "linear 2×2×2",
        "0 … 5",
        "relu, tanh",
        "default",
        open_zoo(small).digest,
    ):
        assert expected in result.output


def test_info_as_json_is_exact(small: Path) -> None:
    """`zoo info --json` gives the same facts as exact values."""
    facts = json.loads(run("info", small, "--json").output)
    opened = open_zoo(small)
    assert (facts["name"], facts["networks"], facts["healthy"], facts["groups"]) == ("small", 10, 9, 5)
    assert facts["digest"] == opened.digest
    assert facts["bytes"] == sum(file.stat().st_size for file in small.rglob("*") if file.is_file())
    assert [(entry["id"], entry["networks"]) for entry in facts["architectures"]] == [
        (opened.architectures[0].id, 6), (opened.architectures[1].id, 4)
    ]  # fmt: skip
    assert facts["properties"] == [
        {"name": "step", "kind": "int", "missing": 4, "min": 0, "max": 5},
        {"name": "accuracy", "kind": "float", "missing": 1, "min": 0.0, "max": 1.0},
        {"name": "act", "kind": "string", "missing": 4, "distinct": 2, "most_frequent": ["relu", "tanh"]},
        {"name": "big", "kind": "bool", "missing": 6, "distinct": 2, "most_frequent": [True, False]},
    ]
    assert facts["splits"] == {"default": {"train": 4, "val": 1, "test": 1, "unused": 4}}


def test_info_with_infinite_values_is_json(
    tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    """Infinite and missing values still give valid JSON."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 2), {"loss": [np.inf, 0.5], "none": [None, None]})
    facts = json.loads(run("info", tmp_path / "z.zarr", "--json").output)
    assert facts["properties"][0]["max"] == "inf"
    assert (facts["properties"][1]["min"], facts["properties"][1]["missing"]) == (None, 2)
    assert run("info", tmp_path / "z.zarr").exit_code == 0


def test_names_are_printed_as_text(
    tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    """Markup and escape codes in names are printed as text."""
    with create(tmp_path / "z.zarr", name="[red]\x1b[31mz") as writer:
        writer.append(architecture, weights(architecture, 1), {"[bold]x": ["\x1b]0;title\x07"]})
    output = run("info", tmp_path / "z.zarr").output
    assert "\x1b" not in output
    assert "[red]�[31mz" in output
    assert "[bold]x" in output


def test_verify_reports_an_undamaged_zoo(small: Path) -> None:
    """`zoo verify` prints the number of networks and the digest."""
    result = run("verify", small)
    assert result.exit_code == 0
    assert result.output.startswith(f"{small}: 10 networks, complete and undamaged, digest ")


def test_verify_names_the_damaged_file(small: Path) -> None:
    """`zoo verify` raises ZooError with the path of the damaged file."""
    (small / "networks" / "row" / "c" / "0").unlink()
    result = run("verify", small)
    assert isinstance(result.exception, ZooError)
    assert str(small / "networks" / "row" / "c" / "0") in str(result.exception)


@pytest.mark.parametrize(
    ("options", "networks"), [((), 9), (("--unhealthy",), 10), (("--where", "step >= 3"), 3)]
)
def test_export_writes_the_selection(
    small: Path, tmp_path: Path, options: tuple[str, ...], networks: int
) -> None:
    """`zoo export` writes the networks that --where and --unhealthy select."""
    result = run("export", small, tmp_path / "out", *options)
    assert result.output == f"{tmp_path / 'out'}: {networks} networks\n"
    assert len(list((tmp_path / "out" / "networks").iterdir())) == networks


def test_merge_joins_two_zoos(
    small: Path, tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    """`zoo merge` joins zoos under labels and replaces a zoo only with --overwrite."""
    with create(tmp_path / "more.zarr", name="more") as writer:
        writer.append(architecture, weights(architecture, 5, seed=3), {}, group="m")
    both, out = (small, tmp_path / "more.zarr"), tmp_path / "out.zarr"
    result = run("merge", *both, "--out", out, "--label", "a", "--label", "b", "--name", "joined")
    assert result.output == f"{out}: 15 networks from 2 zoos\n"
    assert open_zoo(out).name == "joined"
    assert isinstance(run("merge", *both, "--out", out).exception, ZooError)
    again = run("merge", *both, "--out", out, "--label", "a", "--label", "b", "--overwrite")
    assert again.exit_code == 0
    assert open_zoo(out).name == "a+b"


def test_a_path_that_is_no_zoo_is_a_zoo_error(tmp_path: Path) -> None:
    """info, verify and export raise ZooError for a folder that is not a zoo."""
    for arguments in (("info", tmp_path), ("verify", tmp_path), ("export", tmp_path, tmp_path / "out")):
        assert isinstance(run(*arguments).exception, ZooError)


def test_help_names_the_commands() -> None:
    """The help lists info, verify, export and merge."""
    output = run("--help").output
    for name in ("info", "verify", "export", "merge"):
        assert name in output
