"""``environment.json``: what a run ran on, as versions, plugins, device and zoo."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from importlib import metadata

import torch
from accelerate import Accelerator
from attrs import field, frozen
from cattrs.gen import make_dict_unstructure_fn, override

import sneframe
from sneframe import plugins
from sneframe.config.schema import RunConfig
from sneframe.run_folder.json_files import CONVERTER
from sneframe.zoo import Zoo

PACKAGES = ("torch", "numpy", "zarr", "accelerate", "scikit-learn", "scipy", "safetensors", "attrs", "cattrs")


@frozen(kw_only=True)
class UsedPlugin:
    """A plugin that a run used.

    Args:
        distribution: the installed package that brings it.
        version: of that package.
    """

    distribution: str
    version: str


@frozen(kw_only=True)
class UsedZoo:
    """The zoo of a run.

    Args:
        name: its own name.
        path: where it lay.
        digest: of its content.
        networks: how many it holds.
        architectures: the summary of each architecture, by its id.
        symmetry: how many networks have a symmetry of each origin; empty for a run that did not write it
            down.
    """

    name: str
    path: str
    digest: str
    networks: int
    architectures: Mapping[str, str]
    symmetry: Mapping[str, int] = field(factory=dict)


@frozen(kw_only=True)
class Environment:
    """What a run ran on.

    Args:
        sneframe: its version.
        python: its version.
        platform: operating system and machine.
        packages: the version of each package that decides numbers.
        plugins: that the run used, by name.
        device: ``cpu`` or a GPU.
        precision: ``no`` (float32) or ``bf16``.
        processes: how many took part.
        threads: of each process.
        zoo: of the run.
        recipe: ``PLUGIN/NAME``, or None for a configuration that started from none.
        started: date and time, ISO 8601.
        unregistered: ``MODULE:CLASS`` of each part that no plugin offers, such as those of a notebook, by its
            name.
        resumed: the same record for each later session that resumed the run.
    """

    sneframe: str
    python: str
    platform: str
    packages: Mapping[str, str]
    plugins: Mapping[str, UsedPlugin]
    device: str
    precision: str
    processes: int
    threads: int
    zoo: UsedZoo
    recipe: str | None
    started: str
    unregistered: Mapping[str, str] = field(factory=dict)
    resumed: tuple[Environment, ...] = ()


CONVERTER.register_unstructure_hook(
    Environment,
    make_dict_unstructure_fn(
        Environment,
        CONVERTER,
        unregistered=override(omit_if_default=True),
        resumed=override(omit_if_default=True),
    ),
)


def describe(zoo: Zoo, config: RunConfig, accelerator: Accelerator) -> Environment:
    """Return what this run runs on.

    Raises:
        PluginError: a part that no plugin offers has the name of one that a plugin offers.
    """
    known = plugins.installed()
    unregistered = plugins.unregistered(choice.part for choice in config.choices)
    used = {choice.plugin for choice in config.choices if choice.part.name not in unregistered}
    return Environment(
        sneframe=sneframe.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: metadata.version(name) for name in PACKAGES},
        plugins={
            name: UsedPlugin(distribution=known[name].distribution, version=known[name].version)
            for name in sorted(used)
        },
        device=str(accelerator.device),
        precision=config.precision,
        processes=accelerator.num_processes,
        threads=torch.get_num_threads(),
        zoo=UsedZoo(
            name=zoo.name,
            path=str(zoo.path),
            digest=zoo.digest,
            networks=len(zoo),
            architectures={architecture.id: architecture.summary for architecture in zoo.architectures},
            symmetry=zoo.symmetry,
        ),
        recipe=config.recipe,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        unregistered=unregistered,
    )
