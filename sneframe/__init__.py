"""zoo → batch → normalise → tokenizer → layer encoder → aggregator → head → loss, metrics → report."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sneframe.architecture import Architecture
    from sneframe.batch import Batch, from_state_dicts
    from sneframe.describe import from_modules
    from sneframe.hookspecs import hookimpl
    from sneframe.predictor import load
    from sneframe.recipe import encoder, recipe
    from sneframe.run import run
    from sneframe.zoo import open_zoo

__all__ = [
    "Architecture",
    "Batch",
    "__version__",
    "encoder",
    "from_modules",
    "from_state_dicts",
    "hookimpl",
    "load",
    "open_zoo",
    "recipe",
    "run",
]

# Public names are imported when they are first used: the command line's --help need not wait for torch.
_HOMES = {
    "Architecture": "sneframe.architecture",
    "Batch": "sneframe.batch",
    "encoder": "sneframe.recipe",
    "from_modules": "sneframe.describe",
    "from_state_dicts": "sneframe.batch",
    "hookimpl": "sneframe.hookspecs",
    "load": "sneframe.predictor",
    "open_zoo": "sneframe.zoo",
    "recipe": "sneframe.recipe",
    "run": "sneframe.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sneframe' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


class _Package(ModuleType):
    """Keeps ``sneframe.run`` the function, also after its module of the same name was imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name) == value.__name__:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
