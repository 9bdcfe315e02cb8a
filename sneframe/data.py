"""What a run learns from: the networks of a zoo in memory, one property of each, and the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import platformdirs
import torch
from attrs import evolve, frozen
from torch import Tensor

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

    def targets_on(self, device: torch.device) -> Tensor:
        """Return the targets as ``(N,)`` float32 on a device."""
        return torch.from_numpy(self.targets).float().to(device)


def load_data(config: ZooConfig, reporter: Reporter) -> Data:
    """Open the zoo, select, split, and read the weights into memory.

    Raises:
        ZooError: no such zoo or property, a property that is not numeric, no network that has it, an empty split.
    """
    path = Path(config.path) if config.path is not None else demo_zoo(reporter)
    whole = zoo.open_zoo(path, unhealthy=True)
    matching = whole.where(config.where) if config.where else whole
    if not len(matching):
        raise ZooError(f"{path}: no network matches zoo.where = {config.where!r}, of {len(whole)}")
    selected = matching.select(matching.healthy)
    if not len(selected):
        raise ZooError(
            f"{path}: no network is healthy, of {len(matching)}{' that match zoo.where' * bool(config.where)}"
        )
    name = config.property or _first_float(selected)
    column = selected.column(name)
    if column.dtype.kind not in "fiub":
        numeric = [other for other in selected.properties if selected.column(other).dtype.kind in "fiub"]
        raise ZooError(f"property {name!r} is not numeric; {choices(name, numeric, 'numeric')}")
    targets = column.astype(np.float64)
    present = np.isfinite(targets)
    reasons = {
        "not healthy": len(matching) - len(selected),
        f"without {name!r}": int(np.isnan(targets).sum()),
        f"with an infinite {name!r}": int(np.isinf(targets).sum()),
    }
    left_out = f"of {len(matching)}: " + ", ".join(f"{n} {why}" for why, n in reasons.items() if n)
    if not present.any():
        raise ZooError(f"{path}: no network has a value of {name!r} to learn from, {left_out}")
    if any(reasons.values()):
        reporter.say(f"networks left out, {left_out}")
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
