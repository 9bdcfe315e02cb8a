"""Describe any module: run it once, follow every axis, and write down layers and groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sneframe.architecture.description import Architecture
from sneframe.architecture.emission import Emission
from sneframe.architecture.operations import kind_of
from sneframe.architecture.trace import Trace
from sneframe.errors import ArchitectureError

#: Sizes of images that are tried where no example input is given.
SIDES = (32, 28, 64, 16, 224, 8, 48, 96, 128)


def from_module(module: nn.Module, example_input: Any = None) -> Architecture:
    """See :meth:`sneframe.architecture.Architecture.from_module`."""
    return derived(module, example_input).architecture


@frozen(kw_only=True, eq=False)
class Derivation:
    """What was found by running a module once.

    Args:
        architecture: its description.
        example_input: what it was run on: the given input, or the one that was made up.
        unused: names of parameters that this run does not use. Another input may use them, and read neurons with them.
    """

    architecture: Architecture
    example_input: Any
    unused: tuple[str, ...]


def derived(module: nn.Module, example_input: Any = None) -> Derivation:
    """Describe a module by running it once, on an input that is made up where none is given.

    Raises:
        ArchitectureError: see :meth:`sneframe.architecture.Architecture.from_module`.
    """
    state = described(module)
    if not state:
        raise ArchitectureError(f"{type(module).__name__}: no parameter to describe")
    if example_input is None:
        trace, example_input = _guess(module, state)
    else:
        args, kwargs = arguments(example_input)
        trace = _run(module, state, args, kwargs)
    emission = Emission(module, state, trace)
    architecture = evolve(emission.architecture(), symmetry="derived")
    return Derivation(architecture=architecture, example_input=example_input, unused=emission.unused)


def described(module: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point parameters and buffers of a module by name, a tied tensor once, by its first name.

    A tensor without elements is left out, since it holds no weight.

    Raises:
        ArchitectureError: a parameter of a lazy module without a shape, of complex numbers, or on the meta device.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    kept = set(module.state_dict())
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(value):
            raise ArchitectureError(
                f"{type(module).__name__}: {name!r} has no shape yet; call the module on an input first"
            )
        if name in kept and isinstance(value, nn.Parameter) and value.is_complex():
            raise ArchitectureError(
                f"{type(module).__name__}: {name!r} holds complex numbers ({value.dtype}); weights must be real numbers"
            )
        if name in kept and value.is_meta:
            raise ArchitectureError(
                f"{type(module).__name__}: {name!r} is on the meta device and has no values; give the module weights first"
            )
        if name in kept and value.is_floating_point() and value.numel() and id(value) not in seen:
            seen.add(id(value))
            found[name] = value
    return {name: found[name] for name in module.state_dict() if name in found}


def arguments(example_input: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments: a tuple is several, a mapping is by name, anything else is one."""
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    if isinstance(example_input, tuple):
        return example_input, {}
    return (example_input,), {}


def _run(
    module: nn.Module, state: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Trace:
    trace = Trace(module, state)
    try:
        trace.run(module, args, kwargs)
    except ArchitectureError:
        raise
    except Exception as error:  # whatever a stranger's forward may raise
        raise ArchitectureError(
            f"{type(module).__name__} fails on the example input: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    return trace


def _guess(module: nn.Module, state: Mapping[str, Tensor]) -> tuple[Trace, Tensor]:
    """Run it on a made-up input that its first layer takes, and return this input too."""
    failure: ArchitectureError | None = None
    for value in _made_up(module):
        try:
            return _run(module, state, (value,), {}), value
        except ArchitectureError as error:
            failure = failure or error
    raise ArchitectureError(
        f"{type(module).__name__}: no input that it takes could be guessed, pass example_input"
        + (f" ({failure})" if failure else "")
    )


def _made_up(module: nn.Module) -> Iterator[Tensor]:
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
