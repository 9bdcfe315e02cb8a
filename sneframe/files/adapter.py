"""Give the tensors of low-rank adapters the same names, whichever library has written them.

PEFT, diffusers and the scripts of kohya name A, B and α in their own ways, see
:mod:`sneframe.architecture.low_rank`. After the renaming, a module ``M`` has the tensors ``M.lora_A.weight``
and ``M.lora_B.weight``, and ``M.lora_scaling``, the factor s of its update s B A.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from sneframe.architecture.low_rank import PREFIX, AdapterPart, is_other_kind, part_of
from sneframe.errors import FileError, counted, one_line

CONFIG = "adapter_config.json"
LARGEST = 1e30  #: a larger α is refused
ENDS = {
    "a": "lora_A.weight",
    "b": "lora_B.weight",
    "scaling": "lora_scaling",
    "bias": "lora_B.bias",
    "magnitude": "lora_magnitude",
}
Config = Mapping[str, Any]


@frozen(kw_only=True, eq=False)
class AdapterTensors:
    """The tensors of an adapter under common names.

    Args:
        tensors: the tensors by name.
        notes: what is said about the adapter, one line each.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...]


def adapter_tensors(
    tensors: Mapping[str, Tensor], config: Callable[[], Config | None]
) -> AdapterTensors | None:
    """Return the tensors of an adapter under common names, or None if they are no adapter.

    Args:
        tensors: the tensors by name, as in the file.
        config: returns the content of ``adapter_config.json``, which holds α; None if there is none.

    Raises:
        FileError: a module has A without B, or a rank of 0, or two ranks; or the file holds parts of several
            adapters. The message does not contain the path of the file.
    """
    found = {name: part for name in tensors if (part := part_of(name)) is not None}
    if not any(part.role in ("a", "b") for part in found.values()) or is_other_kind(tensors):
        return None
    changed = {part.module for part in found.values() if part.role in ("a", "b")}
    # Other layers than those of adapters have parameters called alpha, such as activations.
    found = {
        name: part
        for name, part in found.items()
        if part.module in changed or part.module.startswith("lora_")
    }
    modules = _modules(tensors, found)
    for module, parts in modules.items():
        _check(module, parts)
    renamed = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name not in found}
    given = config()
    if given is not None:
        _check_ranks(modules, given)
    unknown = False
    for module, parts in modules.items():
        scaling = _scaling(module, parts, given)
        unknown |= scaling is None
        parts["scaling"] = torch.tensor(1.0 if scaling is None else scaling)
        renamed |= {f"{module}.{end}": parts[role] for role, end in ENDS.items() if role in parts}
    return AdapterTensors(tensors=renamed, notes=_notes(modules, given, unknown=unknown))


def _modules(tensors: Mapping[str, Tensor], found: Mapping[str, AdapterPart]) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of each module by role."""
    adapters = sorted({part.adapter for part in found.values() if part.adapter is not None})
    if len(adapters) > 1:
        raise FileError(f"holds {len(adapters)} adapters, {', '.join(adapters)}; save one of them alone")
    modules: dict[str, dict[str, Tensor]] = {}
    for name, part in found.items():
        parts = modules.setdefault(part.module, {})
        if part.role in parts:
            raise FileError(f"holds {part.role.upper()} of {part.module!r} twice, the second as {name!r}")
        parts[part.role] = tensors[name]
    return modules


def _check(module: str, parts: Mapping[str, Tensor]) -> None:
    """Check that the parts of a module belong together.

    Raises:
        FileError: they do not.
    """
    if lacking := [role.upper() for role in ("a", "b") if role not in parts]:
        have = ", ".join(role.upper() if role in ("a", "b") else role for role in parts)
        raise FileError(f"the adapter of {module!r} has {have}, but no {' and no '.join(lacking)}")
    a, b = parts["a"], parts["b"]
    shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
    if a.ndim < 2 or b.ndim < 2:
        raise FileError(f"the adapter of {module!r}: A and B must be matrices, but their shapes are {shapes}")
    if a.shape[0] != b.shape[1]:
        ranks = f"A has rank {a.shape[0]}, but B has rank {b.shape[1]}"
        raise FileError(f"the adapter of {module!r}: {ranks}; their shapes are {shapes}")
    if not a.shape[0]:
        raise FileError(f"the adapter of {module!r} has rank 0")
    if math.prod(b.shape[2:]) != 1:
        raise FileError(f"the adapter of {module!r}: B must have kernels of size 1; the shapes are {shapes}")


def _check_ranks(modules: Mapping[str, Mapping[str, Tensor]], config: Config) -> None:
    """Check that the ranks are those that the config says.

    Raises:
        FileError: they are not, as where several experts lie in one tensor.
    """
    for module, parts in modules.items():
        said = _of_module(module, config, "r", "rank_pattern")
        if said is not None and said != parts["a"].shape[0]:
            raise FileError(
                f"the adapter of {module!r} has rank {parts['a'].shape[0]}, but {CONFIG} says {said!r}"
            )


def _of_module(module: str, config: Config, key: str, patterns: str) -> Any:
    """Return a setting of a module: the value of the first pattern that matches its name, or that of all.

    Raises:
        FileError: the patterns are no mapping, or one is no regular expression.
    """
    known = config.get(patterns) or {}
    if not isinstance(known, Mapping):
        raise FileError(f"{CONFIG}: {patterns} must be a mapping, but got {type(known).__name__}")
    for pattern, value in known.items():
        try:
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                return value
        except (re.error, RecursionError, OverflowError) as error:
            raise FileError(f"{CONFIG}: {patterns} has the wrong pattern {pattern!r}") from error
    return config.get(key)


def _scaling(module: str, parts: Mapping[str, Tensor], config: Config | None) -> float | None:
    """Return the scaling of a module; None if it is not known."""
    rank = parts["a"].shape[0]
    for role, divisor in (("scaling", 1), ("alpha", rank)):
        if role in parts:
            if parts[role].numel() != 1:
                shape = tuple(parts[role].shape)
                raise FileError(
                    f"the adapter of {module!r}: {role} must be one number, but is of shape {shape}"
                )
            return float(parts[role]) / divisor
    if config is None:
        # The scripts of kohya leave out an α that equals the rank.
        return 1.0 if module.startswith("lora_") else None
    alpha = _of_module(module, config, "lora_alpha", "alpha_pattern")
    usable = isinstance(alpha, int | float) and not isinstance(alpha, bool) and abs(alpha) < LARGEST
    if not usable:
        raise FileError(f"{CONFIG}: lora_alpha must be a number, but got {repr(alpha)[:40]}")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _notes(
    modules: Mapping[str, Mapping[str, Tensor]], config: Config | None, *, unknown: bool
) -> tuple[str, ...]:
    ranks = sorted({parts["a"].shape[0] for parts in modules.values()})
    base = (config or {}).get("base_model_name_or_path")
    of = f" of {base}" if isinstance(base, str) and base else ""
    word = "ranks" if len(ranks) > 1 else "rank"
    note = f"a low-rank adapter{of}: {counted(len(modules), 'module')}, {word} {', '.join(map(str, ranks))}"
    assumed = f"there is no {CONFIG}, so alpha is not known, and each update B A is taken with the factor 1"
    return (note, assumed) if unknown else (note,)


def adapter_config(path: Path) -> Config | None:
    """Return the content of ``adapter_config.json`` beside the file of an adapter, or None without one.

    Args:
        path: the file of the network, or its folder.

    Raises:
        FileError: the file is no JSON object.
    """
    file = (path if path.is_dir() else path.parent) / CONFIG
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{CONFIG} cannot be read: {one_line(error)}") from error
    if not isinstance(found, dict):
        raise FileError(f"{CONFIG} must hold a JSON object, but holds {type(found).__name__}")
    return found
