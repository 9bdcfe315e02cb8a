"""Derive the architecture of a module by running it once.

The module runs under a :class:`~.trace.Trace`, which follows every axis of every parameter through all
operations. Then :class:`~.emission.Emission` turns what the trace has learned into layers and neuron groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sneframe.architecture.description import Architecture
from sneframe.architecture.emission import Emission
from sneframe.architecture.layer import INPUT
from sneframe.architecture.operations import kind_of
from sneframe.architecture.trace import Trace, input_tensors
from sneframe.errors import ArchitectureError

#: If no example input is given, a convolutional network is tried on inputs with these side lengths, in this
#: order.
SIDES = (32, 28, 64, 16, 224, 8, 48, 96, 128)


def from_module(module: nn.Module, example_input: Any = None) -> Architecture:
    """Derive the architecture of a module; see :meth:`sneframe.architecture.Architecture.from_module`."""
    return derived(module, example_input).architecture


@frozen(kw_only=True, eq=False)
class Derivation:
    """The result of deriving the architecture of a module from one run.

    Args:
        architecture: the architecture of the module.
        example_input: the input that the module was run on, whether given or made up.
        unused: the names of parameters that the run did not use. With another input, the module may use these
            parameters, and they may read neurons that the architecture declares as movable.
    """

    architecture: Architecture
    example_input: Any
    unused: tuple[str, ...]


def derived(module: nn.Module, example_input: Any = None) -> Derivation:
    """Derive the architecture of a module by running the module once.

    Without ``example_input``, the function makes up inputs that suit the first layer, until the module
    accepts one of these inputs.

    Raises:
        ArchitectureError: see :meth:`sneframe.architecture.Architecture.from_module`.
    """
    state = described(module)
    if not state:
        raise ArchitectureError(f"{type(module).__name__} has no parameters to describe")
    # A made-up input shows what a network computes, but not the size of the inputs that it is meant for.
    shapes: tuple[tuple[int, ...], ...] = ()
    if example_input is None:
        trace, example_input = _guess(module, state)
    else:
        args, kwargs = arguments(example_input)
        values = input_tensors((args, kwargs))
        shapes = tuple(tuple(value.shape[1:]) for value in values) if all(v.ndim for v in values) else ()
        trace = _run(module, state, args, kwargs)
    emission = Emission(module, state, trace)
    architecture = evolve(emission.architecture(), symmetry="derived")
    if shapes != _told_by_layers(architecture):
        architecture = evolve(architecture, input_shapes=shapes)
    return Derivation(architecture=architecture, example_input=example_input, unused=emission.unused)


def _told_by_layers(architecture: Architecture) -> tuple[tuple[int, ...], ...] | None:
    """Return the input shape of a network that only linear layers read: a vector with one number per column.

    Such a shape is not recorded, so that a network has the same architecture with and without an example.
    """
    readers = [
        layer
        for layer in architecture.layers
        if INPUT in layer.inputs or (not layer.inputs and layer.kind != "constant")
    ]
    shapes = {
        parameter.shape[1:]
        for layer in readers
        for parameter in layer.parameters
        if layer.kind == "linear" and parameter.role == "weight"
    }
    return tuple(shapes) if len(shapes) == 1 and all(layer.kind == "linear" for layer in readers) else None


def described(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that hold the weights of a module, by name.

    These tensors are the floating-point parameters and the floating-point buffers in the state dict of the
    module. A tied tensor is returned once, under its first name. A tensor without elements is left out.

    Raises:
        ArchitectureError: a parameter of a lazy module has no shape yet, a parameter holds complex numbers,
            or a tensor is on the meta device.
    """
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    kept = set(module.state_dict())
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(value):
            raise ArchitectureError(
                f"{type(module).__name__}: {name!r} has no shape yet; call the module on an input first"
            )
        if name in kept and isinstance(value, nn.Parameter) and value.is_complex():
            raise ArchitectureError(
                f"{type(module).__name__}: {name!r} holds complex numbers ({value.dtype}); "
                f"weights must be real numbers"
            )
        if name in kept and value.is_meta:
            raise ArchitectureError(
                f"{type(module).__name__}: {name!r} is on the meta device and has no values; "
                f"load weights into the module first"
            )
        if name in kept and value.is_floating_point() and value.numel() and id(value) not in seen:
            seen.add(id(value))
            tensors[name] = value
    return {name: tensors[name] for name in module.state_dict() if name in tensors}


def arguments(example_input: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Split an example input into the positional and the keyword arguments of ``forward``.

    A tuple holds positional arguments, a mapping holds keyword arguments, and any other value is the only
    argument.
    """
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    if isinstance(example_input, tuple):
        return example_input, {}
    return (example_input,), {}


def _run(
    module: nn.Module, state: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Trace:
    """Run a module under a trace, and return the trace."""
    trace = Trace(module, state)
    try:
        trace.run(module, args, kwargs)
    except ArchitectureError:
        raise
    except Exception as error:  # a forward may raise anything
        raise ArchitectureError(
            f"{type(module).__name__} fails on the example input: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    return trace


def _guess(module: nn.Module, state: Mapping[str, Tensor]) -> tuple[Trace, Tensor]:
    """Run a module on made-up inputs until one run succeeds. Return the trace and the input of that run."""
    failure: ArchitectureError | None = None
    for value in _made_up(module):
        try:
            return _run(module, state, (value,), {}), value
        except ArchitectureError as error:
            failure = failure or error
    raise ArchitectureError(
        f"{type(module).__name__}: found no input that the module accepts; pass example_input"
        + (f" ({failure})" if failure else "")
    )


def _made_up(module: nn.Module) -> Iterator[Tensor]:
    """Yield inputs of the shapes that the first layer of a known kind accepts.

    The inputs are random, except those of an embedding, which are zeros.
    """
    first = next((m for m in module.modules() if kind_of(m) is not None), None)
    generator = torch.Generator().manual_seed(0)
    like = next(iter(described(module).values()))

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(like)

    if isinstance(first, nn.Linear):
        yield draw(2, first.in_features)
        yield draw(2, 5, first.in_features)
    elif isinstance(first, nn.Embedding):
        yield torch.zeros(2, 5, dtype=torch.int64, device=like.device)
    elif isinstance(first, nn.RNNBase):
        yield draw(2, 5, first.input_size)
    elif isinstance(first, nn.modules.conv._ConvNd):
        for side in SIDES:
            yield draw(2, first.in_channels, *[side] * len(first.kernel_size))
