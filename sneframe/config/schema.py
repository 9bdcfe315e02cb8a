"""Define the configuration of a run as attrs classes, and read and merge raw TOML.

A recipe returns a whole :class:`RunConfig`. A TOML file and ``--set KEY=VALUE`` override its values. In a
:class:`RunConfig`, a part is represented by its class, and the options of the part are an instance of its own
``Config``. In plain data, such as TOML, a part is represented by its name. TOML has no null, so None is
written as the string ``"none"``. A configuration that sneframe writes has all keys.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, le, lt, optional

from sneframe.config.byte_size import a_size
from sneframe.config.validators import (
    FRACTION,
    SEED,
    as_tuple,
    check_names,
    check_types,
    finite,
    named,
    names,
    of_its_type,
)
from sneframe.errors import ConfigError, with_article

if TYPE_CHECKING:
    from sneframe.parts.part import Part

NONE = "none"  #: the string that represents None in TOML, in JSON and in ``--set``


def option(
    default: Any = attrs.NOTHING,
    help: str = "",  # noqa: A002  # argparse and click use the same word
    *,
    check: Any = None,
    converter: Any = None,
    repeated: bool = False,
) -> Any:
    """Return an attrs field with a one-line help text, which ``sneframe config`` shows.

    A value that does not have the annotated type of the field is refused, also if it is set in Python.

    Args:
        default: the default value; without one, the option must be given.
        help: the help text.
        check: an attrs validator, which runs after the check of the type.
        converter: an attrs converter, which runs before both checks.
        repeated: whether the option of a command is repeated to give several values. By default, the values
            of a tuple or list have commas between them.
    """
    checks = of_its_type if check is None else and_(of_its_type, check)
    metadata = {"help": help, "repeated": repeated}
    return field(default=default, validator=checks, converter=converter, metadata=metadata)


@frozen(kw_only=True)
class Choice:
    """A part and its options. :func:`sneframe.use` returns a Choice.

    Args:
        part: the class of the part.
        config: an instance of the ``Config`` of the part.

    Raises:
        TypeError: a value in ``config`` does not have the annotated type of its field.
    """

    part: type[Part]
    config: Any

    def __attrs_post_init__(self) -> None:
        check_types(self.config, where=self.part.name)

    @property
    def plugin(self) -> str:
        """The name of the plugin that offers the part, such as ``sne`` for the part ``sne/pad-chunk``."""
        return self.part.name.partition("/")[0]


def _fill_their_slot(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check that every part under a key of a :class:`RunConfig` belongs to the slot of that name.

    Raises:
        ConfigError: a value is not a :class:`Choice`, or its part belongs to another slot.
    """
    for choice in value if isinstance(value, tuple) else (value,):
        if not isinstance(choice, Choice):
            raise ConfigError(f"{attribute.name} must be a part such as use('PLUGIN/NAME'), got {choice!r}")
        if choice.part.slot != attribute.name:
            raise ConfigError(
                f"part {choice.part.name!r} is {with_article(choice.part.slot)} "
                f"and cannot be the {attribute.name}"
            )


@frozen(kw_only=True)
class ZooConfig:
    """Which networks a run uses, and what it predicts about them."""

    path: str | None = option(None, "folder of the zoo; none: the demo zoo, built once and cached")
    property: str | None = option(
        None, "the property to predict; none: the zoo's first float property", check=named
    )
    also: tuple[str, ...] = option(
        (),
        "further properties to learn; the first property alone decides the best epoch",
        converter=as_tuple,
        check=names,
    )
    task: str = option(
        "auto",
        "auto | regression | fraction | log | category: what the property is; auto: decided by its type; "
        "log: a positive number whose order of magnitude matters, such as a learning rate",
        check=in_(("auto", "regression", "fraction", "log", "category")),
    )
    where: str | None = option(
        None, "an expression that selects networks, such as 'step == 86'; none: all", check=named
    )
    split: str = option("random", "'random', by group and split_seed, or the name of a stored split")
    sizes: tuple[float, ...] = option(
        (0.7, 0.15, 0.15),
        "train, validation and test: fractions, or counts of networks",
        converter=as_tuple,
        check=deep_iterable(finite),
    )
    split_seed: int = option(
        0, "seed of the random split; the seed of the run does not change the split", check=SEED
    )
    train_fraction: float = option(
        1.0, "fraction of the training networks to use, drawn by group and split_seed", check=FRACTION
    )
    balance: str | None = option(
        None,
        "'architecture' or a property: each value gets an equal part of every epoch; none: no balancing",
        check=named,
    )
    memory: str | None = option(
        None,
        "memory that the weights may take, such as 2GB; a zoo that takes more is read from decoded files; "
        "none: half of the free memory",
        check=a_size,
    )
    show: tuple[str, ...] = option(
        (),
        "further columns by which the maps of the report are coloured",
        converter=as_tuple,
        check=names,
    )

    def __attrs_post_init__(self) -> None:
        if self.property is not None:
            check_names("property and also", (self.property, *self.also))


@frozen(kw_only=True)
class TrainConfig:
    """How a run trains the model."""

    epochs: int = option(30, "passes over the training networks", check=ge(0))
    batch_size: int = option(64, "networks in a step, over all processes", check=ge(1))
    shuffle: str = option(
        "auto",
        "auto | all | blocks: what is shuffled together: all networks of an epoch, or those in a buffer that "
        "is filled with random blocks of neighbours; auto: blocks if the weights take more than zoo.memory",
        check=in_(("auto", "all", "blocks")),
    )
    block: int | None = option(
        None, "networks in a block; none: as many as take 1 MiB on average", check=optional(ge(1))
    )
    buffer: str | None = option(
        None, "weights in a shuffle buffer, such as 500MB; none: a third of zoo.memory", check=a_size
    )
    lr: float = option(1e-3, "highest learning rate", check=gt(0))
    schedule: str = option("one-cycle", "one-cycle | constant", check=in_(("one-cycle", "constant")))
    warmup: float = option(
        0.1, "fraction of the steps over which the learning rate rises", check=and_(ge(0), le(1))
    )
    weight_decay: float = option(0.01, "weight decay of AdamW", check=ge(0))
    clip: float | None = option(1.0, "largest norm of the gradient; none: no limit", check=optional(gt(0)))
    ema_decay: float = option(
        0.0,
        "decay per step of the exponential moving average of the weights, with which the model is validated "
        "and saved; 0: no average",
        check=and_(ge(0), lt(1)),
    )
    task_weight: float = option(
        1.0,
        "weight of the task loss; 0 trains on the invariance loss alone, which then picks the best epoch",
        check=ge(0),
    )
    select: str = option(
        "mse",
        "mse | tau: validation metric that picks the best epoch; for a category: Brier score | accuracy",
        check=in_(("mse", "tau")),
    )
    patience: int | None = option(
        None, "stop after this many epochs without improvement; none: never", check=optional(ge(1))
    )
    budget: float | None = option(
        None, "at most this many seconds of training; none: no limit", check=optional(gt(0))
    )
    budget_clock: str = option(
        "wall",
        "wall | cpu: whether the budget counts seconds that pass, or CPU seconds of all threads together, "
        "which other work on the machine does not change",
        check=in_(("wall", "cpu")),
    )
    invariance_every: int | None = option(
        None,
        "measure e_g and e_noise on the validation networks every N epochs; none: only at the end",
        check=optional(ge(1)),
    )


@frozen(kw_only=True)
class RunConfig:
    """The configuration of a run: everything that decides the results of the run."""

    recipe: str | None = option(
        None, "the recipe this configuration started from; a record that decides nothing in a complete file"
    )
    seed: int = option(0, "seed of initialisation, batches, dropout and group elements", check=SEED)
    device: str = option("auto", "auto | cpu | cuda", check=in_(("auto", "cpu", "cuda")))
    precision: str = option("no", "no (float32) | bf16 (autocast)", check=in_(("no", "bf16")))
    zoo: ZooConfig = field(factory=ZooConfig, validator=of_its_type)
    normalise: Choice = field(validator=_fill_their_slot)
    tokenizer: Choice = field(validator=_fill_their_slot)
    layer_encoder: Choice = field(validator=_fill_their_slot)
    aggregator: Choice = field(validator=_fill_their_slot)
    head: Choice = field(validator=_fill_their_slot)
    invariance: Choice | None = field(default=None, validator=optional(_fill_their_slot))
    augmentation: tuple[Choice, ...] = option(
        (),
        "parts that change the networks of a training step, in this order",
        converter=as_tuple,
        check=_fill_their_slot,
    )
    train: TrainConfig = field(factory=TrainConfig, validator=of_its_type)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All parts with their options, in the order of the keys of this class."""
        slots: list[Choice | None] = [getattr(self, slot) for slot in SLOTS]
        return (*(choice for choice in slots if choice is not None), *self.augmentation)

    @property
    def self_supervised(self) -> bool:
        """Whether the run trains on the invariance loss alone, and so reads no property in the training."""
        return self.invariance is not None and self.train.task_weight == 0


#: The keys that name one part each. The key ``augmentation`` names any number of parts.
SLOTS = ("normalise", "tokenizer", "layer_encoder", "aggregator", "head", "invariance")

# -- data in: recipe, file, overrides ----------------------------------------------------------------------


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: the file is missing, cannot be read, or is not valid TOML.
    """
    try:
        return tomllib.loads(
            path.read_text(encoding="utf-8-sig")
        )  # some editors begin with a byte order mark
    except FileNotFoundError as error:
        raise ConfigError(f"no such configuration file: {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_set(words: Iterable[str]) -> dict[str, Any]:
    """Parse settings such as ``train.epochs=50`` into nested tables.

    A value that is not valid TOML becomes a string.

    Raises:
        ConfigError: a word is not ``KEY=VALUE``, or sets a key inside a key that an earlier word set to a
            value.
    """
    tree: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        *path, last = (step.strip() for step in key.split("."))
        if not equals or not all((*path, last)):
            raise ConfigError(f"--set takes KEY=VALUE such as train.epochs=50, but got {word!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        table = tree
        for step in path:
            table = table.setdefault(step, {})
            if not isinstance(table, dict):
                raise ConfigError(
                    f"--set {word}: an earlier --set gave {step!r} a value, so {step!r} cannot be a table"
                )
        table[last] = value
    return tree


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Override the values of the configuration ``base`` by the values of ``over``, and return the result.

    If ``over`` names another part for a slot, the options that ``base`` has for that slot are dropped.
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            if key in SLOTS and value.get("part", below.get("part")) != below.get("part"):
                below = {}
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def stands_alone(data: Mapping[str, Any]) -> bool:
    """Return whether a configuration names a part for every slot that needs a part.

    Such a configuration is used without a recipe. A missing key gets the default of its class.
    """
    tables = (data.get(slot) for slot in SLOTS if slot != "invariance")
    return all(isinstance(table, Mapping) and "part" in table for table in tables)
