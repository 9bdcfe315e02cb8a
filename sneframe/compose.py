"""Build a run configuration from a recipe, a file and overrides, and replace names of parts by their classes.

Code that takes a :class:`~sneframe.config.schema.RunConfig` looks up no plugin.
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
        part: the class, which no plugin needs to offer, or the name ``PLUGIN/NAME`` of a part of any plugin.
        options: options of the part; those that are left out have their defaults.

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
    """Build the untrained encoder of a recipe, a module from :class:`~sneframe.batch.Batch` to ``(B, E)``.

    If you call ``torch.manual_seed(config.seed)`` first, the encoder starts with the same weights as a run of
    that recipe on these training networks, and its normalisation has the same constants.

    Args:
        name: ``PLUGIN/NAME``; ``PLUGIN`` alone means ``PLUGIN/default``.
        networks: the training networks, as a batch or a zoo, or only their architectures. The normalisation
            is fitted to networks. With architectures nothing is fitted, and the first forward pass warns,
            unless ``encoder.normalise.fit(batch.blocks())`` was called or the state dict of a fitted encoder
            was loaded.
        words: overrides such as ``"layer_encoder.width=32"``.

    Raises:
        PartError: the method cannot take these architectures.
        PluginError: there is no such plugin, recipe or part.
        ConfigError: an override is wrong, or ``networks`` is something else.
    """
    if isinstance(networks, Zoo):
        networks = networks.load()
    if isinstance(networks, Batch) and not len(networks):
        raise ConfigError("an encoder is built for the networks of a batch or a zoo, and these hold none")
    architectures = networks.architectures if isinstance(networks, Batch) else _architectures(networks)
    built = build_encoder(recipe(name, *words), architectures)
    if isinstance(networks, Batch):
        with plugins.Blamed(built.normalise):
            built.normalise.fit(networks.blocks())
    return built


def _architectures(given: object) -> tuple[Architecture, ...]:
    """Return the given architectures.

    Raises:
        ConfigError: something else was given, or an empty list.
    """
    found = tuple(given) if isinstance(given, Sequence) else ()
    if found and all(isinstance(each, Architecture) for each in found):
        return found
    odd = next((each for each in found if not isinstance(each, Architecture)), given)
    raise ConfigError(
        f"an encoder is built for a Batch, a Zoo, or a list of architectures, got {type(odd).__name__}"
        f"{' of nothing' if isinstance(odd, Sequence) and not odd else ''}; "
        f"sneframe.from_modules makes a batch of modules"
    )


def compose(plugin: str | None, file: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """Build a configuration from a recipe, a file that changes the recipe, and overrides that change both.

    Args:
        plugin: name of a recipe, or of a plugin for its default recipe. If not given, an incomplete file
            names the recipe itself.
        file: a TOML file, complete or not.
        overrides: values that are laid over both.

    Raises:
        ConfigError: there is nothing to start from, or the configuration is wrong.
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
            raise ConfigError(f"recipe: must be a string, got {name!r}")
    if name is not None and name != NONE:
        name = _whole(name)
        start = unstructure(plugins.load([name.partition("/")[0]]).recipe(name)())
        given = data.get("recipe", NONE)
        if isinstance(given, str) and given != NONE and _whole(given) != name:
            raise ConfigError(
                f"--plugin names the recipe {name!r}, {file} the recipe {given!r}; leave out one of them"
            )
        data = merge(start, {**data, "recipe": name})
    return structure(merge(data, overrides), plugins.part)


def _whole(name: str) -> str:
    """Return the name of a recipe; the name of a plugin means its default recipe."""
    return name if "/" in name else f"{name}/default"
