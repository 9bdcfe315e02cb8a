"""The configuration of a run: attrs classes, and the one strict converter between them and TOML.

A recipe returns a whole :class:`RunConfig`; a TOML file and ``--set KEY=VALUE`` override it. Strings end here:
inside, a part is its class and its options are an instance of its own ``Config``. TOML has no null: None is the
string ``"none"`` there, so that a configuration written out says everything.
"""

from __future__ import annotations

import functools
import operator
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs
import tomli_w
from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, le, optional
from cattrs.errors import (
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)

from sneframe.checks import SEED, SHARE, finite
from sneframe.errors import ConfigError, choices
from sneframe.toml import inline

if TYPE_CHECKING:
    from sneframe.part import Part
    from sneframe.plugins import Registry

NONE = "none"  #: what None is in TOML, in JSON and in ``--set``


def option(default: Any = attrs.NOTHING, help: str = "", *, check: Any = None, converter: Any = None) -> Any:  # noqa: A002
    """Return an attrs field with a one-line help text, shown by ``sneframe config``."""
    return field(default=default, validator=check, converter=converter, metadata={"help": help})


@frozen(kw_only=True)
class Choice:
    """A part and its options.

    Args:
        part: its name, ``PLUGIN/NAME``.
        config: an instance of that part's ``Config``; in a recipe, for a part of another plugin, a mapping of options
            that becomes one when the recipe is structured.
    """

    part: str
    config: Any


def use(part: type[Part] | str, **options: Any) -> Choice:
    """Choose a part in a recipe: ``use(PadChunk, chunk_size=32)``, ``use("head/mlp", hidden=(128,))``."""
    if isinstance(part, str):
        return Choice(part=part, config=options)
    return Choice(part=part.name, config=part.Config(**options))


@frozen(kw_only=True)
class ZooConfig:
    """Which networks, and what to predict of them."""

    path: str | None = option(None, "folder of the zoo; none: the demo zoo, built once and cached")
    property: str | None = option(None, "the property to predict; none: the zoo's first float property")
    where: str | None = option(None, "an expression that selects networks, such as 'step == 86'; none: all")
    split: str = option("random", "'random', by group and split_seed, or the name of a stored split")
    sizes: tuple[float, ...] = option(
        (0.7, 0.15, 0.15),
        "train, validation and test: fractions, or counts of networks",
        converter=tuple,
        check=deep_iterable(finite),
    )
    split_seed: int = option(
        0, "seed of the random split; apart from the seed of the run, so that seeds share a split", check=SEED
    )
    train_fraction: float = option(1.0, "of the training networks, by group and split_seed", check=SHARE)


@frozen(kw_only=True)
class TrainConfig:
    """How the model is trained."""

    epochs: int = option(30, "passes over the training networks", check=ge(0))
    batch_size: int = option(64, "networks a step, over all processes", check=ge(1))
    lr: float = option(1e-3, "highest learning rate", check=gt(0))
    schedule: str = option("one-cycle", "one-cycle | constant", check=in_(("one-cycle", "constant")))
    warmup: float = option(
        0.1, "fraction of the steps over which the learning rate rises", check=and_(ge(0), le(1))
    )
    weight_decay: float = option(0.01, "of AdamW", check=ge(0))
    clip: float | None = option(1.0, "largest norm of the gradient; none: any", check=optional(gt(0)))
    task_weight: float = option(1.0, "of the task loss; 0 trains on the invariance loss alone", check=ge(0))
    select: str = option(
        "mse", "mse | tau: the validation metric that picks the best epoch", check=in_(("mse", "tau"))
    )
    patience: int | None = option(
        None, "stop after this many epochs without a better one; none: never", check=optional(ge(1))
    )
    budget: float | None = option(None, "seconds of training, at most; none: any", check=optional(gt(0)))


@frozen(kw_only=True)
class RunConfig:
    """Everything that decides a run's numbers."""

    recipe: str | None = option(
        None, "the recipe this configuration started from; where it is complete a record, it decides nothing"
    )
    seed: int = option(0, "of initialisation, batches, dropout and group elements", check=SEED)
    device: str = option("auto", "auto | cpu | cuda", check=in_(("auto", "cpu", "cuda")))
    precision: str = option("no", "no (float32) | bf16 (autocast)", check=in_(("no", "bf16")))
    zoo: ZooConfig = field(factory=ZooConfig)
    normalise: Choice
    tokenizer: Choice
    layer_encoder: Choice
    aggregator: Choice
    head: Choice
    invariance: Choice | None = None
    train: TrainConfig = field(factory=TrainConfig)


SLOTS = ("normalise", "tokenizer", "layer_encoder", "aggregator", "head", "invariance")

# -- data in: recipe, file, overrides -------------------------------------------------------------------------


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: it is missing or not TOML.
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
    """Read ``train.epochs=50`` words; a value is TOML, or else a plain string.

    Raises:
        ConfigError: a word without ``=``, or a key set twice over, once as a table and once as a value.
    """
    tree: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        *path, last = (step.strip() for step in key.split("."))
        if not equals or not all((*path, last)):
            raise ConfigError(f"--set takes KEY=VALUE such as train.epochs=50, got {word!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        table = tree
        for step in path:
            table = table.setdefault(step, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {word}: {step!r} was set to a value before")
        table[last] = value
    return tree


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one configuration over another; naming another part drops the options of the one it replaces."""
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
    """Return whether a configuration names a part for every slot that must have one.

    Such a one is complete: nothing is laid under it, and a key that it lacks has the default of its class.
    """
    tables = (data.get(slot) for slot in SLOTS if slot != "invariance")
    return all(isinstance(table, Mapping) and "part" in table for table in tables)


def plugins_named(data: Mapping[str, Any]) -> set[str]:
    """Return the names of the plugins whose parts a configuration names."""
    tables = (data.get(slot) for slot in SLOTS)
    parts = (table.get("part") for table in tables if isinstance(table, Mapping))
    return {part.partition("/")[0] for part in parts if isinstance(part, str) and part != NONE}


def structure(data: Mapping[str, Any], registry: Registry) -> RunConfig:
    """Check a configuration and return it as a value.

    Raises:
        ConfigError: one line that says where, what was got, and what could be.
    """
    for slot in SLOTS:
        if slot != "invariance" and slot not in data:
            raise ConfigError(f"the configuration names no {slot}; start from a recipe, e.g. --plugin sne")
    try:
        return _converter(registry).structure(data, RunConfig)
    except BaseValidationError as error:
        raise ConfigError(_first_line(error, "")) from error


def unstructure(config: RunConfig) -> dict[str, Any]:
    """Return a configuration as plain data, complete: :func:`structure` makes the same one of it.

    Raises:
        ConfigError: a value that may be None is the word for it.
    """
    plain: dict[str, Any] = _plain(config)
    return plain | {"invariance": plain["invariance"] if config.invariance else {"part": NONE}}


def to_toml(config: RunConfig) -> str:
    """Return the complete configuration as TOML."""
    return tomli_w.dumps(unstructure(config))


def to_commented_toml(config: RunConfig) -> str:
    """Return the complete configuration as TOML in which every key is explained."""
    plain = unstructure(config)
    tables = [attribute for attribute in attrs.fields(RunConfig) if isinstance(plain[attribute.name], dict)]
    lines = [
        line
        for attribute in attrs.fields(RunConfig)
        if attribute not in tables
        for line in _commented(attribute, plain[attribute.name])
    ]
    for table in tables:
        value, shown = getattr(config, table.name), plain[table.name]
        lines += ["", f"[{table.name}]"]
        if table.name in SLOTS:
            lines.append(tomli_w.dumps({"part": shown["part"]}).rstrip())
            value = value.config if value else None
        if value is not None:
            lines += [
                line for each in attrs.fields(type(value)) for line in _commented(each, shown[each.name])
            ]
    return "\n".join(lines) + "\n"


def _commented(attribute: attrs.Attribute[Any], shown: Any) -> list[str]:
    help_text = attribute.metadata.get("help", "")
    return [f"# {help_text}"] * bool(help_text) + [f"{attribute.name} = {inline(shown)}"]


def _plain(value: Any) -> Any:
    if value is None:
        return NONE
    if isinstance(value, Choice):
        return {"part": value.part, **_plain(value.config)}
    if attrs.has(type(value)):
        found = {attribute.name: getattr(value, attribute.name) for attribute in attrs.fields(type(value))}
        for name in (name for name, item in found.items() if item == NONE):
            if _may_be_none(get_type_hints(type(value))[name]):
                raise ConfigError(f"{name}: {NONE!r} is the word for no value, it cannot be one")
        value = found
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


# -- the strict converter: cattrs by default drops typos, turns 3.7 into 3 and "64" into 64 --------------------


def _converter(registry: Registry) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, words in ((bool, "true or false"), (str, "a string")):
        converter.register_structure_hook(kind, _exactly(kind, words))
    converter.register_structure_hook(int, _exactly(int, "a whole number"))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(_is_tuple, _tuple(converter))
    converter.register_structure_hook_func(_is_literal, _literal)
    converter.register_structure_hook_func(_may_be_none, _optional(converter))
    converter.register_structure_hook_func(attrs.has, _table(converter))

    def choice(data: Any, _: Any) -> Choice:
        if not isinstance(data, Mapping) or not isinstance(data.get("part"), str):
            raise TypeError(f"must be a table with part = 'PLUGIN/NAME', got {data!r}")
        part = registry.part(data["part"])
        options = {key: value for key, value in data.items() if key != "part"}
        return Choice(part=part.name, config=converter.structure(options, part.Config))

    def choice_or_none(data: Any, kind: Any) -> Choice | None:
        if not isinstance(data, Mapping):
            raise TypeError(f"must be a table with part = 'PLUGIN/NAME' or {NONE!r}, got {data!r}")
        if data.get("part") != NONE:
            return choice(data, kind)
        if options := sorted(set(data) - {"part"}):
            raise TypeError(f"part = {NONE!r} has no options, got {options[0]!r}; name a part too")
        return None

    converter.register_structure_hook(Choice, choice)
    converter.register_structure_hook_func(lambda kind: kind == Choice | None, choice_or_none)
    return converter


def _exactly(kind: type, words: str) -> Any:
    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"must be {words}, got {value!r}")
        return value

    return check


def _may_be_none(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def _optional(converter: cattrs.Converter) -> Any:
    def check(value: Any, kind: Any) -> Any:
        if isinstance(value, str) and value == NONE:
            return None
        inner = functools.reduce(operator.or_, (each for each in get_args(kind) if each is not NoneType))
        try:
            return converter.structure(value, inner)
        except TypeError as error:
            raise TypeError(f"{error} (no value: {NONE!r})") from error

    return check


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"must be a number, got {value!r}")
    return float(value)


def _tuple(converter: cattrs.Converter) -> Any:
    def check(value: Any, kind: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError(f"must be a list, got {value!r}")
        return tuple(converter.structure(item, get_args(kind)[0]) for item in value)

    return check


def _table(converter: cattrs.Converter) -> Any:
    def check(value: Any, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a table, got {value!r}")
        return converter.gen_structure_attrs_fromdict(kind)(value, kind)

    return check


def _literal(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise TypeError(f"must be one of {', '.join(map(repr, get_args(kind)))}, got {value!r}")
    return value


def _first_line(error: BaseException, path: str) -> str:
    """Walk down cattrs' tree of errors to the first leaf, and say it in one line with its path."""
    if isinstance(error, ClassValidationError):
        inner = error.exceptions[0]
        notes = [note for note in getattr(inner, "__notes__", ()) if hasattr(note, "name")]
        name = notes[-1].name if notes else ""
        return _first_line(inner, f"{path}.{name}".strip(".") if name else path)
    if isinstance(error, IterableValidationError):
        return _first_line(error.exceptions[0], path)
    if isinstance(error, ForbiddenExtraKeysError):
        key = sorted(error.extra_fields)[0]
        known = [attribute.name for attribute in attrs.fields(error.cl)]
        where = f"{path}.{key}".strip(".")
        return f"unknown key {where!r}, {choices(key, known)}"
    if isinstance(error, KeyError):
        return f"{path or 'the configuration'}: {error.args[0]!r} is missing"
    # attrs' validators put the sentence first and the objects it speaks of behind it.
    said = error.args[0] if error.args and isinstance(error.args[0], str) else error
    return f"{path}: {said}".removeprefix(": ")
