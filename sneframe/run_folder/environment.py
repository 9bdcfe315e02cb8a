"""What a run ran on: versions, plugins, device, zoo."""

from __future__ import annotations

import datetime
import platform
from importlib import metadata
from typing import Any

import torch
from accelerate import Accelerator

import sneframe
from sneframe.config.schema import RunConfig
from sneframe.plugins import Registry
from sneframe.zoo import Zoo

PACKAGES = ("torch", "numpy", "zarr", "accelerate", "scikit-learn", "scipy", "safetensors", "attrs", "cattrs")


def describe(registry: Registry, zoo: Zoo, config: RunConfig, accelerator: Accelerator) -> dict[str, Any]:
    """Return the content of ``environment.json``."""
    return {
        "sneframe": sneframe.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "plugins": {
            name: {"distribution": plugin.distribution, "version": plugin.version}
            for name, plugin in registry.plugins.items()
        },
        "device": str(accelerator.device),
        "precision": config.precision,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "zoo": {
            "name": zoo.name,
            "path": str(zoo.path),
            "digest": zoo.digest,
            "networks": len(zoo),
            "architectures": {architecture.id: architecture.summary for architecture in zoo.architectures},
            "symmetry": zoo.symmetry,
        },
        "recipe": config.recipe,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
