"""Run a copy of a module again and again, each time with other weights, in the same computation."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from sneframe.architecture.derive import arguments
from sneframe.architecture.outputs import leaves
from sneframe.errors import ArchitectureError, one_line

#: What each number type of a network's outputs is compared in.
Outputs = dict[str, Tensor]


@frozen(kw_only=True, eq=False)
class Inputs:
    """What a ``forward`` takes.

    Args:
        args: by position.
        kwargs: by name.
    """

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(factory=dict)

    def map(self, function: Any) -> Inputs:
        """Return the inputs with each tensor, at any depth, replaced by what the function makes of it."""

        def each(value: Any) -> Any:
            return function(value) if isinstance(value, Tensor) else value

        return Inputs(args=tree_map(each, self.args), kwargs=tree_map(each, dict(self.kwargs)))

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the inputs."""
        return [value for value in tree_leaves((self.args, self.kwargs)) if isinstance(value, Tensor)]


class Twin:
    """A copy of a module in evaluation mode, whose runs leave no trace in each other.

    Args:
        module: that is copied.
        example_input: as for :meth:`~sneframe.architecture.Architecture.from_module`.
        wide: whether weights and inputs become float64; otherwise they keep their types.

    Raises:
        ArchitectureError: the module cannot be copied, or returns something in which no tensor can be looked for.
        Exception: whatever its ``forward`` raises on the example input.
    """

    def __init__(self, module: nn.Module, example_input: Any, *, wide: bool) -> None:
        self.name = type(module).__name__
        self._default = torch.float64 if wide else torch.get_default_dtype()
        self._module = _copied(module).eval()
        args, kwargs = arguments(example_input)
        self.inputs = Inputs(args=args, kwargs=kwargs)
        if wide:
            self._module.double()
            self.inputs = self.inputs.map(lambda v: v.double() if v.is_floating_point() else v)
        kept = set(module.state_dict())
        named = (
            *self._module.named_parameters(remove_duplicate=False),
            *self._module.named_buffers(remove_duplicate=False),
        )
        first: dict[int, str] = {}
        #: Of each name of a parameter or persistent buffer the first name of the same tensor.
        self.first_name = {name: first.setdefault(id(value), name) for name, value in named if name in kept}
        self._places = {name: value for name, value in named if self.first_name.get(name) == name}
        #: The values of the parameters and persistent buffers as the module was given, each tensor once.
        self.state = {name: value.detach().clone() for name, value in self._places.items()}
        python = [m for m in self._module.modules() if not isinstance(m, torch.jit.ScriptModule)]
        self._attributes = [(each, dict(vars(each)), dict(each._buffers)) for each in python]
        self._buffers = [(value, value.detach().clone()) for value in self._module.buffers()]
        #: The coarsest type of floating-point numbers that anything is rounded to between weights and outputs.
        self.precision = self._watched()

    def run(self, state: Mapping[str, Tensor], inputs: Inputs, seed: int) -> Outputs:
        """Return what the module makes of inputs: each output tensor and number by its place, floats as float64.

        Args:
            state: values of parameters and persistent buffers by name; what it lacks is as it was given.
            inputs: of which a copy is passed.
            seed: of the random numbers that the module may draw as it runs.
        """
        with torch.no_grad():
            found = self._forward(state, inputs, seed)
        return {place: _comparable(place, value, self.name) for place, value in found}

    def influence(
        self, state: Mapping[str, Tensor], inputs: Inputs, seed: int, factors: Mapping[str, Tensor]
    ) -> dict[str, float] | None:
        """Return for each parameter and buffer how much a sum of the outputs depends on it.

        That is ‖w · ∂s/∂w‖ of its weights w, where s is the sum of all output numbers times their factors.

        Args:
            state: as in :meth:`run`.
            inputs: as in :meth:`run`.
            seed: as in :meth:`run`.
            factors: by place, of the shape of an output tensor.

        Returns:
            By name; None where there are no gradients, as in a forward that switches them off.
        """
        weights = {name: value for name, value in self._places.items() if value.is_floating_point()}
        needed = {name: value.requires_grad for name, value in weights.items()}
        try:
            with torch.enable_grad():
                for value in weights.values():
                    value.requires_grad_(True)
                found = self._forward(state, inputs, seed)
                total = sum(
                    (value.double() * factors[place].to(value.device)).sum()
                    for place, value in found
                    if isinstance(value, Tensor) and value.requires_grad and place in factors
                )
                if not isinstance(total, Tensor):
                    return None
                made = torch.autograd.grad(total, [*weights.values()], allow_unused=True)
        except Exception:  # noqa: BLE001  # a stranger's forward need not be made for gradients
            return None
        finally:
            for name, value in weights.items():
                value.requires_grad_(needed[name])
        return {
            name: 0.0 if gradient is None else float((value.detach() * gradient).double().norm())
            for (name, value), gradient in zip(weights.items(), made, strict=True)
        }

    def _forward(self, state: Mapping[str, Tensor], inputs: Inputs, seed: int) -> list[tuple[str, Any]]:
        """Return all that lies in the output, after everything that a run may have changed is as it was given."""
        for each, attributes, buffers in self._attributes:
            vars(each).clear()
            vars(each).update(attributes)
            each._buffers.clear()
            each._buffers.update(buffers)
        with torch.no_grad():
            for buffer, value in self._buffers:
                buffer.copy_(value)
            for name, place in self._places.items():
                place.copy_(state.get(name, self.state[name]).view(place.shape))
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  # the module may draw from the global state
        given = inputs.map(lambda value: value.detach().clone())
        default = torch.get_default_dtype()
        try:
            torch.set_default_dtype(
                self._default
            )  # for what the module makes as it runs, such as a first state
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # said already when the module was described
                return leaves(self._module(*given.args, **given.kwargs), self.name)
        finally:
            torch.set_default_dtype(default)

    def _watched(self) -> torch.dtype:
        """Run the module on the example input, and return the coarsest type that its weights' influence passes."""
        watch = _Precision([value for value in self._places.values() if value.is_floating_point()])
        try:
            with watch:
                self.run(self.state, self.inputs, 0)
        except ArchitectureError:
            raise
        except Exception:  # noqa: BLE001  # some operations cannot be watched: run it without
            self.run(self.state, self.inputs, 0)
        return max(watch.seen, key=lambda dtype: torch.finfo(dtype).eps)


class _Precision(TorchDispatchMode):
    """Notes the floating-point types of all that depends on some tensors.

    Memory is told apart by its address; every tensor is kept while it is watched, so that none is used again.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self.seen = {value.dtype for value in weights}
        self._kept: list[Tensor] = []
        self._dependent: set[int] = set()
        for value in weights:
            self._note(value)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out an operation, and note its outputs if they depend on the weights."""
        result = func(*args, **(kwargs or {}))
        inputs = (value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor))
        if any(_memory(value) in self._dependent for value in inputs):
            for value in tree_leaves(result):
                if isinstance(value, Tensor):
                    self._note(value)
        return result

    def _note(self, value: Tensor) -> None:
        self._kept.append(value)
        self._dependent.add(_memory(value))
        if value.is_floating_point():
            self.seen.add(value.dtype)


def _memory(value: Tensor) -> int:
    try:
        return value.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # a sparse tensor has no single storage
        return id(value)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Put back every state of random numbers that running a module may change."""
    devices = {p.device.index or 0 for p in module.parameters() if p.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def twin(module: nn.Module, example_input: Any) -> Twin:
    """Return a copy that computes in float64, or in its own types where float64 fails.

    Raises:
        ArchitectureError: it fails on the example input in its own types too.
    """
    try:
        return Twin(module, example_input, wide=True)
    except ArchitectureError:
        raise
    except Exception:  # noqa: BLE001, S110  # whatever a stranger's forward may raise in a type that it never had
        pass
    try:
        return Twin(module, example_input, wide=False)
    except ArchitectureError:
        raise
    except Exception as error:
        raise ArchitectureError(
            f"{type(module).__name__} fails on the example input: {one_line(error)[:240]}"
        ) from error


def _copied(module: nn.Module) -> nn.Module:
    """Return a deep copy, of which tensors that hang on a graph of gradients are cut off."""
    known: dict[int, Any] = {}
    for each in module.modules():
        for value in tree_leaves(vars(each)):
            if isinstance(value, Tensor) and not value.is_leaf:
                known[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(module, known)
    except Exception as error:
        raise ArchitectureError(
            f"{type(module).__name__} cannot be copied: {one_line(error)[:240]}"
        ) from error


def _comparable(place: str, value: Any, name: str) -> Tensor:
    """Return an output as a plain tensor on the CPU, floats as float64, complex numbers as pairs."""
    if not isinstance(value, Tensor):
        value = torch.tensor(complex(value) if isinstance(value, complex) else value)
    value = value.detach()
    if value.is_meta:
        raise ArchitectureError(f"{name}: {place} is on the meta device and has no values")
    if value.is_nested:
        value = torch.cat([each.flatten() for each in value.unbind()])
    elif value.layout != torch.strided:
        value = value.to_dense()
    if value.is_quantized:
        value = value.dequantize()
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    return value.to("cpu", torch.float64 if value.is_floating_point() else value.dtype, copy=True)
