"""Encode the weights of trained networks, and predict properties from them.

zoo → batch → normalise → tokenizer → layer encoder → aggregator → head → loss, metrics → report
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sneframe._version import __version__

if TYPE_CHECKING:
    from sneframe.adaptation.adapt import adapt
    from sneframe.architecture import Architecture
    from sneframe.batch import Batch, from_state_dicts
    from sneframe.compose import encoder, recipe, use
    from sneframe.hookspecs import hookimpl
    from sneframe.inspection.difference import difference
    from sneframe.inspection.network import inspect
    from sneframe.predict.predictor import load
    from sneframe.symmetry.describe import from_modules
    from sneframe.train.run import run
    from sneframe.zoo import open_zoo

__all__ = [
    "Architecture",
    "Batch",
    "__version__",
    "adapt",
    "difference",
    "encoder",
    "from_modules",
    "from_state_dicts",
    "hookimpl",
    "inspect",
    "load",
    "open_zoo",
    "recipe",
    "run",
    "use",
]

# Public names are imported when they are first used, so that --help does not wait for torch.
_HOMES = {
    "Architecture": "sneframe.architecture",
    "Batch": "sneframe.batch",
    "adapt": "sneframe.adaptation.adapt",
    "difference": "sneframe.inspection.difference",
    "encoder": "sneframe.compose",
    "from_modules": "sneframe.symmetry.describe",
    "from_state_dicts": "sneframe.batch",
    "hookimpl": "sneframe.hookspecs",
    "inspect": "sneframe.inspection.network",
    "load": "sneframe.predict.predictor",
    "open_zoo": "sneframe.zoo",
    "recipe": "sneframe.compose",
    "run": "sneframe.train.run",
    "use": "sneframe.compose",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sneframe' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
