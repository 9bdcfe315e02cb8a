"""Flatten nested values, such as those of a configuration file or of a checkpoint, to properties."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from sneframe.errors import FileError, ZooError
from sneframe.zoo.format import RESERVED, VALID, check_name
from sneframe_importers.table import GROUP, SPLIT

LONGEST = 200  #: the largest number of characters of a text that is a property
DEEPEST = 16  #: levels of nested mappings
MOST = 1000  #: the largest number of properties of one network from one source
NODES = 10**5  #: the largest number of values in one source, with those that do not become properties
#: Names that a property must not have, because a zoo, a table or an export has columns of these names.
TAKEN = frozenset({*RESERVED, GROUP, SPLIT, "source"})
#: Keys whose values are the state of a trainer: Lightning's counters of loops, and its callbacks.
TRAINER = ("loops", "callbacks")


@frozen(kw_only=True, eq=False)
class CheckpointValues:
    """Selects the values of a checkpoint that are neither weights nor the state of a trainer.

    Args:
        weights: the tensors of the network.
    """

    weights: Collection[Tensor]

    def number(self, value: Any) -> bool | int | float | None:
        """Return the number in a tensor with one element, or None for any other value."""
        if not isinstance(value, Tensor) or value.is_meta or value.layout != torch.strided:
            return None
        if value.numel() != 1 or value.is_complex() or value.is_quantized:
            return None
        return None if any(value is weight for weight in self.weights) else value.item()

    def beside(self, values: Mapping[Any, Any], *, nested: bool) -> Iterator[tuple[Any, Any]]:
        """Yield the items of a mapping without its weights, its private keys and the state of a trainer."""
        held = _holds_weights(values)
        for key, value in values.items():
            if held and isinstance(value, Tensor):
                continue
            if isinstance(value, Mapping) and (_holds_weights(value) or _is_state(value)):
                continue
            if not str(key).startswith("_") and (nested or key not in TRAINER):
                yield key, value


def flattened(
    values: Mapping[Any, Any],
    where: str,
    checkpoint: CheckpointValues | None = None,
    *,
    large_ints: bool = False,
) -> dict[str, Any]:
    """Return the numbers, texts and booleans in nested mappings, by keys that are joined with dots.

    Lists, long texts and all other values are left out, and so are names that no column can have. Values that
    are not finite become None, which is a missing value.

    In a checkpoint, state dicts, states of optimisers and schedulers, and keys that begin with an underscore
    are left out. A tensor with one element is a number, unless its mapping holds larger tensors, which are
    weights.

    Args:
        values: the nested mapping.
        where: the name of the source, for errors.
        checkpoint: selects the values, if the mapping is a checkpoint; otherwise None.
        large_ints: whether ints beyond 64 bits stay ints; otherwise they become texts.

    Raises:
        FileError: there are too many values, or too many levels.
    """
    found: dict[str, Any] = {}
    nodes = 0

    def walk(mapping: Mapping[Any, Any], prefix: str, depth: int) -> None:
        nonlocal nodes
        items = mapping.items() if checkpoint is None else checkpoint.beside(mapping, nested=depth > 0)
        for key, value in items:
            nodes += 1
            if nodes > NODES:
                raise FileError(f"{where}: holds more than {NODES} values, too many for properties")
            name = f"{prefix}{key}" if isinstance(key, str | int | float) else ""
            if isinstance(value, Mapping) and name:
                if depth == DEEPEST:
                    raise FileError(f"{where}: is nested more than {DEEPEST} levels deep")
                walk(value, f"{name}.", depth + 1)
            elif (plain := _plain(value, checkpoint, large_ints=large_ints)) is not _NOTHING and _is_name(
                name
            ):
                found[sys.intern(name)] = plain
                if len(found) > MOST:
                    raise FileError(f"{where}: holds more than {MOST} numbers, texts and booleans")

    walk(values, "", 0)
    return found


_NOTHING = object()


def _plain(  # noqa: PLR0911  # one return for each type
    value: Any, checkpoint: CheckpointValues | None, *, large_ints: bool = False
) -> Any:
    """Return a value as a property, or ``_NOTHING`` for a value that no property can have."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            return int(value)
        if value.bit_length() >= 600:
            return _NOTHING
        return int(value) if large_ints else str(value)  # a column of ints has 64 bits
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, date):
        return value.isoformat()
    converted = None if checkpoint is None else checkpoint.number(value)
    return _NOTHING if converted is None else _plain(converted, None)


def _text(value: str) -> Any:
    return str(value) if len(value) <= LONGEST and _encodes(value) else _NOTHING


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(4096)
def _is_name(name: str) -> bool:
    """Return whether a column can have this name with an underscore after it, as ``Renamed`` may write it."""
    try:
        check_name(f"{name}_", name, suffix=VALID)
    except ZooError:
        return False
    return bool(name)


def is_taken(name: str) -> bool:
    """Return whether a property must not have this name."""
    return name in TAKEN or name.endswith(VALID)


def _holds_weights(values: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) and value.numel() > 1 for value in values.values())


def _is_state(values: Mapping[Any, Any]) -> bool:
    """Return whether a mapping is the state of an optimiser or of a scheduler."""
    return {"state", "param_groups"} <= values.keys() or {"last_epoch", "_step_count"} <= values.keys()
