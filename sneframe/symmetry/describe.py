"""Descriptions of modules, verified by running them wherever that is possible."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from attrs import evolve
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from sneframe.architecture import Architecture
from sneframe.architecture.derive import derived
from sneframe.architecture.identity import fingerprint
from sneframe.batch import Batch, stacked
from sneframe.errors import ArchitectureError, Unverifiable
from sneframe.symmetry import verify

#: Weights above which a module is not verified: that takes a copy of it in float64, and runs it several times.
LARGEST = 20_000_000


def describe(module: nn.Module, example_input: Any = None) -> Architecture:
    """Describe a module, and verify the description by running the module.

    Args:
        module: left as it is.
        example_input: what its ``forward`` takes: a tensor, a tuple of arguments, or a mapping by name. Not given, it is the
            module's own ``example_input_array``, which Lightning knows, or one is made up for the first layer.

    Returns:
        A description whose symmetry is ``verified``; ``derived`` where the module cannot be verified, with a warning.

    Raises:
        ArchitectureError: the module cannot be described, or what was derived of it is refuted by running it.

    Warns:
        UserWarning: axes that could not be followed; why the description is not verified.
    """
    if example_input is None:
        example_input = getattr(module, "example_input_array", None)
    found = derived(module, example_input)
    architecture, reason = found.architecture, None
    if found.unused and architecture.groups:
        reason = f"its run does not use {found.unused[0]!r}, which may read neurons that are moved"
    elif architecture.num_weights > LARGEST:
        reason = f"it has {architecture.num_weights} weights, more than {LARGEST}"
    else:
        try:
            verify(module, architecture, found.example_input)
        except Unverifiable as error:
            reason = str(error)
    if reason is None:
        return evolve(architecture, symmetry="verified")
    if architecture.groups:
        warnings.warn(f"{type(module).__name__}: derived, not verified: {reason}", stacklevel=2)
    return architecture


@final
class Descriptions:
    """Describes modules, and each that differs from the others once; see :func:`describe`."""

    def __init__(self) -> None:
        self._known: dict[str, Architecture] = {}

    def of(self, module: nn.Module, example_input: Any = None) -> Architecture:
        """Return the description of a module.

        Raises:
            ArchitectureError: as :func:`describe`.
        """
        own, example = fingerprint(module), _kind(example_input)
        if own is None or example is None:
            return describe(module, example_input)
        key = f"{own} {example}"
        if key not in self._known:
            self._known[key] = describe(module, example_input)
        return self._known[key]


def _kind(example_input: Any) -> str | None:
    """Return what the structure of an example input is, its values left aside; None if it holds others than tensors."""
    leaves, structure = tree_flatten(example_input)
    if not all(leaf is None or isinstance(leaf, Tensor | str | int | float | torch.dtype) for leaf in leaves):
        return None
    shown = [
        f"{leaf.dtype} {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves
    ]
    return f"{structure} {shown}"


def from_modules(modules: Iterable[nn.Module], example_inputs: Sequence[Any] | None = None) -> Batch:
    """Stack live modules into a batch; network ``i`` is ``modules[i]``.

    Their descriptions are verified, each of those that differ once; see :func:`describe`.

    Args:
        modules: of any mix of architectures.
        example_inputs: for each module what its ``forward`` takes; not given, one is made up for its first layer.

    Raises:
        ArchitectureError: a module that cannot be described, or another number of inputs.
    """
    modules, known = list(modules), Descriptions()
    examples = [None] * len(modules) if example_inputs is None else list(example_inputs)
    if len(examples) != len(modules):
        raise ArchitectureError(f"{len(examples)} example inputs for {len(modules)} modules")
    return stacked(
        (known.of(module, example), module.state_dict())
        for module, example in zip(modules, examples, strict=True)
    )
