"""Derive the architectures of modules, and verify them by running the modules wherever that is possible."""

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

#: A module with more weights is not verified, since that runs a copy in float64 many times.
LARGEST = 20_000_000


def describe(module: nn.Module, example_input: Any = None) -> Architecture:
    """Derive the architecture of a module, and verify it by running the module.

    Args:
        module: the module; it is not changed.
        example_input: an input of its ``forward``: a tensor, a tuple of arguments, or a mapping from names to
            arguments. By default, the attribute ``example_input_array`` of a Lightning module, or an input
            made up for the first layer.

    Returns:
        An architecture whose symmetry is ``verified``, or ``derived`` if the module cannot be verified.

    Raises:
        ArchitectureError: no architecture can be derived, or running the module refutes it.

    Warns:
        UserWarning: some axes could not be followed, or the architecture could not be verified; the text says
            why.
    """
    if example_input is None:
        example_input = getattr(module, "example_input_array", None)
    derivation = derived(module, example_input)
    architecture, reason = derivation.architecture, None
    if derivation.unused and architecture.groups:
        reason = f"its run does not use {derivation.unused[0]!r}, which may read neurons of a group"
    elif architecture.num_weights > LARGEST:
        reason = f"it has {architecture.num_weights} weights, more than {LARGEST}"
    else:
        try:
            verify(module, architecture, derivation.example_input)
        except Unverifiable as error:
            reason = str(error)
    if reason is None:
        return evolve(architecture, symmetry="verified")
    if architecture.groups:
        warnings.warn(f"{type(module).__name__}: derived, not verified: {reason}", stacklevel=2)
    return architecture


@final
class Descriptions:
    """Describes modules with :func:`describe`, and modules with the same fingerprint only once."""

    def __init__(self) -> None:
        self._known: dict[str, Architecture] = {}

    def of(self, module: nn.Module, example_input: Any = None) -> Architecture:
        """Return the architecture of a module.

        Raises:
            ArchitectureError: see :func:`describe`.
        """
        own, example = fingerprint(module), _kind(example_input)
        if own is None or example is None:
            return describe(module, example_input)
        key = f"{own} {example}"
        if key not in self._known:
            self._known[key] = describe(module, example_input)
        return self._known[key]


def _kind(example_input: Any) -> str | None:
    """Return the structure of an example input as text, without values; None if it holds unknown objects."""
    leaves, structure = tree_flatten(example_input)
    if not all(leaf is None or isinstance(leaf, Tensor | str | int | float | torch.dtype) for leaf in leaves):
        return None
    shown = [
        f"{leaf.dtype} {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves
    ]
    return f"{structure} {shown}"


def from_modules(modules: Iterable[nn.Module], example_inputs: Sequence[Any] | None = None) -> Batch:
    """Stack live modules into a batch; network ``i`` is ``modules[i]``.

    Their architectures are derived and verified, once for modules with the same fingerprint; see
    :func:`describe`.

    Args:
        modules: the modules, of any mix of architectures.
        example_inputs: an input for each module; by default, one is made up for its first layer.

    Raises:
        ArchitectureError: a module cannot be described, or the number of inputs is not that of the modules.
    """
    modules, known = list(modules), Descriptions()
    examples = [None] * len(modules) if example_inputs is None else list(example_inputs)
    if len(examples) != len(modules):
        raise ArchitectureError(f"{len(examples)} example inputs for {len(modules)} modules")
    return stacked(
        (known.of(module, example), module.state_dict())
        for module, example in zip(modules, examples, strict=True)
    )
