"""From names to a configuration: of a recipe, a file and overrides to one value in which every part is a class.

Names of parts end here. Whatever takes a :class:`~sneframe.config.schema.RunConfig` needs no plugin to be installed.
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
        PluginError: no such plugin, recipe or part.
        ConfigError: an override that is impossible.
    """
    return compose(name, None, parse_set(words))


def use(part: type[Part] | str, /, **options: Any) -> Choice:
    """Choose a part: ``use(PadChunk, chunk_size=32)``, or ``use("head/mlp", hidden=(128,))`` for one of another plugin.

    Args:
        part: its class, which no plugin needs to offer, or its name ``PLUGIN/NAME``.
        options: options of the part; those that are left out have their defaults.

    Raises:
        ConfigError: an option that the part does not have, or a wrong value.
        PluginError: there is no such plugin or part.
        PartError: the class is no part.
    """
    found = plugins.part(part) if isinstance(part, str) else part
    if problem := fault(found):
        raise PartError(" ".join(problem.split()))
    return choose(found, options)


def encoder(name: str, networks: Batch | Zoo | Sequence[Architecture], *words: str) -> Encoder:
    """Build the untrained encoder of a recipe: an ``nn.Module`` from a :class:`~sneframe.batch.Batch` to ``(B, E)``.

    With ``torch.manual_seed(config.seed)`` in front, it begins with the weights of a run of that recipe on these training
    networks, and its normalisation has the run's constants.

    Args:
        name: ``PLUGIN/NAME``; ``PLUGIN`` alone means ``PLUGIN/default``.
        networks: the training networks, as a batch or a selection of a zoo; the normalisation is fitted to them. Or their
            architectures alone: then nothing is fitted, and the first forward warns of it, until
            ``encoder.normalise.fit(batch.blocks())`` or a state dict of a fitted encoder.
        words: overrides such as ``"layer_encoder.width=32"``.

    Raises:
        PartError: a method that cannot take these architectures.
        PluginError: no such plugin, recipe or part.
        ConfigError: an override that is impossible; something else in the place of the networks.
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
    """Return the architectures that an encoder is to be built for.

    Raises:
        ConfigError: something else, or none.
    """
    found = tuple(given) if isinstance(given, Sequence) else ()
    if found and all(isinstance(each, Architecture) for each in found):
        return found
    odd = next((each for each in found if not isinstance(each, Architecture)), given)
    raise ConfigError(
        f"an encoder is built for a Batch, a Zoo, or a list of architectures, got {type(odd).__name__}"
        f"{' of nothing' if isinstance(odd, Sequence) and not odd else ''}; sneframe.from_modules makes a batch of modules"
    )


def compose(plugin: str | None, file: Path | None, overrides: Mapping[str, Any]) -> RunConfig:
    """Lay a file and overrides over a recipe.

    Args:
        plugin: a recipe's name, or a plugin's for its default; not given: the recipe that the file names, if it is
            not complete without one.
        file: TOML, complete or not.
        overrides: laid over both.

    Raises:
        ConfigError: nothing to start from, or an impossible configuration.
        PluginError: a plugin, recipe or part that is not there.
    """
    if plugin is None and file is None:
        raise ConfigError(
            "name a recipe with --plugin, or a file with --config; `sneframe plugins --load` lists the recipes"
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
    """Return a recipe's name; a plugin's alone means its default."""
    return name if "/" in name else f"{name}/default"
