"""A suite: a named list of runs that makes one table. Plugins offer it, and :mod:`sneframe.bench` runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen
from attrs.validators import ge, gt, in_, min_len, optional

from sneframe.config.validators import named

METRICS = ("mse", "r2", "tau", "accuracy")
Metric = Literal["mse", "r2", "tau", "accuracy"]


def _words(value: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return words such as ``train.epochs=50`` as a tuple; a string is one word."""
    return (value,) if isinstance(value, str) else tuple(value)


def _rows(value: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(value)


def _variations(value: Sequence[Variation]) -> tuple[Variation, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Row:
    """One line of the table.

    Args:
        label: its name in the table.
        recipe: ``PLUGIN/NAME``; a recipe that does not exist is shown as failed, with the reason.
        overrides: words such as ``layer_encoder.width=32``.
    """

    label: str
    recipe: str
    overrides: tuple[str, ...] = field(default=(), converter=_words)


@frozen(kw_only=True)
class Variation:
    """One setting that is varied across the table, such as the fraction of the training networks.

    Args:
        label: its name in the table.
        overrides: words that are laid over those of the row.
    """

    label: str
    overrides: tuple[str, ...] = field(converter=_words)


@frozen(kw_only=True)
class Built:
    """A zoo that is built if it is missing.

    Args:
        builder: ``PLUGIN/NAME`` of a zoo builder.
        options: options of the builder's configuration.
    """

    builder: str
    options: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class Suite:
    """Rows × variations × seeds on one zoo, every run on the same split.

    Args:
        name: ``PLUGIN/NAME``.
        title: title of the table, one line.
        rows: the rows, at least one.
        zoo: the zoo to build, or the path of a zoo; None: the demo zoo.
        property: the property to predict; None: the zoo's first float property.
        overrides: words for all rows; they are laid over the recipe, and those of rows and variations over
            them.
        variations: the variations; empty: one without a name.
        seeds: number of seeds, which are 0, 1, ….
        budget: seconds of training for each run, or None.
        metric: the metric by which rows are ordered.
    """

    name: str
    title: str
    rows: tuple[Row, ...] = field(converter=_rows, validator=min_len(1))
    zoo: Built | str | None = None
    property: str | None = field(default=None, validator=named)
    overrides: tuple[str, ...] = field(default=(), converter=_words)
    variations: tuple[Variation, ...] = field(default=(), converter=_variations)
    seeds: int = field(default=3, validator=ge(1))
    budget: float | None = field(default=None, validator=optional(gt(0)))
    metric: Metric = field(default="mse", validator=in_(METRICS))
