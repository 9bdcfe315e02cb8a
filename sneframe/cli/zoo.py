"""Define ``sneframe zoo``, which builds, imports, shows, checks, exports and merges zoos."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from sneframe.cli.build import build
from sneframe.cli.import_ import import_
from sneframe.cli.tables import cells, shown, table

if TYPE_CHECKING:
    from sneframe.zoo import Zoo
    from sneframe.zoo.column import Column

_SHOWN_VALUES = 5
_SHOWN_ARCHITECTURES = 20

_ZOO = click.Path(path_type=Path)


@click.group()
def zoo() -> None:
    """Build, import, show, check, export and merge zoos."""


zoo.add_command(build)
zoo.add_command(import_)


@zoo.command()
@click.argument("path", type=_ZOO)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def info(path: Path, *, as_json: bool) -> None:
    """Show what the zoo at PATH holds, without reading weights."""
    from sneframe.zoo import open_zoo

    facts = _facts(open_zoo(path, unhealthy=True))
    if as_json:
        click.echo(json.dumps(facts, indent=2, allow_nan=False))
    else:
        _show(facts)


@zoo.command()
@click.argument("path", type=_ZOO)
def verify(path: Path) -> None:
    """Read the whole zoo at PATH, and check its files, checksums, digests and columns."""
    from sneframe.cli.terminal import say
    from sneframe.zoo import open_zoo

    opened = open_zoo(path, unhealthy=True)
    opened.verify()
    say(f"{path}: {len(opened)} networks, complete and undamaged, digest {opened.digest}")


@zoo.command()
@click.argument("path", type=_ZOO)
@click.argument("folder", type=_ZOO)
@click.option(
    "--where", "expression", help="Export only networks that match this expression, such as 'step == 86'."
)
@click.option("--unhealthy", is_flag=True, help="Export unhealthy networks as well.")
def export(path: Path, folder: Path, *, expression: str | None, unhealthy: bool) -> None:
    """Write the zoo at PATH into a new FOLDER as safetensors, CSV and JSON."""
    from sneframe.cli.terminal import say
    from sneframe.zoo import export as export_zoo
    from sneframe.zoo import open_zoo

    opened = open_zoo(path, unhealthy=unhealthy)
    selected = opened if expression is None else opened.where(expression)
    export_zoo(selected, folder)
    say(f"{folder}: {len(selected)} networks")


@zoo.command()
@click.argument("paths", type=_ZOO, nargs=-1, required=True)
@click.option("--out", type=_ZOO, required=True, help="The zoo to make.")
@click.option("--name", help="Name of the zoo.  [default: the names of the zoos, joined by +]")
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="Label of a zoo in the column `zoo`. Give one for each of PATHS, in the same order.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing zoo.")
def merge(
    paths: tuple[Path, ...], out: Path, *, name: str | None, labels: tuple[str, ...], overwrite: bool
) -> None:
    """Join the zoos at PATHS into one."""
    from sneframe.cli.terminal import say
    from sneframe.zoo import merge as merge_zoos
    from sneframe.zoo import open_zoo

    merge_zoos(paths, out, name=name, labels=labels or None, overwrite=overwrite)
    say(f"{out}: {len(open_zoo(out, unhealthy=True))} networks from {len(paths)} zoos")


# -- what `info` shows --------------------------------------------------------------------------------------


def _facts(opened: Zoo) -> dict[str, Any]:
    counts = np.bincount(opened.architecture_index, minlength=len(opened.architectures)).tolist()
    return {
        **opened.attributes,
        "path": str(opened.path),
        "bytes": sum(file.stat().st_size for file in opened.path.rglob("*") if file.is_file()),
        "networks": len(opened),
        "healthy": int(opened.healthy.sum()),
        "groups": len(np.unique(opened.group)),
        "symmetry": opened.symmetry,
        "architectures": [
            {
                "id": architecture.id,
                "summary": architecture.summary,
                "networks": count,
                "symmetry": architecture.symmetry,
            }
            for architecture, count in zip(opened.architectures, counts, strict=True)
        ],
        "properties": [{"name": name, **_property(opened.typed_column(name))} for name in opened.properties],
        "splits": {name: _split(opened.split(name)) for name in opened.split_names},
    }


def _property(column: Column) -> dict[str, Any]:
    there = column.values[column.valid]
    facts: dict[str, Any] = {"kind": column.kind, "missing": int(len(column) - len(there))}
    if column.kind in ("int", "float"):
        low, high = (there.min().item(), there.max().item()) if len(there) else (None, None)
        return facts | {"min": _json_number(low), "max": _json_number(high)}
    values, networks = np.unique(there, return_counts=True)
    often = np.argsort(-networks, kind="stable")[:_SHOWN_VALUES]
    return facts | {"distinct": len(values), "most_frequent": [values.tolist()[index] for index in often]}


def _json_number(value: float | None) -> float | str | None:
    return str(value) if value is not None and not math.isfinite(value) else value


def _split(assignment: np.ndarray) -> dict[str, int]:
    codes = {"train": 0, "val": 1, "test": 2, "unused": -1}
    return {name: int((assignment == code).sum()) for name, code in codes.items()}


def _show(facts: dict[str, Any]) -> None:
    from sneframe.cli.terminal import Terminal

    console = Terminal()
    unhealthy = facts["networks"] - facts["healthy"]
    lines = {
        "name": facts["name"],
        "description": facts["description"],
        "licence": facts["licence"],
        "source": facts["source"],
        "builder": json.dumps(facts["builder"], ensure_ascii=False) if facts["builder"] else "",
        "networks": f"{facts['networks']}" + (f", {unhealthy} of them unhealthy" if unhealthy else ""),
        "groups": facts["groups"],
        "symmetry": ", ".join(f"{origin}: {count}" for origin, count in facts["symmetry"].items()),
        "digest": facts["digest"],
        "on disk": f"{facts['bytes'] / 1e6:.1f} MB",
    }
    overview = table()
    for key, value in lines.items():
        if value != "":
            overview.add_row(*cells(key, value))
    console.print(overview)

    architectures = table("architecture", "networks", "id")
    for entry in facts["architectures"][:_SHOWN_ARCHITECTURES]:
        architectures.add_row(*cells(entry["summary"], entry["networks"], entry["id"]))
    if len(facts["architectures"]) > _SHOWN_ARCHITECTURES:
        architectures.add_row(
            *cells(f"… and {len(facts['architectures']) - _SHOWN_ARCHITECTURES} more", "", "")
        )
    console.print(architectures)

    properties = table("property", "kind", "values", "missing")
    for entry in facts["properties"]:
        properties.add_row(*cells(entry["name"], entry["kind"], _range(entry), entry["missing"] or ""))
    if facts["properties"]:
        console.print(properties)

    splits = table("split", "train", "val", "test", "unused")
    for name, counts in facts["splits"].items():
        splits.add_row(*cells(name, *counts.values()))
    if facts["splits"]:
        console.print(splits)


def _range(entry: dict[str, Any]) -> str:
    if "min" in entry:
        return "" if entry["min"] is None else f"{shown(entry['min'])} … {shown(entry['max'])}"
    often = ", ".join(str(value) for value in entry["most_frequent"])
    return f"{often}, … ({entry['distinct']})" if entry["distinct"] > len(entry["most_frequent"]) else often
