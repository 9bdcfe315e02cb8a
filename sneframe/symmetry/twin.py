"""Copy a module, so that the copy can be run many times with different weights.

All runs start from the same state of the module and of the random numbers, so their outputs can be compared.
"""

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

#: The outputs of a network, by path. Floats are float64, and other types are unchanged.
Outputs = dict[str, Tensor]


@frozen(kw_only=True, eq=False)
class Inputs:
    """The arguments of a ``forward``.

    Args:
        args: the positional arguments.
        kwargs: the keyword arguments.
    """

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(factory=dict)

    def map(self, function: Any) -> Inputs:
        """Apply a function to each tensor among the inputs, at any depth, and return the new inputs."""

        def each(value: Any) -> Any:
            return function(value) if isinstance(value, Tensor) else value

        return Inputs(args=tree_map(each, self.args), kwargs=tree_map(each, dict(self.kwargs)))

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the inputs, at any depth."""
        return [value for value in tree_leaves((self.args, self.kwargs)) if isinstance(value, Tensor)]


class Twin:
    """A copy of a module in evaluation mode. Its runs do not affect each other.

    Args:
        module: the module to copy.
        example_input: an input, as for :meth:`~sneframe.architecture.Architecture.from_module`.
        wide: whether to convert weights and inputs to float64. If false, they keep their types.

    Attributes:
        inputs: the example input as the arguments of ``forward``.
        first_name: for each name of a parameter or persistent buffer, the first name of the same tensor (a
            tied tensor has several names).
        state: the values of the parameters and persistent buffers of the module, each tensor once.
        precision: the coarsest floating-point type of any result between the weights and the outputs.

    Raises:
        ArchitectureError: the module cannot be copied, or its output cannot be searched for tensors.
        Exception: any error that the ``forward`` of the module raises on the example input.
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
        self.first_name = {name: first.setdefault(id(value), name) for name, value in named if name in kept}
        self._tensors = {name: value for name, value in named if self.first_name.get(name) == name}
        self.state = {name: value.detach().clone() for name, value in self._tensors.items()}
        python = [m for m in self._module.modules() if not isinstance(m, torch.jit.ScriptModule)]
        self._attributes = [(each, dict(vars(each)), dict(each._buffers)) for each in python]
        self._buffers = [(value, value.detach().clone()) for value in self._module.buffers()]
        self.precision = self._watched()

    def run(self, state: Mapping[str, Tensor], inputs: Inputs, seed: int) -> Outputs:
        """Run the module, and return each output tensor and number by its path. Floats are float64.

        Args:
            state: the values of parameters and persistent buffers, by name. A tensor that is missing here has
                the value that it has in the module.
            inputs: the inputs. The module gets a copy of them.
            seed: the seed of the random numbers that the module may draw as it runs.
        """
        with torch.no_grad():
            values = self._forward(state, inputs, seed)
        return {path: _comparable(path, value, self.name) for path, value in values}

    def influence(
        self, state: Mapping[str, Tensor], inputs: Inputs, seed: int, factors: Mapping[str, Tensor]
    ) -> dict[str, float] | None:
        """Return how much a weighted sum of the outputs depends on each parameter and buffer.

        For weights w this is ‖w · ∂s/∂w‖, where s is the sum of all output numbers times their factors.

        Args:
            state: see :meth:`run`.
            inputs: see :meth:`run`.
            seed: see :meth:`run`.
            factors: the factors of the numbers of each output tensor, by path, in the shape of the tensor.

        Returns:
            The values by name, or None if there are no gradients. A forward may switch gradients off.
        """
        weights = {name: value for name, value in self._tensors.items() if value.is_floating_point()}
        needed = {name: value.requires_grad for name, value in weights.items()}
        try:
            with torch.enable_grad():
                for value in weights.values():
                    value.requires_grad_(True)
                values = self._forward(state, inputs, seed)
                total = sum(
                    (value.double() * factors[path].to(value.device)).sum()
                    for path, value in values
                    if isinstance(value, Tensor) and value.requires_grad and path in factors
                )
                if not isinstance(total, Tensor):
                    return None
                made = torch.autograd.grad(total, [*weights.values()], allow_unused=True)
        except Exception:  # noqa: BLE001  # not every forward can be differentiated
            return None
        finally:
            for name, value in weights.items():
                value.requires_grad_(needed[name])
        return {
            name: 0.0 if gradient is None else float((value.detach() * gradient).double().norm())
            for (name, value), gradient in zip(weights.items(), made, strict=True)
        }

    def _forward(self, state: Mapping[str, Tensor], inputs: Inputs, seed: int) -> list[tuple[str, Any]]:
        """Undo all that earlier runs may have changed, run the module, and return its outputs by path."""
        for each, attributes, buffers in self._attributes:
            vars(each).clear()
            vars(each).update(attributes)
            each._buffers.clear()
            each._buffers.update(buffers)
        with torch.no_grad():
            for buffer, value in self._buffers:
                buffer.copy_(value)
            for name, tensor in self._tensors.items():
                tensor.copy_(state.get(name, self.state[name]).view(tensor.shape))
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  # the module may draw from the global state
        given = inputs.map(lambda value: value.detach().clone())
        default = torch.get_default_dtype()
        try:
            # This is the type of tensors that the module creates as it runs, such as an initial hidden state.
            torch.set_default_dtype(self._default)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the derivation of the architecture showed the same warnings
                return leaves(self._module(*given.args, **given.kwargs), self.name)
        finally:
            torch.set_default_dtype(default)

    def _watched(self) -> torch.dtype:
        """Run the module on the example input, and find the coarsest floating-point type that it uses.

        Only tensors that depend on the weights count.
        """
        watch = _Precision([value for value in self._tensors.values() if value.is_floating_point()])
        try:
            with watch:
                self.run(self.state, self.inputs, 0)
        except ArchitectureError:
            raise
        except Exception:  # noqa: BLE001  # some operations cannot run in the mode, so run without it
            self.run(self.state, self.inputs, 0)
        return max(watch.seen, key=lambda dtype: torch.finfo(dtype).eps)


class _Precision(TorchDispatchMode):
    """Records the floating-point types of all tensors that depend on the weights.

    A tensor is identified by the address of its memory. All recorded tensors are kept alive, so that no
    address is used twice.

    Args:
        weights: the floating-point parameters and buffers of the module.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self.seen = {value.dtype for value in weights}
        self._kept: list[Tensor] = []
        self._dependent: set[int] = set()
        for value in weights:
            self._note(value)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and record its outputs if an input depends on the weights."""
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
    """Return a number that identifies the memory of a tensor."""
    try:
        return value.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # a sparse tensor has no single storage
        return id(value)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Restore the random states of Python, NumPy and torch after this block, which may run a module."""
    devices = {p.device.index or 0 for p in module.parameters() if p.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def twin(module: nn.Module, example_input: Any) -> Twin:
    """Return a copy of a module that computes in float64, or in the module's own types if float64 fails.

    Raises:
        ArchitectureError: the module fails on the example input in float64 and in its own types.
    """
    try:
        return Twin(module, example_input, wide=True)
    except ArchitectureError:
        raise
    except Exception:  # noqa: BLE001, S110  # a forward may raise anything in a type it was not written for
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
    """Return a deep copy of a module, in which tensors with a gradient graph are detached."""
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


def _comparable(path: str, value: Any, name: str) -> Tensor:
    """Convert an output value to a dense tensor on the CPU.

    Floats become float64, and a complex number becomes a pair of floats.
    """
    if not isinstance(value, Tensor):
        value = torch.tensor(complex(value) if isinstance(value, complex) else value)
    value = value.detach()
    if value.is_meta:
        raise ArchitectureError(f"{name}: {path} is on the meta device and has no values")
    if value.is_nested:
        value = torch.cat([each.flatten() for each in value.unbind()])
    elif value.layout != torch.strided:
        value = value.to_dense()
    if value.is_quantized:
        value = value.dequantize()
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    return value.to("cpu", torch.float64 if value.is_floating_point() else value.dtype, copy=True)
