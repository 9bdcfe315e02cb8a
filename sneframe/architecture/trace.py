"""Run a module once and follow what happens to every axis: module and input in, constraints on spaces out.

A dispatch mode sees each operation that torch carries out, below modules, autograd and composites: recurrent cells,
attention and hand-written layers arrive as the same few dozen primitives. :mod:`.rules` says what each of them means
for the axes it touches; what it has no rule for is not guessed, but fixed, with a warning that names it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sneframe.architecture import outputs, rules
from sneframe.architecture.call import Call, Label
from sneframe.architecture.description import ACTIONS
from sneframe.architecture.digit import Digit, Dim, commit, fix_dim, whole
from sneframe.architecture.operations import Operations
from sneframe.architecture.space import Clash, Space, find, leaves, tree, unnest

#: A constraint that cannot be expressed, or an operation in a form that no rule foresaw.
UNFOLLOWED = (Clash, IndexError, KeyError, TypeError, ValueError)


class Trace(TorchDispatchMode):
    """Labels every tensor of one forward pass.

    Args:
        module: that runs under it.
        state: the parameters and buffers to describe, by name, each tensor once.
    """

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self.axes: dict[str, dict[str, list[Space]]] = {
            name: {action: [Space(size, action) for size in value.shape] for action in ACTIONS}
            for name, value in state.items()
        }
        self.operations = Operations(module, state)
        self._labels: dict[int, Label] = {}
        self._kept: list[Tensor] = []  # an identity must not be used again while labels are looked up by it
        self._stack: list[str] = []
        for name, value in state.items():
            dims = {action: [whole(space) for space in spaces] for action, spaces in self.axes[name].items()}
            self._keep(value, Label(dims, names=(name,)))

    # -- running ---------------------------------------------------------------------------------------------

    def run(self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Run the module; its inputs and outputs stay where they are."""
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor):
                self._keep(value, Label(_fixed(value.shape)))
        with _primitives(module), self._modules(module), torch.no_grad(), self:
            output = module(*args, **kwargs)
        for _, value in outputs.tensors(output, of=type(module).__name__):
            if id(value) in self._labels:
                self.fix(self._labels[id(value)])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out an operation, then label its outputs."""
        result = func(*args, **(kwargs or {}))
        inputs = [value for value in tree_leaves((args, kwargs or {})) if isinstance(value, Tensor)]
        labels = {id(value): self._labels[id(value)] for value in inputs if id(value) in self._labels}
        if labels:
            name = func.overloadpacket.__name__
            if func._schema.is_mutable and name.endswith("_") and not name.endswith("__"):
                name = name[:-1]
            made = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
            self._follow(Call(name, tuple(args), kwargs or {}, made, inputs, labels))
        return result

    def _follow(self, call: Call) -> None:
        try:
            if self._writes_into_a_part(call):
                raise Clash
            dims = rules.apply(call)
        except UNFOLLOWED:
            dims = self._give_up(call)
        names, operation, direct = self.operations.record(call, self._stack)
        for output, its in zip(call.outputs, dims, strict=True):
            self._keep(output, Label(its, names=names, operation=operation, direct=direct))
        for label in (*call.labels.values(), *(self._labels[id(output)] for output in call.outputs)):
            settle(label.dims["permute"])

    def _writes_into_a_part(self, call: Call) -> bool:
        """Whether a tensor that is not followed is overwritten in part by one that is."""
        if not call.outputs or call.name in ("native_batch_norm",):
            return False
        target = call.outputs[0]
        overwritten = any(target is value for value in call.inputs) and id(target) not in call.labels
        return overwritten and target.untyped_storage().nbytes() != target.nbytes

    def _give_up(self, call: Call) -> list[dict[str, list[Dim]]]:
        before = self._loose()
        for label in call.labels.values():
            self.fix(label)
        lost = sorted(before - self._loose())
        if lost:
            where = self._stack[-1] if self._stack else ""
            named = ", ".join(f"{name!r} axis {axis}" for name, axis in lost[:4])
            warnings.warn(
                f"{call.name} in {where or 'the module itself'!r} cannot be followed; taken as fixed: {named}"
                f"{f' and {len(lost) - 4} more' if len(lost) > 4 else ''}",
                stacklevel=2,
            )
        return [_fixed(output.shape) for output in call.outputs]

    def _loose(self) -> set[tuple[str, int]]:
        """Return the axes of parameters along which something may still be permuted."""
        return {
            (name, axis)
            for name, spaces in self.axes.items()
            for axis, space in enumerate(spaces["permute"])
            if any(not leaf.fixed and leaf.size > 1 for leaf in leaves(space))
        }

    # -- labels ----------------------------------------------------------------------------------------------

    def fix(self, label: Label) -> None:
        """Fix every axis under every action."""
        for dims in label.dims.values():
            for dim in dims:
                fix_dim(dim)

    def _keep(self, value: Tensor, label: Label) -> None:
        self._labels[id(value)] = label
        self._kept.append(value)

    @contextmanager
    def _modules(self, module: nn.Module) -> Iterator[None]:
        """Know at every operation in which submodule it happens."""
        with ExitStack() as stack:
            for path, child in module.named_modules():

                def enter(_module: nn.Module, _args: Any, path: str = path) -> None:
                    self._stack.append(path)

                def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
                    self._stack.pop()

                stack.callback(child.register_forward_pre_hook(enter).remove)
                stack.callback(child.register_forward_hook(leave).remove)
            yield


@contextmanager
def _primitives(module: nn.Module) -> Iterator[None]:
    """Let attention and recurrent layers be carried out step by step, in evaluation mode."""
    fast = torch.backends.mha.get_fastpath_enabled()
    onednn = torch._C._get_mkldnn_enabled()  # the public switch warns about devices that are not there
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


def settle(dims: Sequence[Dim]) -> None:
    """Let a space that is nested in one which the tensor lacks act alike in all of its elements."""
    digits = [digit for dim in dims for digit in dim]

    def is_complete(digit: Digit) -> bool:
        return {other.place for other in digits if other.is_of(digit)}.issuperset(range(digit.place))

    known = [digit.space if is_complete(digit) else commit(digit) for digit in digits]
    loose = [
        (digit, space)
        for digit, space in zip(digits, known, strict=True)
        if (digit.is_whole or not is_complete(digit)) and find(space).nested is not None
    ]
    if not loose:
        return
    present = set().union(*(tree(space) for space in known))
    present |= {
        id(commit(d)) for d in digits if not d.is_whole and any(not d.is_of(other) for other, _ in loose)
    }
    for _, space in loose:
        nested = find(space).nested
        if nested is not None and not tree(nested) & present:
            unnest(space)


def _fixed(shape: Sequence[int]) -> dict[str, list[Dim]]:
    return {action: [whole(Space(size, action, fixed=True)) for size in shape] for action in ACTIONS}
