"""Run a module once, and collect the constraints that each operation puts on the axes of its tensors.

A dispatch mode of torch sees every primitive operation that runs, below modules, autograd and composite
functions. So recurrent cells, attention and hand-written layers all arrive as the same few dozen primitives.
The trace attaches a :class:`~.call.Label` to each tensor, and :mod:`.rules` relates the axes of the inputs of
an operation to the axes of its outputs. If no rule fits, nothing is guessed: the axes of the inputs and
outputs are fixed, and a warning names the operation.

Example: in ``x @ W.T + b`` the rows of ``W`` and the axis of ``b`` become one space, because the sum adds
element i of ``b`` to the output of row i. If a later layer reads the sum, the columns of the weight of that
layer belong to the same space. A space that reaches the output of the module is fixed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sneframe.architecture import rules
from sneframe.architecture.call import (
    Call,
    Label,
    constant_dims,
    operation_name,
    parameters_read,
    returns_view,
    written,
)
from sneframe.architecture.digit import Dim, completed, fix_dim, settle, whole
from sneframe.architecture.layer import FOLLOWED
from sneframe.architecture.outputs import tensors as tensors_of_output
from sneframe.architecture.recording.recorder import Recorder
from sneframe.architecture.rules.dims import joined
from sneframe.architecture.space import Clash, Space, leaves
from sneframe.errors import ArchitectureError


class Trace(TorchDispatchMode):
    """Labels every tensor of one forward pass.

    Args:
        module: the module that will run.
        state: the parameters and buffers to follow, by name, each tensor once.

    Attributes:
        axes: the spaces of each parameter, by the name of the parameter and by action. Each axis has one
            space.
        recorder: the computation so far.
    """

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self.axes: dict[str, dict[str, list[Space]]] = {
            name: {action: [Space(size, action) for size in value.shape] for action in FOLLOWED}
            for name, value in state.items()
        }
        self.recorder = Recorder(self._label, _storage)
        self._labels: dict[int, Label] = {}
        # For each view of a tensor without a label: the call that returned the view, and the number of the
        # output.
        self._views: dict[int, tuple[Call, int]] = {}
        self._seen: set[int] = set()
        self._aliases: dict[int, int] = {}  # number of tensors that share each storage
        self._blank: set[int] = set()  # ids of tensors created without values
        self._parameters = {_storage(value) for value in state.values()}
        self._kept: list[Any] = []  # keeps tensors alive, so that no id is used twice
        self._stack: list[str] = []
        for name, value in state.items():
            dims = {action: [whole(space) for space in spaces] for action, spaces in self.axes[name].items()}
            self._keep(value, Label(dims, names=(name,)))
            self.recorder.weight(value, name)
        for name, value in module.state_dict(keep_vars=True).items():
            if isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex()):
                # A mask or a table of indices belongs to the network, so its axes are fixed.
                self._keep(value, Label(_fixed(value.shape), buffer=name))

    # -- running ---------------------------------------------------------------------------------------------

    def run(self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Run the module under the trace, and fix the axes of its inputs and outputs."""
        for value in input_tensors((args, kwargs)):
            self._keep(value, Label(_fixed(value.shape)))
            self.recorder.input(value)
        with _primitives(module), self._modules(module), torch.no_grad(), _Conversions(self), self:
            output = module(*args, **kwargs)
        for _, value in tensors_of_output(output, of=type(module).__name__):
            if (label := self._label(value)) is not None:
                self._use_values(label)
                self.fix(label)
            self.recorder.output(value)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and label its outputs."""
        kwargs = kwargs or {}
        inputs, writes = _tensors((args, kwargs)), written(func, args, kwargs)
        for value in inputs:
            self._count(value)
        if writes and any(self._label(value) is not None for value in inputs):
            for value in writes:
                self._prepare(value)
        labels = {id(value): label for value in inputs if (label := self._label(value)) is not None}
        result = func(*args, **kwargs)
        call = Call(
            name=operation_name(func),
            overload=func._overloadname,
            pointwise=torch.Tag.pointwise in func.tags,
            view=returns_view(func),
            writes=writes,
            args=tuple(args),
            kwargs=kwargs,
            outputs=_tensors(result),
            inputs=inputs,
            labels=labels,
        )
        for value in call.outputs:
            self._count(value)
        self._label_outputs(call)
        return result

    def _label_outputs(self, call: Call) -> None:
        """Label the outputs of a call if an input has a label, or if the outputs are random draws."""
        if call.name in rules.BLANK:
            self._blank |= {id(value) for value in call.outputs}
        if call.name in rules.NOISE and (not call.labels or call.name.endswith("_like")):
            for value in call.outputs:
                self._keep(value, Label(_draws(value.shape)))
                self.recorder.draw(value)
        elif call.name in rules.CONSTANTS:
            pass  # these outputs depend on the shape of the input only
        elif call.name == "_local_scalar_dense":  # item() returns a Python number
            self.leave(call.inputs[0])
        elif call.labels:
            self._follow(call)
        elif call.view:
            for number, value in enumerate(call.outputs):
                if value is not call.inputs[0]:
                    self._views[id(value)] = (call, number)

    def _follow(self, call: Call) -> None:
        """Apply the rule of an operation, and label its outputs.

        If the rule fails, fix all axes of the inputs and outputs, and warn.
        """
        for label in call.labels.values():
            self._use_values(label)
        buffers = sorted({label.buffer for label in call.labels.values() if label.buffer is not None})
        before = self._movable() if buffers else frozenset()
        try:
            dims = [self._settled(its) for its in rules.apply(call)]
            if len(dims) != len(call.outputs):
                raise Clash
            self._agree(call, dims)
        except Exception:  # noqa: BLE001  # an operation in a form that no rule expects
            dims = self._give_up(call)
        self._warn(before, f"the buffer {buffers[0]!r} holds integers or booleans" if buffers else "")
        self.recorder.record(call)
        names = parameters_read(call)
        points_into = call.points_into or [()] * len(call.outputs)
        for output, own, axes in zip(call.outputs, dims, points_into, strict=True):
            stays = any(output is value for value in call.writes) and self._is_shared(output)
            its = self._labels[id(output)].dims if stays and id(output) in call.labels else own
            label = Label(its, names=names, points_into=axes)
            self._keep(output, label)

    def _settled(self, axes: Mapping[str, Sequence[Dim]]) -> dict[str, list[Dim]]:
        """Apply :func:`completed` and :func:`settle` to the axes of an output, and return the axes."""
        dims = {action: completed(its) for action, its in axes.items()}
        for its in dims.values():
            settle(its)
        return dims

    def _agree(self, call: Call, dims: Sequence[Mapping[str, Sequence[Dim]]]) -> None:
        """Check the tensors that a call writes into: their axes must not change if their memory is shared.

        Raises:
            Clash: a written tensor is not an output of the call, is a parameter, or shares its memory and
                cannot keep its axes.
        """
        for value in call.writes if call.name not in rules.BATCH_NORMS else ():
            number = next((n for n, output in enumerate(call.outputs) if output is value), None)
            label = self._labels.get(id(value))
            if number is None or _storage(value) in self._parameters:
                raise Clash
            if label is None or not self._is_shared(value):
                continue
            for action, its in label.dims.items():
                joined([completed(its), list(dims[number][action])])

    def _give_up(self, call: Call) -> list[dict[str, list[Dim]]]:
        """Fix the axes of all inputs of a call, warn, and return fixed axes for its outputs."""
        before = self._movable()
        for label in call.labels.values():
            self.fix(label)
        where = f" in {self._stack[-1]!r}" if self._stack and self._stack[-1] else ""
        self._warn(before, f"not followed at {call.name}{where}")
        call.points_into = []
        return [_fixed(output.shape) for output in call.outputs]

    def _warn(self, before: frozenset[tuple[str, int]], reason: str) -> None:
        """Warn about the axes in ``before`` along which neurons can no longer be permuted."""
        lost = sorted(before - self._movable()) if before else []
        if lost:
            named = ", ".join(f"{name!r} axis {axis}" for name, axis in lost[:4])
            more = f" and {len(lost) - 4} more" if len(lost) > 4 else ""
            warnings.warn(f"{reason}, so these axes are fixed: {named}{more}", stacklevel=2)

    def _movable(self) -> frozenset[tuple[str, int]]:
        """Return the axes of parameters along which neurons can still be permuted, as pairs (name, axis)."""
        return frozenset(
            (name, axis)
            for name, spaces in self.axes.items()
            for axis, space in enumerate(spaces["permute"])
            if any(not leaf.fixed and leaf.size > 1 for leaf in leaves(space))
        )

    # -- labels ----------------------------------------------------------------------------------------------

    def fix(self, label: Label) -> None:
        """Fix all axes of a tensor, under every action."""
        for dims in label.dims.values():
            for dim in dims:
                fix_dim(dim)

    def _use_values(self, label: Label) -> None:
        """Fix the axes in ``label.points_into``, because an operation uses the values of the tensor."""
        for dim in label.points_into:
            fix_dim(dim)

    def leave(self, value: Tensor) -> None:
        """Fix the axes of a tensor whose values leave torch, where the trace cannot follow them, and warn."""
        if (label := self._label(value)) is not None:
            self.recorder.escaped = True
            before = self._movable()
            self._use_values(label)
            self.fix(label)
            where = f" in {self._stack[-1]!r}" if self._stack and self._stack[-1] else ""
            self._warn(before, f"not followed where values leave torch{where}")

    def _keep(self, value: Tensor, label: Label) -> None:
        """Set the label of a tensor, and keep the tensor alive."""
        self._labels[id(value)] = label
        self._kept.append(value)

    def _label(self, value: Tensor) -> Label | None:
        """Return the label of a tensor, or None if it has none.

        The label of an unlabelled view is derived from the tensor that the view was taken from.
        """
        if (label := self._labels.get(id(value))) is not None:
            return label
        if id(value) not in self._views:
            return None
        call, number = self._views[id(value)]
        source = call.inputs[0]
        if (label := self._label(source)) is None:
            return None
        call.labels[id(source)] = label
        try:
            dims = self._settled(rules.apply(call)[number])
        except Exception:  # noqa: BLE001  # as in _follow
            self.fix(label)
            dims = _fixed(value.shape)
        self._keep(value, Label(dims))
        return self._labels[id(value)]

    # -- writing ---------------------------------------------------------------------------------------------

    def _count(self, value: Tensor) -> None:
        """Count a tensor among those that share its storage."""
        if id(value) not in self._seen:
            self._seen.add(id(value))
            self._kept.append(value)
            storage = _storage(value)
            self._aliases[storage] = self._aliases.get(storage, 0) + 1

    def _is_shared(self, value: Tensor) -> bool:
        """Whether other tensors share the memory of ``value``."""
        return self._aliases[_storage(value)] > 1

    def _prepare(self, value: Tensor) -> None:
        """Label a constant, or the source of a constant view, before labelled values are written into it."""
        while self._label(value) is None and id(value) in self._views:
            value = self._views[id(value)][0].inputs[0]
        if self._label(value) is None:
            known = {action: constant_dims(value, action) for action in FOLLOWED}
            self._keep(value, Label(_unwritten(value.shape) if id(value) in self._blank else known))

    @contextmanager
    def _modules(self, module: nn.Module) -> Iterator[None]:
        """Keep track of the submodule in which each operation runs."""
        with ExitStack() as stack:
            for path, child in module.named_modules():
                if isinstance(child, torch.jit.ScriptModule):
                    continue  # a scripted module takes no hooks, but the trace sees its operations

                def enter(own: nn.Module, _args: Any, path: str = path) -> None:
                    self._stack.append(path)
                    self.recorder.enter(own)

                def leave(own: nn.Module, args: Any, kwargs: Any, made: Any, path: str = path) -> None:
                    self._stack.pop()
                    self.recorder.leave(path, own, args, kwargs, made)

                stack.callback(child.register_forward_pre_hook(enter).remove)
                stack.callback(child.register_forward_hook(leave, with_kwargs=True).remove)
            yield


class _Conversions(TorchFunctionMode):
    """Fixes the axes of tensors that are converted to NumPy arrays, Python lists or DLPack."""

    OUT = (Tensor.numpy, Tensor.__array__, Tensor.tolist, Tensor.__dlpack__)

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a torch function. If the function converts a tensor, fix the axes of the tensor first."""
        if func in self.OUT:
            self._trace.leave(args[0])
        return func(*args, **(kwargs or {}))


@contextmanager
def _primitives(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode and turn fused kernels off inside this block; restore both afterwards.

    Without fused kernels, the trace sees each step of attention.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    onednn = torch._C._get_mkldnn_enabled()  # the public function warns about missing devices
    modes = [(child, child.training) for child in module.modules()]
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)
    try:
        module.eval()
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch._C._set_mkldnn_enabled(onednn)
        for child, training in modes:
            child.training = training


def _storage(value: Tensor) -> int:
    """Return the id of the memory of a tensor, or 0 if the tensor is not strided."""
    return value.untyped_storage()._cdata if value.layout == torch.strided else 0


def input_tensors(inputs: Any) -> list[Tensor]:
    """Return the tensors in the inputs of a module.

    If the inputs contain an object that cannot be opened, only tuples, lists and dicts are searched.
    """
    try:
        return [value for _, value in tensors_of_output(inputs)]
    except ArchitectureError:
        return _tensors(inputs)


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dicts."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _fixed(shape: Sequence[int]) -> dict[str, list[Dim]]:
    """Return fixed axes for a tensor of this shape, by action."""
    return {action: [whole(Space(size, action, fixed=True)) for size in shape] for action in FOLLOWED}


def _draws(shape: Sequence[int]) -> dict[str, list[Dim]]:
    """Return the axes of a tensor of independent random draws. These axes can be permuted."""
    return {**_fixed(shape), "permute": [whole(Space(size, free=True)) for size in shape]}


def _unwritten(shape: Sequence[int]) -> dict[str, list[Dim]]:
    """Return the axes of a tensor without values. The axes are free until values are written into it."""
    return {action: [whole(Space(size, action, free=True)) for size in shape] for action in FOLLOWED}
