"""Define Suite, a named list of runs whose results fill one table.

Plugins offer suites, and :mod:`sneframe.bench` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import ge, gt, in_, min_len, optional

from sneframe.config.validators import named

METRICS = ("mse", "r2", "tau", "accuracy")
Metric = Literal["mse", "r2", "tau", "accuracy"]


def _words(value: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return settings such as ``train.epochs=50`` as a tuple. A string becomes a tuple of one setting."""
    return (value,) if isinstance(value, str) else tuple(value)


def _zoos(value: Built | str | Sequence[Built | str]) -> tuple[Built | str, ...]:
    """Return zoos as a tuple. A single zoo becomes a tuple of one zoo."""
    return (value,) if isinstance(value, Built | str) else tuple(value)


def _rows(value: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(value)


def _variations(value: Sequence[Variation]) -> tuple[Variation, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Row:
    """One row of the table of a suite.

    Args:
        label: name of the row in the table.
        recipe: name of the recipe, ``PLUGIN/NAME``. If the recipe does not exist, the table shows the row as
            failed, with the reason.
        overrides: settings that override the recipe, such as ``layer_encoder.width=32``.
    """

    label: str
    recipe: str
    overrides: tuple[str, ...] = field(default=(), converter=_words)


@frozen(kw_only=True)
class Variation:
    """One variant in which every row of a table is run, such as one fraction of the training networks.

    Args:
        label: name of the variation in the table.
        overrides: settings that override the settings of the row.
    """

    label: str
    overrides: tuple[str, ...] = field(converter=_words)


@frozen(kw_only=True)
class Built:
    """A zoo that the benchmark builds if the zoo does not exist yet.

    Args:
        builder: name of the zoo builder, ``PLUGIN/NAME``.
        options: options of the builder's configuration.
        label: name of the zoo in a table; None for the name of its folder.
    """

    builder: str
    label: str | None = None
    options: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Suite:
    """The runs of one table: one run for each row, variation and seed, all on the same zoos and splits.

    Args:
        name: name of the suite, ``PLUGIN/NAME``.
        title: title of the table, one line.
        rows: the rows, at least one.
        zoo: the zoo to build, or the path of a zoo, or None for the demo zoo.
        train: zoos to train on, in place of ``zoo``. Each of them gets its own runs.
        test: zoos to test every model on. Without any, a model is tested on the test networks of the zoo that
            it was trained on.
        together: whether to train on all zoos of ``train`` together, merged into one.
        note: a text about the zoos that the page shows, such as how they differ from published ones.
        property: the property to predict, or None for the first float property of the zoo.
        overrides: settings for all rows. They override the recipe. The settings of rows and variations
            override these settings.
        variations: the variations. Without variations, each row is run once per seed.
        seeds: number of seeds. The seeds are 0, 1, ….
        budget: largest number of seconds of training for each run, or None for no limit.
        metric: the metric by which rows are ordered.
    """

    name: str
    title: str
    rows: tuple[Row, ...] = field(converter=_rows, validator=min_len(1))
    zoo: Built | str | None = None
    train: tuple[Built | str, ...] = field(default=(), converter=_zoos)
    test: tuple[Built | str, ...] = field(default=(), converter=_zoos)
    together: bool = False
    note: str | None = None
    property: str | None = field(default=None, validator=named)
    overrides: tuple[str, ...] = field(default=(), converter=_words)
    variations: tuple[Variation, ...] = field(default=(), converter=_variations)
    seeds: int = field(default=3, validator=ge(1))
    budget: float | None = field(default=None, validator=optional(gt(0)))
    metric: Metric = field(default="mse", validator=in_(METRICS))

    def __attrs_post_init__(self) -> None:
        """Check that the zoos fit together."""
        if self.zoo is not None and self.train:
            raise ValueError(f"suite {self.name!r}: train replaces zoo; give one of them")
        if self.test and self.zoo is None and not self.train:
            raise ValueError(f"suite {self.name!r}: test needs zoos to train on: train or zoo")
        if self.together and (len(self.train) < 2 or self.test):
            raise ValueError(
                f"suite {self.name!r}: to train on zoos together, give at least two in train and none in "
                f"test, because zoos to test on could hold training networks"
            )
