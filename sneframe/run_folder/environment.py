"""``environment.json`` records the versions, the plugins, the device and the zoo that a run used."""

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
        distribution: the installed package that the plugin belongs to.
        version: version of that package.
    """

    distribution: str
    version: str


@frozen(kw_only=True)
class UsedZoo:
    """The zoo that a run used.

    Args:
        name: name of the zoo.
        path: path of the zoo when the run started.
        digest: hash of the content of the zoo.
        networks: number of networks in the zoo.
        architectures: the summary of each architecture, by architecture id.
        symmetry: number of networks by the origin of their symmetry. Empty if the run did not record origins.
    """

    name: str
    path: str
    digest: str
    networks: int
    architectures: Mapping[str, str]
    symmetry: Mapping[str, int] = field(factory=dict)


@frozen(kw_only=True)
class Environment:
    """The software, the machine and the zoo of a run.

    Args:
        sneframe: version of sneframe.
        python: version of Python.
        platform: operating system and machine.
        packages: the version of each package that can change the results, by package name.
        plugins: the plugins that the run used, by plugin name.
        device: ``cpu``, or a GPU such as ``cuda``.
        precision: ``no`` (float32) or ``bf16``.
        processes: number of processes.
        threads: number of threads in each process.
        zoo: the zoo of the run.
        recipe: ``PLUGIN/NAME`` of the recipe that the configuration started from, or None.
        started: date and time of the start, ISO 8601.
        unregistered: ``MODULE:CLASS`` of each part that no plugin offers, by the name of the part. Such parts
            can come from a notebook.
        resumed: the environment of each later session that resumed the run.
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
    """Return the environment of this session.

    Raises:
        PluginError: a part that no plugin offers has the same name as a part of a plugin.
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
