"""Build a run configuration from a recipe, a file and overrides, and replace names of parts by their classes.

A :class:`~sneframe.config.schema.RunConfig` holds these classes, so code that takes one looks up no plugin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.batch import Batch
from sneframe.config.schema import NONE, Choice, RunConfig, merge, parse_set, read_toml, stands_alone
from sneframe.config.structure import choose, structure, unstructure
from sneframe.errors import ConfigError, PartError
from sneframe.model import Encoder, build_encoder
from sneframe.parts.part import Part, fault
from sneframe.zoo import Zoo


def recipe(name: str, *words: str) -> RunConfig:
    """Return the configuration of a recipe.

    Args:
        name: ``PLUGIN/NAME``; ``PLUGIN`` alone means ``PLUGIN/default``.
        words: overrides such as ``"train.epochs=50"``.

    Raises:
        PluginError: there is no such plugin, recipe or part.
        ConfigError: an override is wrong.
    """
    return compose(name, None, parse_set(words))


def use(part: type[Part] | str, /, **options: Any) -> Choice:
    """Choose a part by class, ``use(PadChunk, chunk_size=32)``, or by name, ``use("head/mlp", hidden=(8,))``.

    Args:
        part: a class, or the name ``PLUGIN/NAME`` of a part of any plugin. The class need not belong to a
            plugin.
        options: options of the part. An option that is left out has its default.

    Raises:
        ConfigError: the part has no such option, or the value is wrong.
        PluginError: there is no such plugin or part.
        PartError: the class is no complete part.
    """
    found = plugins.part(part) if isinstance(part, str) else part
    if problem := fault(found):
        raise PartError(" ".join(problem.split()))
    return choose(found, options)


def encoder(name: str, networks: Batch | Zoo | Sequence[Architecture], *words: str) -> Encoder:
    """Build the untrained encoder of a recipe: a module that maps a batch to embeddings ``(B, E)``.

    If you call ``torch.manual_seed(config.seed)`` first, the encoder starts with the same weights as a run of
    that recipe on these training networks, and its normalisation has the same constants.

    Args:
        name: ``PLUGIN/NAME``; ``PLUGIN`` alone means ``PLUGIN/default``.
        networks: the training networks, as a batch or a zoo, or only their architectures. The normalisation
            is fitted to a batch or a zoo. With architectures nothing is fitted. The first forward pass then
            warns, unless ``encoder.normalise.fit(batch.blocks())`` was called or the state dict of a fitted
            encoder was loaded.
        words: overrides such as ``"layer_encoder.width=32"``.

    Raises:
        PartError: the method cannot take these architectures.
        PluginError: there is no such plugin, recipe or part.
        ConfigError: an override is wrong, or ``networks`` is something else.
    """
    if isinstance(networks, Zoo):
        networks = networks.load()
    if isinstance(networks, Batch) and not len(networks):
        raise ConfigError("an encoder needs a batch or a zoo with at least one network, but got none")
    architectures = networks.architectures if isinstance(networks, Batch) else _architectures(networks)
    built = build_encoder(recipe(name, *words), architectures)
    if isinstance(networks, Batch):
        with plugins.Blamed(built.normalise):
            built.normalise.fit(networks.blocks())
    return built


def _architectures(given: object) -> tuple[Architecture, ...]:
    """Check that ``given`` is a list of architectures, and return the list as a tuple.

    Raises:
        ConfigError: ``given`` is something else, or an empty list.
    """
    found = tuple(given) if isinstance(given, Sequence) else ()
    if found and all(isinstance(each, Architecture) for each in found):
        return found
    odd = next((each for each in found if not isinstance(each, Architecture)), given)
    raise ConfigError(
        f"an encoder is built for a Batch, a Zoo, or a list of architectures, but got "
        f"{'an empty ' if isinstance(odd, Sequence) and not odd else ''}{type(odd).__name__}; "
        f"sneframe.from_modules makes a batch of modules"
    )


def compose(plugin: str | None, file: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """Build a configuration from a recipe, a file that changes the recipe, and overrides that change both.

    Args:
        plugin: name of a recipe, or of a plugin for the default recipe of that plugin. If None, the file is
            complete or names a recipe.
        file: a TOML file. A file with a recipe may leave out keys.
        overrides: values that replace those of the recipe and of the file.

    Raises:
        ConfigError: neither a recipe nor a file is given, or the configuration is wrong.
        PluginError: there is no such plugin or recipe.
    """
    if plugin is None and file is None:
        raise ConfigError(
            "name a recipe with --plugin, or a file with --config; "
            "`sneframe plugins --load` lists the recipes"
        )
    data: dict[str, Any] = read_toml(file) if file is not None else {}
    name = plugin
    if name is None and not stands_alone(data):
        name = data.get("recipe", NONE)
        if not isinstance(name, str):
            raise ConfigError(f"recipe: must be a string, but got {name!r}")
    if name is not None and name != NONE:
        name = _whole(name)
        start = unstructure(plugins.load([name.partition("/")[0]]).recipe(name)())
        given = data.get("recipe", NONE)
        if isinstance(given, str) and given != NONE and _whole(given) != name:
            raise ConfigError(
                f"--plugin names the recipe {name!r}, but {file} names {given!r}; leave out one of them"
            )
        data = merge(start, {**data, "recipe": name})
    return structure(merge(data, overrides), plugins.part)


def _whole(name: str) -> str:
    """Return the full name of a recipe. The name of a plugin means the default recipe of that plugin."""
    return name if "/" in name else f"{name}/default"
