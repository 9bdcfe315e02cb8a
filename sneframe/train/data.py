"""Load the data of a run into memory: the networks of a zoo, the properties to predict, and the split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from attrs import evolve, field, frozen

from sneframe import devices, plugins, zoo
from sneframe.architecture import Architecture
from sneframe.batch import Batch
from sneframe.config.byte_size import in_bytes, shown
from sneframe.config.schema import TrainConfig, ZooConfig
from sneframe.engine import SerialEngine
from sneframe.errors import ConfigError, Interrupted, ZooError, choices
from sneframe.progress import Reporter
from sneframe.train.read_ahead import ReadAhead
from sneframe.train.sampler import blocks_of, epoch_batches
from sneframe.zoo import Zoo, splits
from sneframe.zoo.cache import default_folder, half_of_free_memory
from sneframe.zoo.column import Column

HOST = torch.device("cpu")
DEMO = "zoos/demo"  #: builder of the demo zoo, which a run uses if ``zoo.path`` is not set


@frozen(kw_only=True, eq=False)
class Split:
    """Positions of the training, validation and test networks in ``Data.batch``."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


@frozen(kw_only=True, eq=False)
class Data:
    """The networks of a run, the properties to predict, and the split.

    Args:
        zoo: the zoo of the networks.
        columns: the column of each property to predict, by the name of the property. The main property comes
            first. A column has one value for every network, in the order of ``batch.ids``.
        batch: all networks of the zoo that have the properties.
        split: positions of the training, validation and test networks in ``batch``.
        shown: the columns that ``zoo.show`` names, by name, in the order of ``batch.ids``. The model does not
            learn from them.
        balance: ``(N,)`` ints: a number for the kind of each network. Every kind then makes up the same
            fraction of an epoch. If it is None, the kinds are not balanced.
        device: device to which :meth:`select` moves networks.
        memory: bytes that weights may take.
        ahead: reads batches ahead, if the weights are mapped from files; None if they are in memory.
    """

    zoo: Zoo
    columns: Mapping[str, Column]
    batch: Batch
    split: Split
    shown: Mapping[str, Column] = field(factory=dict)
    balance: np.ndarray | None = None
    device: torch.device = HOST
    memory: int = 0
    ahead: ReadAhead | None = None

    @property
    def property(self) -> str:
        """The name of the main property."""
        return next(iter(self.columns))

    def training(self, name: str) -> Column:
        """Return the values of the property ``name`` for the training networks."""
        return self.columns[name].take(self.split.train)

    def to(self, device: torch.device) -> Data:
        """Return the data for another device.

        All weights move to the device now if they fit there. Otherwise :meth:`select` moves the weights of
        the networks that it selects.
        """
        size = sum(n.weights.nbytes for n in self.batch.networks)
        if device == self.batch.device or not devices.fits(size, device):
            return evolve(self, device=device)
        return evolve(self, batch=self.batch.to(device), device=device, ahead=None)

    def select(self, positions: np.ndarray) -> Batch:
        """Return the networks at ``positions``, in that order, on the device."""
        source = self.batch if self.ahead is None else self.ahead
        return source.select(positions).to(self.device)

    def announced(self, batches: Iterable[Sequence[np.ndarray]]) -> AbstractContextManager[None]:
        """Return a ``with`` block that will select batches in this order, so that they can be read ahead.

        Args:
            batches: lists of arrays of positions. The batches of one list are best read together.
        """
        return nullcontext() if self.ahead is None else self.ahead.announced(batches)

    def sizes(self) -> np.ndarray:
        """Return the number of bytes that the weights of each network take, ``(N,)``."""
        return 4 * np.array([a.num_weights for a in self.batch.architectures], np.int64)[self.batch.entry]

    def epoch_batches(self, train: TrainConfig, *, seed: int, epoch: int) -> list[list[np.ndarray]]:
        """Return the batches of an epoch; see :func:`sneframe.train.sampler.epoch_batches`.

        Args:
            train: the configuration of the training, which :func:`sneframe.train.sampler.settled` returned.
            seed: seed of the run.
            epoch: number of the epoch, counted from 0.
        """
        return epoch_batches(
            self.split.train,
            batch_size=train.batch_size,
            seed=seed,
            epoch=epoch,
            kinds=self.balance,
            blocks=blocks_of(train, self.batch.order, self.sizes()),
        )

    def training_architectures(self) -> tuple[Architecture, ...]:
        """Return the architectures of the training networks, in the order of the batch."""
        present = set(self.batch.entry[self.split.train].tolist())
        return tuple(a for number, a in enumerate(self.batch.architectures) if number in present)

    def training_blocks(self) -> Iterator[Batch]:
        """Yield batches that hold each training network once; see :meth:`sneframe.batch.Batch.blocks`."""
        return self.batch.blocks(self.split.train)


def load_data(config: ZooConfig, reporter: Reporter) -> Data:
    """Open the zoo of a run, select and split the networks, and read the weights into memory.

    Raises:
        ZooError: the zoo or a property does not exist, no network has a value of every property, a property
            has the same value in all networks, or a part of the split is empty.
    """
    selected, columns = with_properties(config, reporter)
    for name, column in columns.items():
        if len(set(values := column.values.tolist())) == 1:
            raise ZooError(
                f"property {name!r} has the same value, {_shown(values[0])}, in all {len(column)} networks"
            )
    drawn = config.split == "random"
    if drawn and selected.split_names:
        names = ", ".join(selected.split_names)
        reporter.say(f"a random split is drawn; zoo.split=NAME uses a split that the zoo stores: {names}")
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
            splits.draw_fraction(group, fraction=config.train_fraction, seed=config.split_seed)
        ]
    return Data(
        zoo=selected,
        columns=columns,
        split=Split(**parts),
        shown={name: selected.typed_column(name) for name in config.show},
        balance=_kinds(selected, config.balance),
        **_loaded(selected, config, reporter),
    )


def load_whole(config: ZooConfig, reporter: Reporter) -> Data:
    """Read a zoo on which a model is tested, not trained.

    The test networks are those of the split that ``config.split`` names, if the zoo stores this split. If
    ``config.split`` is ``random`` and the zoo stores exactly one split, the test networks are those of this
    split. Otherwise all networks are test networks.

    Raises:
        ZooError: the zoo or a property does not exist, no network has a value of every property, or the split
            has no test network.
    """
    selected, columns = with_properties(config, reporter)
    positions, none = np.arange(len(selected)), np.arange(0)
    stored = selected.split_names if config.split == "random" else (config.split,)
    if len(stored) == 1 and stored[0] in selected.split_names:
        positions = np.flatnonzero(selected.split(stored[0]) == splits.TEST)
        if not len(positions):
            raise ZooError(f"split {stored[0]!r} of {selected.path} leaves no network in 'test'")
    split = Split(train=none, val=none, test=positions)
    return Data(zoo=selected, columns=columns, split=split, **_loaded(selected, config, reporter))


class _Loaded(TypedDict):
    """The fields of :class:`Data` that hold the weights."""

    batch: Batch
    memory: int
    ahead: ReadAhead | None


def _loaded(selected: Zoo, config: ZooConfig, reporter: Reporter) -> _Loaded:
    """Read weights into memory, or map them from files if they take more than ``zoo.memory``."""
    memory = memory_of(config)
    if mapped := selected.size > memory:
        reporter.say(
            f"the weights take {shown(selected.size)} and may take {shown(memory)} of memory, so they "
            f"are decoded once into files in {default_folder()}, and read from there"
        )
    batch = selected.load(memory=memory)
    ahead = ReadAhead(batch, selected.decoded_files(), memory) if mapped else None
    return _Loaded(batch=batch, memory=memory, ahead=ahead)


def memory_of(config: ZooConfig) -> int:
    """Return the number of bytes that the weights of a zoo may take."""
    return half_of_free_memory() if config.memory is None else in_bytes(config.memory)


def with_properties(config: ZooConfig, reporter: Reporter) -> tuple[Zoo, dict[str, Column]]:
    """Return the zoo of the networks to learn from, and the columns of the properties to predict, by name.

    The zoo has only healthy networks with a finite value of every property. The main property comes first.

    Raises:
        ZooError: the zoo or a property does not exist, or no healthy network has a finite value of every
            property.
    """
    path = Path(config.path) if config.path is not None else demo_zoo(reporter)
    whole = zoo.open_zoo(path, unhealthy=True)
    matching = whole.where(config.where) if config.where else whole
    if not len(matching):
        raise ZooError(f"{path}: none of the {len(whole)} networks matches zoo.where = {config.where!r}")
    selected = matching.select(matching.healthy)
    if not len(selected):
        where = " that match zoo.where" if config.where else ""
        raise ZooError(f"{path}: none of the {len(matching)} networks{where} is healthy")
    names = dict.fromkeys((config.property or _first_float(selected), *config.also))
    columns = {name: selected.typed_column(name) for name in names}
    missing = {name: ~column.valid for name, column in columns.items()}
    infinite = {name: _infinite(column) for name, column in columns.items()}
    reasons = {
        "unhealthy": len(matching) - len(selected),
        **{f"without {name!r}": int(rows.sum()) for name, rows in missing.items()},
        **{f"with an infinite {name!r}": int(rows.sum()) for name, rows in infinite.items()},
    }
    present = ~np.logical_or.reduce([*missing.values(), *infinite.values()])
    counts = ", ".join(f"{n} {why}" for why, n in reasons.items() if n)
    if not present.any():
        wanted = " and ".join(map(repr, names))
        raise ZooError(
            f"{path}: none of the {len(matching)} networks is healthy and has a finite value of {wanted}: "
            f"{counts}"
        )
    if left_out := len(matching) - int(present.sum()):
        reporter.say(f"{left_out} of {len(matching)} networks are left out: {counts}")
    rows = np.flatnonzero(present)
    return selected.select(present), {name: column.take(rows) for name, column in columns.items()}


def _infinite(column: Column) -> np.ndarray:
    """Return an array ``(N,)`` of bool: True where a value is present and infinite."""
    if column.kind != "float":
        return np.zeros(len(column), bool)
    return np.isinf(column.values) & column.valid


def _kinds(selected: Zoo, name: str | None) -> np.ndarray | None:
    """Return the kind of each network as an array ``(N,)`` of ints, or None if ``name`` is None.

    Networks with the same value in the column ``name`` are of one kind, and so are networks without a value.
    """
    if name is None:
        return None
    values = selected.typed_column(name).objects()
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values])


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)


def demo_zoo(reporter: Reporter) -> Path:
    """Return the path of the demo zoo in the cache, and build the zoo if the cache does not have it.

    The path contains the version of the plugin that builds the demo zoo.

    Raises:
        ZooError: the path holds something other than the demo zoo.
        Interrupted: the user pressed Ctrl-C; the error says how to continue the build.
    """
    registry = plugins.load([DEMO.partition("/")[0]])
    builder, version = registry.zoo(DEMO), registry.plugins[DEMO.partition("/")[0]].version
    path = default_folder() / f"demo-{version}.zarr"
    if path.exists():
        reporter = Reporter()  # print nothing: the builder only checks that the path holds this zoo
    reporter.say(f"building the demo zoo, once, in {path}")
    try:
        with reporter.bar("demo zoo", unit="networks") as advance:
            # Starting other processes would take about as long as they would save.
            builder.build(builder.config(), path, advance, SerialEngine())
    except KeyboardInterrupt as error:
        raise Interrupted("the demo zoo is not complete; run the same command again to continue") from error
    return path


def _random_split(selected: Zoo, config: ZooConfig) -> np.ndarray:
    """Draw a random split that divides no run group.

    If ``config.sizes`` add up to at most 1, they are fractions. Otherwise they are numbers of networks.
    """
    if sum(config.sizes) <= 1 + 1e-9:
        return splits.by_group(selected.group, fractions=config.sizes, seed=config.split_seed)
    counts = [round(size) for size in config.sizes]
    if counts != list(config.sizes):
        raise ConfigError(
            f"zoo.sizes must be fractions that add up to at most 1, or whole numbers of networks, "
            f"but got {config.sizes}"
        )
    return splits.by_group(selected.group, sizes=counts, seed=config.split_seed)


def _first_float(selected: Zoo) -> str:
    for name in selected.properties:
        if selected.column(name).dtype.kind == "f":
            return name
    raise ZooError(
        f"{selected.path}: the zoo has no float property; set zoo.property, "
        f"{choices('', selected.properties)}"
    )
