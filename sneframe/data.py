"""What a run learns from: the networks of a zoo in memory, one property of each, and the split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from attrs import evolve, frozen

from sneframe import devices, plugins, zoo
from sneframe.architecture import Architecture
from sneframe.batch import Batch
from sneframe.config import ZooConfig
from sneframe.errors import ConfigError, Interrupted, ZooError, choices
from sneframe.progress import Reporter
from sneframe.zoo import Zoo, splits
from sneframe.zoo.cache import default_folder

BLOCK = 1 << 24  #: weights that are copied at a time where all training networks are read: 64 MiB
HOST = torch.device("cpu")
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
        device: where :meth:`select` brings networks.
    """

    zoo: Zoo
    property: str
    batch: Batch
    targets: np.ndarray
    split: Split
    device: torch.device = HOST

    def to(self, device: torch.device) -> Data:
        """Return it for another device: all weights are moved there if they fit, else those of each selection."""
        size = sum(n.weights.nbytes for n in self.batch.networks)
        batch = self.batch.to(device) if devices.fits(size, device) else self.batch
        return evolve(self, batch=batch, device=device)

    def select(self, positions: np.ndarray) -> Batch:
        """Return the networks at these positions, in this order, on the device."""
        return self.batch.select(positions).to(self.device)

    def training_architectures(self) -> tuple[Architecture, ...]:
        """The architectures of the training networks, in the order of the batch."""
        present = set(self.batch.entry[self.split.train].tolist())
        return tuple(a for number, a in enumerate(self.batch.architectures) if number in present)

    def training_blocks(self) -> Iterator[Batch]:
        """Yield the training networks, each once, in batches of at most :data:`BLOCK` weights, or of one network.

        They are nearly the whole zoo, which may be mapped from a file: together they are never copied.
        """
        entry = self.batch.entry[self.split.train]
        for number, architecture in enumerate(self.batch.architectures):
            here = self.split.train[entry == number]
            size = max(1, BLOCK // max(1, architecture.num_weights))
            for start in range(0, len(here), size):
                yield self.batch.select(here[start : start + size])


def load_data(config: ZooConfig, reporter: Reporter) -> Data:
    """Open the zoo, select, split, and read the weights into memory.

    Raises:
        ZooError: no such zoo or property, a property that is not numeric, no network that has it, an empty split.
    """
    selected, name, targets = _with_property(config, reporter)
    if len(np.unique(targets)) == 1:
        raise ZooError(f"property {name!r} has the one value {targets[0]:g} in all {len(targets)} networks")
    drawn = config.split == "random"
    assignment = _random_split(selected, config) if drawn else selected.split(config.split)
    parts = {
        part: np.flatnonzero(assignment == number) for number, part in enumerate(("train", "val", "test"))
    }
    for part, positions in parts.items():
        if not len(positions):
            raise ZooError(f"split {config.split!r} of {selected.path} leaves no network in {part!r}")
    if config.train_fraction < 1:
        group = selected.group[parts["train"]]
        parts["train"] = parts["train"][
            splits.share(group, fraction=config.train_fraction, seed=config.split_seed)
        ]
    return Data(zoo=selected, property=name, batch=selected.load(), targets=targets, split=Split(**parts))


def load_whole(config: ZooConfig, reporter: Reporter) -> Data:
    """Read a zoo that nothing is trained on: its test networks are those of a stored split, or else all of them.

    The stored split is the one that ``config.split`` names, where the zoo has it; for a random split it is the zoo's only
    one, where it has one.

    Raises:
        ZooError: as :func:`load_data`.
    """
    selected, name, targets = _with_property(config, reporter)
    positions, none = np.arange(len(targets)), np.arange(0)
    stored = selected.split_names if config.split == "random" else (config.split,)
    if len(stored) == 1 and stored[0] in selected.split_names:
        positions = np.flatnonzero(selected.split(stored[0]) == splits.TEST)
        if not len(positions):
            raise ZooError(f"split {stored[0]!r} of {selected.path} leaves no network in 'test'")
    split = Split(train=none, val=none, test=positions)
    return Data(zoo=selected, property=name, batch=selected.load(), targets=targets, split=split)


def _with_property(config: ZooConfig, reporter: Reporter) -> tuple[Zoo, str, np.ndarray]:
    """Return the healthy networks that have the property, its name, and their values ``(N,)`` float64."""
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
    return selected.select(present), name, targets[present]


def demo_zoo(reporter: Reporter) -> Path:
    """Return the path of the demo zoo, which is built once for every version of its builder, and cached.

    Raises:
        ZooError: something else is in its place.
        Interrupted: after Ctrl-C.
    """
    registry = plugins.load([DEMO.partition("/")[0]])
    builder, version = registry.zoo(DEMO), registry.plugins[DEMO.partition("/")[0]].version
    path = default_folder() / f"demo-{version}.zarr"
    if path.exists():
        reporter = Reporter()  # the builder only looks whether it is the one
    reporter.say(f"building the demo zoo, once, in {path}")
    try:
        with reporter.bar("demo zoo") as advance:
            builder.build(builder.config(), path, advance)
    except KeyboardInterrupt as error:
        raise Interrupted("the demo zoo is not complete; the same command goes on with it") from error
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
