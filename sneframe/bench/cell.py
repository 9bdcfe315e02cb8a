"""Define a cell: one configuration, with its seed, on one zoo. Find its file, and write it as JSON."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import evolve, frozen

from sneframe import atomic
from sneframe.bench.outcome import FORMAT, VERSION
from sneframe.bench.source import Made
from sneframe.bench.zoos import StoredZoo, Target
from sneframe.config.schema import Choice, RunConfig
from sneframe.config.structure import unstructure
from sneframe.run_folder.json_files import read_json


@frozen(kw_only=True)
class Cell:
    """One run of a comparison: a configuration with its seed, and the zoos to train and to test on.

    Args:
        recipe: name of the recipe that the configuration started from.
        overrides: ``KEY=VALUE`` words that override keys of the recipe. They are only shown.
        config: the complete configuration, with seed, budget and path of the zoo.
        zoo: the zoo to train on.
        targets: other zoos to test the trained model on.
    """

    recipe: str
    overrides: tuple[str, ...]
    config: RunConfig
    zoo: StoredZoo
    targets: tuple[Target, ...] = ()

    @property
    def key(self) -> str:
        """Hash (16 hexadecimal digits) of the configuration and the digests of the zoos.

        Configuration and zoos decide the numbers of the cell. Names of recipes and paths of zoos do not
        count.

        Values that equal the default of their class are left out, so an option that a later version adds does
        not change the key. :func:`find` notices if a default has changed.
        """
        decides = {
            "config": _deciding(evolve(self.config, recipe=None, zoo=evolve(self.config.zoo, path=None))),
            "zoo": self.zoo.digest,
            "targets": sorted([target.zoo.digest, target.divided] for target in self.targets),
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def file(self) -> str:
        """The name of the cell's file: recipe, zoo and seed for readers, then the key."""
        label = self.zoo.label.replace(" ", "-")
        return f"{self.recipe.replace('/', '-')}-{label}-{self.config.seed}-{self.key}.json"


@frozen(kw_only=True)
class _Configured:
    """The part of a cell's file that describes what was run."""

    config: Mapping[str, Any]


# -- to and from files -----------------------------------------------------------------------------


def find(folder: Path, cell: Cell) -> Path | None:
    """Return the file of a cell, or None. The cell may have been run under the name of another recipe.

    Raises:
        RunError: the file is damaged.
    """
    wanted = json.loads(json.dumps(_without_place(cell.config)))
    for path in sorted(folder.glob(f"*-{cell.key}.json")):
        stored = read_json(path, _Configured).config
        if _agrees({**stored, "recipe": None}, {**wanted, "recipe": None}):
            return path
    return None


def write(folder: Path, cell: Cell, left: Mapping[str, Any], source: Mapping[str, Made]) -> Path:
    """Write the result of a cell, and the distributions that computed it, to one file. The write is atomic.

    Raises:
        MachineError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "key": cell.key,
        "recipe": cell.recipe,
        "overrides": list(cell.overrides),
        "seed": cell.config.seed,
        "zoo": {"name": cell.zoo.name, "digest": cell.zoo.digest},
        "label": cell.zoo.label,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **left,
        "source": {name: attrs.asdict(made) for name, made in source.items()},
        "config": _without_place(cell.config),
    }
    path = folder / cell.file
    # One line for each key: a diff shows what changed, and an array does not take a line for each number.
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    atomic.write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
    return path


def _deciding(value: Any) -> Any:
    """Return a configuration as plain data. Values that equal the default of their class are left out."""
    if isinstance(value, Choice):
        return {"part": value.part.name, **_deciding(value.config)}
    if isinstance(value, tuple | list):
        return [_deciding(item) for item in value]
    if not attrs.has(type(value)):
        return value
    found = {}
    for attribute in attrs.fields(type(value)):
        default: Any = attribute.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # its stubs call it a function
            default = default.factory()
        if (item := getattr(value, attribute.name)) != default:
            found[attribute.name] = _deciding(item)
    return found


def _agrees(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether every stored value equals the wanted value."""
    return all(
        key in wanted
        and (
            _agrees(value, wanted[key])
            if isinstance(value, Mapping) and isinstance(wanted[key], Mapping)
            else value == wanted[key]
        )
        for key, value in stored.items()
    )


def _without_place(config: RunConfig) -> dict[str, Any]:
    """Return a configuration as plain data, without the path of its zoo."""
    plain = unstructure(config)
    return plain | {"zoo": {key: value for key, value in plain["zoo"].items() if key != "path"}}
