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
    result = run("info", small)
    assert result.exit_code == 0
    for expected in (
        "10, 1 of them not healthy",
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


def test_info_of_a_zoo_with_infinite_and_missing_values_is_json(
    tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 2), {"loss": [np.inf, 0.5], "none": [None, None]})
    facts = json.loads(run("info", tmp_path / "z.zarr", "--json").output)
    assert facts["properties"][0]["max"] == "inf"
    assert (facts["properties"][1]["min"], facts["properties"][1]["missing"]) == (None, 2)
    assert run("info", tmp_path / "z.zarr").exit_code == 0


def test_names_reach_the_terminal_as_text(
    tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    with create(tmp_path / "z.zarr", name="[red]\x1b[31mz") as writer:
        writer.append(architecture, weights(architecture, 1), {"[bold]x": ["\x1b]0;title\x07"]})
    output = run("info", tmp_path / "z.zarr").output
    assert "\x1b" not in output
    assert "[red]�[31mz" in output
    assert "[bold]x" in output


def test_verify_says_that_all_is_well(small: Path) -> None:
    result = run("verify", small)
    assert result.exit_code == 0
    assert result.output.startswith(f"{small}: 10 networks, complete and undamaged, digest ")


def test_verify_raises_what_is_wrong(small: Path) -> None:
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
    result = run("export", small, tmp_path / "out", *options)
    assert result.output == f"{tmp_path / 'out'}: {networks} networks\n"
    assert len(list((tmp_path / "out" / "networks").iterdir())) == networks


def test_merge_joins(
    small: Path, tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
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
    for arguments in (("info", tmp_path), ("verify", tmp_path), ("export", tmp_path, tmp_path / "out")):
        assert isinstance(run(*arguments).exception, ZooError)


def test_help_names_the_commands() -> None:
    output = run("--help").output
    for name in ("info", "verify", "export", "merge"):
        assert name in output
