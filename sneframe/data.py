"""What a run learns from: the networks of a zoo in memory, one property of each, and the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import platformdirs
import torch
from attrs import evolve, frozen

from sneframe import plugins, zoo
from sneframe.batch import Batch
from sneframe.config import ZooConfig
from sneframe.errors import ConfigError, ZooError, choices
from sneframe.progress import Reporter
from sneframe.zoo import Zoo, splits

DEMO = "zoos/demo"  #: the builder of the zoo that is used where none is named


@frozen(kw_only=True, eq=False)
class Split:
    """Positions of the training, validation and test networks in a batch."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


@frozen(kw_only=True, eq=False)
class Data:
    """Networks with a property.

    Args:
        zoo: where they come from.
        property: its name.
        batch: all networks of the zoo that have the property.
        targets: ``(N,)`` float64 on the host, in the order of ``batch.ids``.
        split: positions in ``batch``.
    """

    zoo: Zoo
    property: str
    batch: Batch
    targets: np.ndarray
    split: Split

    def to(self, device: torch.device) -> Data:
        """Return it with the weights on another device."""
        return evolve(self, batch=self.batch.to(device))


def load_data(config: ZooConfig, reporter: Reporter) -> Data:
    """Open the zoo, select, split, and read the weights into memory.

    Raises:
        ZooError: no such zoo or property, a property that is not numeric, no network that has it, an empty split.
    """
    whole = zoo.open_zoo(Path(config.path) if config.path is not None else demo_zoo(reporter))
    selected = whole.where(config.where) if config.where else whole
    name = config.property or _first_float(selected)
    column = selected.column(name)
    if column.dtype.kind not in "fiub":
        numeric = [other for other in selected.properties if selected.column(other).dtype.kind in "fiub"]
        raise ZooError(f"property {name!r} is not numeric; {choices(name, numeric, 'numeric')}")
    targets = column.astype(np.float64)
    present = np.isfinite(targets)
    if not present.any():
        raise ZooError(f"{whole.path}: no network of the selection has the property {name!r}")
    if len(np.unique(targets[present])) == 1:
        raise ZooError(
            f"property {name!r} has the one value {targets[present][0]:g} in all {present.sum()} networks"
        )
    selected, targets = selected.select(present), targets[present]
    drawn = config.split == "random"
    assignment = _random_split(selected, config) if drawn else selected.split(config.split)
    parts = {
        part: np.flatnonzero(assignment == number) for number, part in enumerate(("train", "val", "test"))
    }
    for part, positions in parts.items():
        if not len(positions):
            raise ZooError(f"split {config.split!r} of {whole.path} leaves no network in {part!r}")
    return Data(zoo=selected, property=name, batch=selected.load(), targets=targets, split=Split(**parts))


def demo_zoo(reporter: Reporter) -> Path:
    """Return the path of the demo zoo, which is built once and cached."""
    builder = plugins.load([DEMO.partition("/")[0]]).zoo(DEMO)
    path = Path(platformdirs.user_cache_dir("sneframe")) / "zoos" / "demo.zarr"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        reporter.say(f"building the demo zoo, once, in {path}")
        with reporter.bar("demo zoo") as advance:
            builder.build(builder.config(), path, advance)
    return path


def _random_split(selected: Zoo, config: ZooConfig) -> np.ndarray:
    """Split by group; sizes that add up to at most 1 are fractions, others are counts of networks."""
    if sum(config.sizes) <= 1 + 1e-9:
        return splits.by_group(selected.group, fractions=config.sizes, seed=config.split_seed)
    counts = [round(size) for size in config.sizes]
    if counts != list(config.sizes):
        raise ConfigError(
            f"zoo.sizes must be fractions that add up to at most 1, or whole counts, got {config.sizes}"
        )
    return splits.by_group(selected.group, sizes=counts, seed=config.split_seed)


def _first_float(selected: Zoo) -> str:
    for name in selected.properties:
        if selected.column(name).dtype.kind == "f":
            return name
    raise ZooError(
        f"{selected.path}: no float property to predict, name one {choices('', selected.properties)}"
    )
