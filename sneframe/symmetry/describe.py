"""Derive the architecture of a module, and verify the architecture by running the module if possible."""

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
from sneframe.architecture.evaluate import obstacle
from sneframe.architecture.identity import fingerprint
from sneframe.batch import Batch, stacked
from sneframe.errors import ArchitectureError, Unverifiable
from sneframe.symmetry import verify
from sneframe.symmetry.exact import inexactness, without_evaluation
from sneframe.symmetry.twin import twin, undisturbed

#: A module with more weights is not verified, because a verification runs a float64 copy many times.
LARGEST = 20_000_000


def describe(module: nn.Module, example_input: Any = None) -> Architecture:
    """Derive the architecture of a module, and verify the architecture by running the module.

    Args:
        module: the module, which is not changed.
        example_input: an input of ``module.forward``: a tensor, a tuple of arguments, or a mapping from
            names to arguments. The default is the attribute ``example_input_array`` of a Lightning module. A
            module without this attribute gets an input that is made up for its first layer.

    Returns:
        An architecture whose symmetry is ``verified``, or ``derived`` if the module cannot be verified.

    Raises:
        ArchitectureError: no architecture can be derived, or running the module refutes it.

    Warns:
        UserWarning: some axes could not be followed, or the architecture could not be verified. The warning
            gives the reason.
    """
    if example_input is None:
        example_input = getattr(module, "example_input_array", None)
    derivation = derived(module, example_input)
    architecture, reason = derivation.architecture, None
    if derivation.unused and architecture.groups:
        reason = f"its forward does not use {derivation.unused[0]!r}, which may read neurons of a group"
    elif architecture.num_weights > LARGEST:
        reason = f"it has {architecture.num_weights} weights, more than {LARGEST}"
    else:
        architecture = _checked(module, architecture, derivation.example_input)
        try:
            verify(module, architecture, derivation.example_input)
        except Unverifiable as error:
            reason = str(error)
    if reason is None:
        return evolve(architecture, symmetry="verified")
    if architecture.groups:
        warnings.warn(f"{type(module).__name__}: derived, not verified: {reason}", stacklevel=2)
    return architecture


def _checked(module: nn.Module, architecture: Architecture, example_input: Any) -> Architecture:
    """Return the architecture, marked if it does not compute what the module computes."""
    if obstacle(architecture) is not None:
        return architecture
    with undisturbed(module):
        generator = torch.Generator().manual_seed(0)
        difference = inexactness(architecture, twin(module, example_input), generator)
    if difference is None:
        return architecture
    warnings.warn(
        f"{type(module).__name__}: the description cannot be used to evaluate the network: {difference}",
        stacklevel=3,
    )
    return without_evaluation(architecture, f"a computation that is not described: {difference}")


@final
class Descriptions:
    """Calls :func:`describe` on modules, but only once for modules with the same fingerprint."""

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
    """Return the structure of an example input as text, with shapes instead of the values of tensors.

    The result is None if the input holds an object of an unknown type.
    """
    leaves, structure = tree_flatten(example_input)
    if not all(leaf is None or isinstance(leaf, Tensor | str | int | float | torch.dtype) for leaf in leaves):
        return None
    shown = [
        f"{leaf.dtype} {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves
    ]
    return f"{structure} {shown}"


def from_modules(modules: Iterable[nn.Module], example_inputs: Sequence[Any] | None = None) -> Batch:
    """Stack live modules into a batch, in which network ``i`` is ``modules[i]``.

    :func:`describe` derives and verifies the architectures, once for modules with the same fingerprint.

    Args:
        modules: the modules, which may have different architectures.
        example_inputs: one input for each module. By default, :func:`describe` finds or makes up the inputs.

    Raises:
        ArchitectureError: a module cannot be described, or the numbers of inputs and modules differ.
    """
    modules, known = list(modules), Descriptions()
    examples = [None] * len(modules) if example_inputs is None else list(example_inputs)
    if len(examples) != len(modules):
        raise ArchitectureError(
            f"each of the {len(modules)} modules needs an example input, but got {len(examples)} "
            f"example inputs"
        )
    return stacked(
        (known.of(module, example), module.state_dict())
        for module, example in zip(modules, examples, strict=True)
    )
