"""Export a selection of a zoo as safetensors, CSV and JSON files, so that other tools can read it."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

from sneframe.errors import ZooError
from sneframe.zoo.read import Zoo
from sneframe.zoo.staging import Staging, machine_errors


def export(zoo: Zoo, folder: str | Path) -> None:
    """Write the selected networks and their properties to a new folder.

    The folder contains these files:

    - ``networks/ID.safetensors``: the state dict of a network, with the number types that the zoo stores.
    - ``properties.csv``: one line for each network with ``file``, ``architecture``, ``group``, ``healthy``
      and the properties. A missing value is an empty cell.
    - ``splits.csv``: one line for each network with ``file`` and the splits, if the zoo has splits.
    - ``architectures/ID.json``: the description of an architecture.
    - ``zoo.json``: the attributes of the zoo.

    Args:
        zoo: the selection.
        folder: the path of the new folder. The folder appears at this path only when all files are written.

    Raises:
        ZooError: the selection is empty, the folder exists or lies inside a zoo, or the zoo is damaged.
        MachineError: a file cannot be read or written.
    """
    folder = Path(folder)
    if not len(zoo):
        raise ZooError(
            f"{zoo.path}: no network is selected, so there is nothing to export; loosen `where`, or include "
            f"unhealthy networks (--unhealthy)"
        )
    if os.path.lexists(folder):
        raise ZooError(f"{folder}: exists already; an export needs a new folder")
    with machine_errors(folder):
        staging = Staging(folder)
        try:
            _write(zoo, staging.folder)
            staging.commit()
        finally:
            staging.discard()


def _write(zoo: Zoo, folder: Path) -> None:
    files = [f"networks/{number:0{len(str(zoo.ids.max()))}d}.safetensors" for number in zoo.ids]
    (folder / "networks").mkdir()
    _write_networks(zoo, [folder / file for file in files])
    names = ("architecture", "group", "healthy", *zoo.properties)
    _write_table(folder / "properties.csv", files, {name: zoo.typed_column(name).objects() for name in names})
    if zoo.split_names:
        _write_table(
            folder / "splits.csv", files, {name: zoo.split(name).tolist() for name in zoo.split_names}
        )
    (folder / "architectures").mkdir()
    for architecture in zoo.architectures:
        _write_json(folder / "architectures" / f"{architecture.id}.json", architecture.to_json())
    _write_json(folder / "zoo.json", dict(zoo.attributes))


def _write_networks(zoo: Zoo, files: list[Path]) -> None:
    from safetensors.torch import save

    for positions, _, weights in zoo.stored():
        for n, position in enumerate(positions):
            # Python writes the file instead of safetensors, so that a full disk raises OSError.
            files[position].write_bytes(save({name: values[n].clone() for name, values in weights.items()}))


def _write_table(file: Path, files: list[str], columns: dict[str, list[Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(("file", *columns))
        for row in zip(files, *columns.values(), strict=True):
            table.writerow([_cell(value) for value in row])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
