"""Random programs over sequences and images: operations that people write in a ``forward``, in any order.

An operation is a function ``(builder, x) -> step``. It looks at the shape of the value so far, and returns a
step that fits, or None. A step is called with the value and with all values before it.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[Tensor, Sequence[Tensor]], Tensor]
Operation = Callable[["Builder", Tensor], "Step | None"]

LARGEST = 4000  #: largest number of elements of a value
OPERATIONS: dict[str, tuple[str, Operation]] = {}


class Program(nn.Module):
    """Runs its steps one after the other; each step sees the values before it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        self.steps: list[tuple[str, Step]] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.values(x)[-1]

    def values(self, x: Tensor) -> list[Tensor]:
        """Return the input and the result of each step."""
        values = [x]
        RUNNING.append(self)
        try:
            for _, step in self.steps:
                values.append(step(values[-1], values))
        finally:
            RUNNING.pop()
        return values

    @property
    def text(self) -> str:
        """The names of its steps."""
        return " · ".join(name for name, _ in self.steps)


RUNNING: list[Program] = []  #: programs that are running, the innermost last


class Part:
    """A module of the program that is running, so that a deep copy of a program runs its own modules."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, *args: object, **kwargs: object) -> object:
        return RUNNING[-1].parts[self._number](*args, **kwargs)

    def __getattr__(self, name: str) -> object:
        return getattr(RUNNING[-1].parts[self._number], name)


class Builder:
    """Draws a program; a step is kept if it runs on the value before it and returns finite numbers."""

    def __init__(self, seed: int, kind: str) -> None:
        self.rng = random.Random(seed)
        self.kind = kind
        self.program = Program().double().eval()
        generator = torch.Generator().manual_seed(seed)
        shape = (2, self.rng.choice([3, 4]), 3) if kind == "sequence" else (2, 3, 6, 6)
        self.example = torch.randn(shape, generator=generator, dtype=torch.float64)

    # -- for operations ----------------------------------------------------------------------------------

    def add(self, module: nn.Module) -> Part:
        """Add a module to the program."""
        self.program.parts.append(module.double().eval())
        return Part(len(self.program.parts) - 1)

    def parameter(self, *shape: int) -> Part:
        """Add a parameter to the program; its tensor is the attribute ``p`` of the result."""
        holder = nn.Module()
        holder.p = nn.Parameter(torch.randn(shape))
        return self.add(holder)

    def axis(self, x: Tensor, first: int = 1) -> int:
        """Draw an axis after the batch axis."""
        return self.rng.randrange(first, x.ndim)

    def factor(self, size: int) -> int | None:
        """Draw a proper divisor of a size."""
        proper = [n for n in range(2, size) if size % n == 0]
        return self.rng.choice(proper) if proper else None

    def earlier(self, x: Tensor) -> int | None:
        """Draw an earlier value of the same shape."""
        same = [n for n, value in enumerate(self._values[:-1]) if value.shape == x.shape]
        return self.rng.choice(same) if same else None

    def linear_with(self, side: str, size: int) -> Part | None:
        """Draw a linear layer of the program with this number of inputs or outputs, if there is one."""
        parts = enumerate(self.program.parts)
        fits = [n for n, part in parts if isinstance(part, nn.Linear) and getattr(part, side) == size]
        return Part(self.rng.choice(fits)) if fits else None

    # -- building ----------------------------------------------------------------------------------------

    def build(self, length: int) -> Program:
        """Return a program of ``length`` steps, often followed by layers that read the last value."""
        names = [name for name, (kind, _) in OPERATIONS.items() if kind in (self.kind, "any")]
        self._try("linear" if self.kind == "sequence" else "conv")
        for _ in range(length):
            for _ in range(20):
                if self._try(self.rng.choice(names)):
                    break
        for name in self.rng.choice([("read",), ("read",), ("linear", "read"), ("sum",), ()]):
            self._try(name)
        return self.program

    def _try(self, name: str) -> bool:
        parts, steps = len(self.program.parts), len(self.program.steps)
        self._values = self._run()
        kept = False
        try:
            step = OPERATIONS[name][1](self, self._values[-1])
            if step is not None:
                self.program.steps.append((name, step))
                value = self._run()[-1]
                kept = isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2
                kept = kept and 0 < value.numel() <= LARGEST and bool(value.isfinite().all())
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError):
            kept = False  # it does not fit this value
        if not kept:
            del self.program.parts[parts:]
            del self.program.steps[steps:]
        return kept

    def _run(self) -> list[Tensor]:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.program.values(self.example.clone())


def build(seed: int, kind: str, length: int) -> tuple[Program, Tensor]:
    """Return a program and an input for it."""
    torch.manual_seed(seed)
    builder = Builder(seed, kind)
    return builder.build(length), builder.example


# -- operations ----------------------------------------------------------------------------------------------


def operation(kind: str) -> Callable[[Operation], Operation]:
    def keep(function: Operation) -> Operation:
        OPERATIONS[function.__name__.strip("_")] = (kind, function)
        return function

    return keep


def unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    OPERATIONS[name] = ("any", lambda _builder, _x: lambda x, _values: function(x))


def binary(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    def draw(builder: Builder, x: Tensor) -> Step | None:
        other = builder.earlier(x)
        return None if other is None else lambda x, values: function(x, values[other])

    OPERATIONS[name] = ("any", draw)


def on_axis(name: str, function: Callable[[Tensor, int], Tensor], kind: str = "any") -> None:
    def draw(builder: Builder, x: Tensor) -> Step:
        axis = builder.axis(x)
        return lambda x, _values: function(x, axis)

    OPERATIONS[name] = (kind, draw)


def in_groups(name: str, function: Callable[[Tensor], Tensor]) -> None:
    """Add an operation that divides one axis into groups and applies a function along each group."""

    def draw(builder: Builder, x: Tensor) -> Step | None:
        axis = builder.axis(x)
        n = builder.factor(x.shape[axis])
        if n is None:
            return None

        def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
            y = function(x.movedim(axis, -1).unflatten(-1, (n, -1)))
            return (y.flatten(-2) if y.ndim > x.ndim else y).movedim(-1, axis)

        return step

    OPERATIONS[name] = ("any", draw)


# Writes into a tensor whose memory other tensors share.


def _plus_first(x: Tensor) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    y[:, 0] += 1
    return y


def _rows(x: Tensor) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    y[:, 0] = y[:, 1].relu()
    return y


def _chunk(x: Tensor) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    first, second = y.chunk(2, -1)
    first.mul_(second.sigmoid())
    return y


def _twice(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[..., :2] = x[..., :2]
    y[..., 2:] = x[..., 2:].tanh()
    return y * 2


def _flat(x: Tensor) -> Tensor:
    y = torch.zeros(x.shape, dtype=x.dtype)
    y.view(len(x), -1).copy_(x.flatten(1).sigmoid())
    return y


def _into(y: Tensor, x: Tensor) -> Tensor:
    y[:] = x
    return y


def _read_after(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    rest = y[..., 1:]
    y[..., :1] = x[..., :1]
    rest += x[..., 1:].relu()
    return y


def _assigned(x: Tensor, number: float) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    y[y < 0.1] = number
    return y


def _put(x: Tensor) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    y[:, torch.tensor([0, 1])] = x[:, torch.tensor([1, 0])]
    return y


def _alias(x: Tensor) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    z = y.view(len(x), -1)
    y.sigmoid_()
    return (z * 2).view_as(x)


def _under(x: Tensor) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    z = y.transpose(1, -1)
    z.neg_()
    z[:, 0] = 0.3
    return y


def _gate(value: Tensor, gate: Tensor) -> Tensor:
    return value * gate.sigmoid()


def _product(value: Tensor, other: Tensor) -> Tensor:
    return value * other


def _overwritten(x: Tensor, y: Tensor, rows: slice, columns: slice) -> Tensor:
    z = x.clone()
    z[:, rows][..., columns] = y[:, rows][..., columns]
    return z


def _shifted(x: Tensor, y: Tensor) -> Tensor:
    z = x.clone()
    z[..., 1:] = y[..., :-1]
    return z


def _copied(z: Tensor, y: Tensor) -> Tensor:
    z[:, :1].copy_(y[:, :1])
    return z


def _scaled(x: Tensor, axis: int) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    y.narrow(axis, 0, 1).mul_(2)
    return y


def _zeroed(x: Tensor, axis: int) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    y.narrow(axis, 0, 1).zero_()
    return y


def _rectified(x: Tensor, axis: int) -> Tensor:
    y = x.clone(memory_format=torch.contiguous_format)
    y.narrow(axis, 0, 2).relu_()
    return y


def _mask(size: int) -> Tensor:
    return (torch.arange(size) % 2 == 0).double()


def _linear(builder: Builder, inputs: int, outputs: int) -> Part:
    return builder.add(nn.Linear(inputs, outputs, bias=builder.rng.random() < 0.8))


ONE, HALF = torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)

for _name, _function in {
    "relu": F.relu,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "sine": torch.sin,
    "abs": torch.abs,
    "square": torch.square,
    "leaky": F.leaky_relu,
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
    "softshrink": F.softshrink,
    "logsigmoid": F.logsigmoid,
    "hardswish": F.hardswish,
    "negate": torch.neg,
    "one_minus": lambda x: 1 - x,
    "constant_minus": lambda x: ONE - x,
    "constant_plus": lambda x: HALF + x,
    "constant_times": lambda x: HALF * x,
    "plus": lambda x: x + 0.5,
    "times": lambda x: 2 * x,
    "over": lambda x: 1 / (1 + x.square()),
    "clamp_low": lambda x: x.clamp(min=0),
    "clamp_low_other": lambda x: x.clamp(min=0.1),
    "clamp_high": lambda x: x.clamp(max=0.3),
    "clamp_negative": lambda x: x.clamp(max=0),
    "clamp_both": lambda x: x.clamp(-1, 1),
    "cube": lambda x: x.pow(3),
    "power": lambda x: x.abs().pow(0.5),
    "sign": torch.sign,
    "threshold": lambda x: F.threshold(x, 0.1, 0.0),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "where_zero": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "masked": lambda x: x.masked_fill(x < 0, 0.0),
    "maximum_zero": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "plus_ones": lambda x: x + torch.ones_like(x),
    "full_like": lambda x: x * torch.full_like(x, 0.5),
    "new_zeros": lambda x: x + x.new_zeros(x.shape),
    "empty_filled": lambda x: torch.empty_like(x).copy_(x),
    "inplace_relu": lambda x: x.clone().relu_(),
    "inplace_add": lambda x: x.clone().add_(x, alpha=0.5),
    "inplace_mul": lambda x: x.clone().mul_(x.sigmoid()),
    "addcmul": lambda x: torch.addcmul(x, x, x, value=0.5),
    "cast_int": lambda x: (3 * x).to(torch.int32).to(x.dtype),
    "cast_bool": lambda x: x.to(torch.bool).to(x.dtype),
    "compare": lambda x: (x > 0).to(x.dtype),
    "cast_float": lambda x: x.float().to(x.dtype),
    "round": torch.round,
    "floor_divide": lambda x: torch.div(x, 0.3, rounding_mode="floor"),
    "remainder": lambda x: torch.remainder(x, 1.0),
    "lookup": lambda x: torch.tensor([0.3, -1.0], dtype=x.dtype)[(x > 0).long()],
    "mish_times": lambda x: x * F.mish(x),
    "swap_last": lambda x: x.transpose(-1, -2) if x.ndim > 2 else None,
    "contiguous": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "flatten": lambda x: x.flatten(1),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1),
    "gram": lambda x: x @ x.mT,
    "gram_row": lambda x: (x @ x.mT)[..., 0],
    "gram_rows": lambda x: (x @ x.mT)[..., :2, :],
    "gram_columns": lambda x: (x @ x.mT)[..., 1:],
    "gram_softmax": lambda x: (x @ x.mT).softmax(-1) @ x,
    "gram_causal": lambda x: (x @ x.mT).tril().softmax(-1) @ x,
    "gram_diagonal": lambda x: (x @ x.mT).diagonal(dim1=-2, dim2=-1),
    "distances": lambda x: torch.cdist(x, x),
    "outer": lambda x: torch.einsum("...i,...j->...ij", x, x).flatten(-2) if x.shape[-1] <= 8 else None,
    "contract_all": lambda x: torch.einsum("...ij,...ij->...i", x, x),
    "contract_last": lambda x: (x * x).sum(-1, keepdim=True) * x,
    "normalise": lambda x: F.normalize(x, dim=-1),
    "row_max": lambda x: torch.max(x, -1)[0],
    "row_min": lambda x: torch.min(x, 1)[0],
    "all_max": lambda x: x - x.max(),
    "all_mean": lambda x: x - x.mean(),
    "aminmax": lambda x: x.aminmax(dim=-1)[1],
    "variance": lambda x: x.var(-1),
    "norm_one": lambda x: x.norm(p=1, dim=-1, keepdim=True) + x,
    "shift": lambda x: torch.cat([x[..., 1:], x[..., :1]], -1),
    "shift_rows": lambda x: torch.cat([x[:, 1:], x[:, :1]], 1),
    "flip": lambda x: x.flip(-1),
    "flip_rows": lambda x: x.flip(1),
    "roll": lambda x: x.roll(1, -1),
    "roll_rows": lambda x: x.roll(1, 1),
    "roll_all": lambda x: x.roll(1),
    "every_second": lambda x: x[..., ::2],
    "pad": lambda x: F.pad(x, (1, 0)),
    "pad_value": lambda x: F.pad(x, (0, 1), value=0.7),
    "pad_rows": lambda x: F.pad(x, (0, 0, 1, 0)),
    "pad_circular": lambda x: F.pad(x, (1, 1), mode="circular") if x.ndim == 3 else None,
    "repeat": lambda x: x.repeat(*[1] * (x.ndim - 1), 2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, -1),
    "expand": lambda x: x.unsqueeze(-1).expand(*x.shape, 2).flatten(-2),
    "one_hot": lambda x: F.one_hot(x.argmax(-1), x.shape[-1]).to(x.dtype) * x,
    "select_max": lambda x: x.gather(-1, x.argmax(-1, keepdim=True)),
    "softmax_hard": lambda x: (x == x.amax(-1, keepdim=True)).to(x.dtype),
    "stack_sum": lambda x: torch.stack([x, x.relu(), x.tanh()]).sum(0),
    "stack_flat": lambda x: torch.stack([x, x.relu()], -1).flatten(-2),
    "stack_weighted": lambda x: torch.stack([x, x.relu()], 1)[:, 0],
    "split_swap": lambda x: torch.cat(x.split([1, x.shape[-1] - 1], -1)[::-1], -1),
    "tied_gate": lambda x: x * x.mean(1, keepdim=True).sigmoid(),
    "unfold": lambda x: x.unfold(1, 2, 1).flatten(2),
    "moveaxis": lambda x: x.movedim(1, -1).movedim(-1, 1),
    "linear_combination": lambda x: torch.lerp(x, x.relu(), 0.3),
    "log1p": lambda x: torch.log1p(x.abs()),
    "zeros_state": lambda x: torch.zeros(x.shape, dtype=x.dtype) + x,
    "chunk_gate": lambda x: _gate(*x.chunk(2, -1)),
    "chunk_gate_first": lambda x: _gate(*x.chunk(2, 1)),
    "chunk_product": lambda x: _product(*x.chunk(2, -1)),
    "glu": lambda x: F.glu(x, -1),
    "glu_first": lambda x: F.glu(x, 1),
    "topk": lambda x: x.topk(2, -1)[0],
    "nan_to_num": torch.nan_to_num,
    "scalar_scale": lambda x: x * x.detach().abs().mean(),
    "atan_two": lambda x: torch.atan2(x, x.square() + 1),
    "fourier": lambda x: torch.fft.rfft(x).abs(),
    "tensordot": lambda x: torch.tensordot(x, x, dims=([-1], [-1])).flatten(1),
    "kron": lambda x: torch.kron(x, torch.ones(2, dtype=x.dtype)),
    "cross": lambda x: torch.cross(x[..., :3], x[..., 1:4], dim=-1),
    "bucketize": lambda x: torch.bucketize(x, torch.tensor([-0.5, 0.5], dtype=x.dtype)).to(x.dtype),
    "cummax": lambda x: x.cummax(-1)[0],
    "cummax_places": lambda x: x.cummax(-1)[1].to(x.dtype) + x,
    "triu": lambda x: x.triu(),
    "tensor_split": lambda x: torch.cat(x.tensor_split(3, -1)[::-1], -1),
    "swapaxes_write": lambda x: _scaled(x.clone().swapaxes(1, -1), 1).swapaxes(1, -1),
    "plus_at_first": _plus_first,
    "write_rows": _rows,
    "write_chunk": _chunk,
    "write_twice": _twice,
    "write_flat": _flat,
    "write_expanded": lambda x: _into(x.new_empty(x.shape), x.mean(-1, keepdim=True)),
    "write_into_ones": lambda x: _into(torch.ones_like(x), x.relu()),
    "read_after_write": _read_after,
    "masked_assign": lambda x: _assigned(x, 0.0),
    "masked_assign_one": lambda x: _assigned(x, 1.0),
    "index_put_rows": _put,
    "complex_rotation": lambda x: torch.view_as_real(
        torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * (0.6 + 0.8j)
    ).flatten(-2),
    "as_strided": lambda x: x.contiguous().as_strided(x.shape, x.contiguous().stride()),
    "argsort_places": lambda x: x.gather(-1, x.argsort(-1)),
    "rank": lambda x: x.argsort(-1).argsort(-1).to(x.dtype) + x,
    "count_positive": lambda x: (x > 0).sum(-1, keepdim=True).to(x.dtype) * x,
    "all_close_mask": lambda x: x * (x.abs() < 1).all(-1, keepdim=True),
    "einsum_pairs": lambda x: torch.einsum("...ai,...bi->...ab", x, x).sigmoid() @ x,
    "einsum_trace": lambda x: torch.einsum("...ii->...i", x @ x.mT),
    "mean_both": lambda x: x - x.mean((1, -1), keepdim=True),
    "softmax_flat": lambda x: x.flatten(1).softmax(-1).view_as(x),
    "max_flat": lambda x: x / (1 + x.flatten(1).amax(-1).view(-1, *[1] * (x.ndim - 1)).abs()),
    "outer_rows": lambda x: x.unsqueeze(1) + x.unsqueeze(2) if x.ndim == 3 else None,
    "pairs": lambda x: (x.unsqueeze(-1) * x.unsqueeze(-2)).amax(-1),
    "pairs_flat": lambda x: (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2),
    "permute_pairs": lambda x: (x.unsqueeze(-1) + 2 * x.unsqueeze(-2)).transpose(-1, -2).flatten(-2),
    "head_pairs": lambda x: x.unflatten(-1, (2, -1)).softmax(-1).flatten(-2).unflatten(-1, (-1, 2)).sum(-1),
    "two_groupings": lambda x: (
        x.unflatten(-1, (2, -1)).softmax(-1).flatten(-2).unflatten(-1, (3, -1)).amax(-1)
    ),
    "in_and_out": lambda x: x.unflatten(-1, (2, -1)).relu().transpose(-1, -2).flatten(-2),
    "clone_alias": _alias,
    "inplace_under_view": _under,
}.items():
    unary(_name, _function)


for _name, _function in {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": lambda x, y: x / (1 + y.abs()),
    "maximum": torch.maximum,
    "choose": lambda x, y: torch.where(y > 0, x, y),
    "lerp": lambda x, y: torch.lerp(x, y, x.sigmoid()),
    "highway": lambda x, y: x.sigmoid() * y + (1 - x.sigmoid()) * x,
    "join": lambda x, y: torch.cat([x, y], -1),
    "join_first": lambda x, y: torch.cat([x, y], 1),
    "product": lambda x, y: x @ y.mT,
    "product_inner": lambda x, y: x.mT @ y,
    "add_inplace": lambda x, y: x.clone().add_(y),
    "hypot": torch.hypot,
    "attend": lambda x, y: (x @ y.mT).softmax(-1) @ y,
    "stack_max": lambda x, y: torch.stack([x, y]).amax(0),
    "mask_by": lambda x, y: x * (y > 0),
    "compare_two": lambda x, y: (x > y).to(x.dtype) + x,
    "addcdiv": lambda x, y: torch.addcdiv(x, y, 1 + y.square()),
    "overwrite": lambda x, y: _overwritten(x, y, slice(0, 1), slice(None)),
    "overwrite_last": lambda x, y: _overwritten(x, y, slice(None), slice(0, 2)),
    "overwrite_shifted": _shifted,
    "copy_into_zeros": lambda x, y: _copied(torch.zeros_like(x), y),
    "cosine": lambda x, y: F.cosine_similarity(x, y, dim=-1),
}.items():
    binary(_name, _function)


for _name, _function in {
    "softmax": lambda x, axis: x.softmax(axis),
    "log_softmax": lambda x, axis: x.log_softmax(axis),
    "mean": lambda x, axis: x.mean(axis),
    "sum_axis": lambda x, axis: x.sum(axis),
    "amax": lambda x, axis: x.amax(axis),
    "std": lambda x, axis: x.std(axis, keepdim=True) + x,
    "logsumexp": lambda x, axis: x.logsumexp(axis),
    "center": lambda x, axis: x - x.mean(axis, keepdim=True),
    "divide_max": lambda x, axis: x / (1 + x.amax(axis, keepdim=True).abs()),
    "divide_sum": lambda x, axis: x / (1 + x.abs().sum(axis, keepdim=True)),
    "divide_norm": lambda x, axis: x / (1 + x.norm(dim=axis, keepdim=True)),
    "median": lambda x, axis: x.median(axis, keepdim=True)[0] + x,
    "product_over": lambda x, axis: x.prod(axis, keepdim=True) + x,
    "cumsum": lambda x, axis: x.cumsum(axis),
    "sort": lambda x, axis: x.sort(axis)[0],
    "first": lambda x, axis: x.select(axis, 0),
    "last": lambda x, axis: x.select(axis, -1),
    "stretch": lambda x, axis: x.narrow(axis, 1, 2),
    "rest": lambda x, axis: x.narrow(axis, 1, x.shape[axis] - 1),
    "unbind": lambda x, axis: sum(x.unbind(axis)),
    "halves": lambda x, axis: torch.cat([x.chunk(2, axis)[0].relu(), x.chunk(2, axis)[1]], axis),
    "index_perm": lambda x, axis: x.index_select(axis, torch.arange(x.shape[axis]).flip(0)),
    "take_two": lambda x, axis: x.index_select(axis, torch.tensor([1, 0])),
    "scale_inplace": _scaled,
    "write_zero": _zeroed,
    "write_relu": _rectified,
    "index_add": lambda x, axis: x.index_add(axis, torch.tensor([0, 1]), x.narrow(axis, 0, 2)),
    "gather": lambda x, axis: x.gather(axis, torch.zeros(x.shape, dtype=torch.int64)),
    "scatter": lambda x, axis: torch.zeros_like(x).scatter_add(
        axis, torch.zeros(x.shape, dtype=torch.int64), x
    ),
    "any_positive": lambda x, axis: x * (x > 0).any(axis, keepdim=True),
    "diff": lambda x, axis: x.diff(dim=axis),
    "tensor_mask": lambda x, axis: x * _mask(x.shape[axis]).view([-1] + [1] * (x.ndim - axis - 1)),
}.items():
    on_axis(_name, _function)


for _name, _function in {
    "group_softmax": lambda y: y.softmax(-1),
    "group_norm_by_hand": lambda y: (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True) + 1e-3).sqrt(),
    "group_unit": lambda y: y / (y.norm(dim=-1, keepdim=True) + 1e-3),
    "group_max": lambda y: y.amax(-1),
    "group_max_pairs": lambda y: torch.max(y, -1)[0],
    "group_mean": lambda y: y.mean(-1),
    "group_sum_over": lambda y: y.sum(-2),
    "group_center": lambda y: y - y.mean(-2, keepdim=True),
    "group_first": lambda y: y[..., 0],
    "group_gate": lambda y: y[..., :1].sigmoid() * y,
    "group_relu": lambda y: y.relu(),
    "group_shuffle": lambda y: y.transpose(-1, -2),
    "group_flip": lambda y: y.flip(-1),
    "group_swap": lambda y: y.roll(1, -2),
    "group_gram": lambda y: (y @ y.mT).flatten(-2),
    "group_attend": lambda y: (y @ y.mT).softmax(-1) @ y,
    "group_logsumexp": lambda y: y.logsumexp(-1, keepdim=True) + y,
    "group_hard": lambda y: (y == y.amax(-1, keepdim=True)).to(y.dtype) * y,
    "group_outer": lambda y: y.sum(-1, keepdim=True) * y.sum(-2, keepdim=True),
    "group_write": lambda y: _scaled(y, y.ndim - 1),
}.items():
    in_groups(_name, _function)


@operation("any")
def linear(builder: Builder, x: Tensor) -> Step:
    layer = _linear(builder, x.shape[-1], builder.rng.choice([4, 6, 8, 12]))
    return lambda x, _values: layer(x)


@operation("any")
def read(builder: Builder, x: Tensor) -> Step:
    layer = _linear(builder, x[0].numel(), 3)
    return lambda x, _values: layer(x.flatten(1))


@operation("any")
def sum_(_builder: Builder, _x: Tensor) -> Step:
    return lambda x, _values: x.flatten(1).sum(1, keepdim=True)


@operation("any")
def residual(builder: Builder, x: Tensor) -> Step:
    up, down = _linear(builder, x.shape[-1], 6), _linear(builder, 6, x.shape[-1])
    return lambda x, _values: x + down(up(x).relu())


@operation("any")
def tied(builder: Builder, x: Tensor) -> Step | None:
    layer = builder.linear_with("out_features", x.shape[-1])
    if layer is None:
        return None
    return lambda x, _values: x @ layer.weight


@operation("any")
def again(builder: Builder, x: Tensor) -> Step | None:
    layer = builder.linear_with("in_features", x.shape[-1])
    if layer is None:
        return None
    return lambda x, _values: layer(x)


@operation("any")
def scale_by(builder: Builder, x: Tensor) -> Step:
    axis = builder.axis(x)
    held = builder.parameter(*x.shape[axis:])
    shape = x.shape[axis:]
    return lambda x, _values: x * held.p.view(*shape, *[1] * (x.ndim - axis - len(shape)))


@operation("any")
def shift_by(builder: Builder, x: Tensor) -> Step:
    held = builder.parameter(x.shape[-1])
    return lambda x, _values: x + held.p


@operation("any")
def scale_channels(builder: Builder, x: Tensor) -> Step:
    held = builder.parameter(x.shape[1], *[1] * (x.ndim - 2))
    return lambda x, _values: x * held.p


@operation("any")
def scale_one(builder: Builder, _x: Tensor) -> Step:
    held = builder.parameter(1)
    return lambda x, _values: x * held.p


@operation("any")
def low_rank(builder: Builder, x: Tensor) -> Step:
    a, b = builder.parameter(x.shape[-1], 2), builder.parameter(2, 6)
    return lambda x, _values: x @ (a.p @ b.p)


@operation("any")
def layer_norm(builder: Builder, x: Tensor) -> Step:
    norm = builder.add(nn.LayerNorm(x.shape[-1]))
    return lambda x, _values: norm(x)


@operation("any")
def layer_norm_wide(builder: Builder, x: Tensor) -> Step:
    norm = builder.add(nn.LayerNorm(x.shape[1:]))
    return lambda x, _values: norm(x)


@operation("any")
def rms_norm(builder: Builder, x: Tensor) -> Step:
    norm = builder.add(nn.RMSNorm(x.shape[-1], eps=1e-3))
    return lambda x, _values: norm(x)


@operation("any")
def batch_norm(builder: Builder, x: Tensor) -> Step:
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    norm = builder.add(kinds[min(x.ndim, 4)](x.shape[1], affine=builder.rng.random() < 0.7))
    return lambda x, _values: norm(x)


@operation("any")
def group_norm(builder: Builder, x: Tensor) -> Step | None:
    n = builder.factor(x.shape[1])
    if n is None:
        return None
    norm = builder.add(nn.GroupNorm(n, x.shape[1], affine=builder.rng.random() < 0.7))
    return lambda x, _values: norm(x)


@operation("any")
def instance_norm(builder: Builder, x: Tensor) -> Step:
    kinds = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d}
    norm = builder.add(kinds[x.ndim if x.ndim in kinds else 4](x.shape[1], affine=True))
    return lambda x, _values: norm(x)


@operation("any")
def prelu(builder: Builder, x: Tensor) -> Step:
    slopes = builder.add(nn.PReLU(builder.rng.choice([1, x.shape[1]])))
    return lambda x, _values: slopes(x)


@operation("any")
def bilinear(builder: Builder, x: Tensor) -> Step:
    layer = builder.add(nn.Bilinear(x.shape[-1], x.shape[-1], 4))
    return lambda x, _values: layer(x, x)


@operation("any")
def weight_norm(builder: Builder, x: Tensor) -> Step:
    made = nn.utils.parametrizations.weight_norm(nn.Linear(x.shape[-1], 6))
    layer = builder.add(made)
    return lambda x, _values: layer(x)


@operation("any")
def heads_weight(builder: Builder, x: Tensor) -> Step | None:
    n = builder.factor(x.shape[-1])
    if n is None:
        return None
    held = builder.parameter(n, x.shape[-1] // n, 4)
    return lambda x, _values: torch.einsum("...hd,hde->...he", x.unflatten(-1, (n, -1)), held.p).flatten(-2)


@operation("any")
def table_of_signs(builder: Builder, x: Tensor) -> Step:
    table = builder.add(nn.Embedding(2, 4))
    return lambda x, _values: table((x > 0).long()).flatten(-2)


@operation("any")
def dropout(builder: Builder, _x: Tensor) -> Step:
    layer = builder.add(nn.Dropout(0.3))
    return lambda x, _values: layer(x)


@operation("any")
def squeeze_excite(builder: Builder, x: Tensor) -> Step:
    down, up = _linear(builder, x.shape[1], 4), _linear(builder, 4, x.shape[1])
    tail = [1] * (x.ndim - 2)
    return lambda x, _values: x * up(down(x.flatten(2).mean(-1)).relu()).sigmoid().unflatten(-1, (-1, *tail))


@operation("any")
def partial_linear(builder: Builder, x: Tensor) -> Step | None:
    k = builder.factor(x.shape[-1])
    if k is None:
        return None
    layer = _linear(builder, k, k)

    def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        y[..., :k] = layer(y[..., :k])
        return y

    return step


@operation("any")
def write_through_view(builder: Builder, x: Tensor) -> Step | None:
    n = builder.factor(x.shape[-1])
    if n is None:
        return None

    def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        y.view(*x.shape[:-1], n, -1)[..., 0].mul_(0.5)
        return y

    return step


@operation("sequence")
def positions(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 3:
        return None
    held = builder.parameter(x.shape[1], x.shape[2])
    return lambda x, _values: x + held.p


@operation("sequence")
def class_token(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 3:
        return None
    held = builder.parameter(1, 1, x.shape[2])
    return lambda x, _values: torch.cat([held.p.expand(len(x), -1, -1), x], 1)


@operation("sequence")
def conv_over_rows(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 3:
        return None
    groups = builder.rng.choice([1, 1, builder.factor(x.shape[2]) or 1, x.shape[2]])
    layer = builder.add(nn.Conv1d(x.shape[2], 12 if 12 % groups == 0 else x.shape[2], 2, groups=groups))
    return lambda x, _values: layer(x.transpose(1, 2)).transpose(1, 2)


def attention(builder: Builder, x: Tensor, *, shared: bool) -> Step | None:
    if x.ndim != 3 or x.shape[-1] % 2:
        return None
    width = x.shape[-1]
    q, k, v, out = (_linear(builder, width, w) for w in ((8, 4, 4, width) if shared else (8, 8, 8, width)))
    out = _linear(builder, 8, width)

    def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
        heads = [layer(x).unflatten(-1, (-1, 4)).transpose(1, 2) for layer in (q, k, v)]
        scores = heads[0] @ heads[1].mT / 2
        return x + out((scores.softmax(-1) @ heads[2]).transpose(1, 2).flatten(2))

    return step


@operation("sequence")
def attention_heads(builder: Builder, x: Tensor) -> Step | None:
    return attention(builder, x, shared=False)


@operation("sequence")
def attention_shared(builder: Builder, x: Tensor) -> Step | None:
    return attention(builder, x, shared=True)


@operation("sequence")
def rotary(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 3 or x.shape[-1] % 2:
        return None

    def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
        angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None]
        a, b = x.chunk(2, -1)
        return x * angle.cos() + torch.cat([-b, a], -1) * angle.sin()

    return step


@operation("sequence")
def multihead(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 3 or x.shape[-1] % 2:
        return None
    layer = builder.add(nn.MultiheadAttention(x.shape[-1], 2, batch_first=True))
    return lambda x, _values: layer(x, x, x, need_weights=False)[0]


@operation("sequence")
def recurrent(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 3:
        return None
    kind = builder.rng.choice([nn.RNN, nn.GRU, nn.LSTM])
    layer = builder.add(kind(x.shape[-1], 6, batch_first=True, bidirectional=builder.rng.random() < 0.3))
    return lambda x, _values: layer(x)[0]


@operation("sequence")
def loop(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 3:
        return None
    enter, stay = _linear(builder, x.shape[-1], 6), _linear(builder, 6, 6)

    def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
        h = torch.zeros(len(x), 6, dtype=x.dtype)
        states = []
        for row in x.unbind(1):
            h = torch.tanh(enter(row) + stay(h))
            states.append(h)
        return torch.stack(states, 1)

    return step


@operation("sequence")
def gated_loop(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 3:
        return None
    both = _linear(builder, x.shape[-1] + 4, 8)

    def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
        h = x.new_zeros(len(x), 4)
        for t in range(x.shape[1]):
            new, gate = both(torch.cat([x[:, t], h], -1)).chunk(2, -1)
            h = gate.sigmoid() * h + (1 - gate.sigmoid()) * new.tanh()
        return h

    return step


@operation("sequence")
def experts(builder: Builder, x: Tensor) -> Step:
    route, held = _linear(builder, x.shape[-1], 3), builder.parameter(3, x.shape[-1], 6)
    return lambda x, _values: torch.einsum("...e,edf,...d->...f", route(x).softmax(-1), held.p, x)


@operation("sequence")
def encoder_layer(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 3 or x.shape[-1] % 2:
        return None
    layer = builder.add(nn.TransformerEncoderLayer(x.shape[-1], 2, 6, batch_first=True))
    return lambda x, _values: layer(x)


# -- images --------------------------------------------------------------------------------------------------


@operation("image")
def conv(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 4:
        return None
    channels = x.shape[1]
    groups = builder.rng.choice([1, 1, 1, builder.factor(channels) or 1, channels])
    outputs = builder.rng.choice([n for n in (4, 6, 8, 12, channels) if n % groups == 0])
    mode = builder.rng.choice(["zeros", "zeros", "circular", "reflect"])
    stride = builder.rng.choice([1, 1, 2])
    made = nn.Conv2d(
        channels, outputs, builder.rng.choice([1, 3]), stride, 1, groups=groups, padding_mode=mode
    )
    layer = builder.add(made)
    return lambda x, _values: layer(x)


@operation("image")
def conv_transposed(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 4:
        return None
    groups = builder.rng.choice([1, 1, builder.factor(x.shape[1]) or 1])
    layer = builder.add(nn.ConvTranspose2d(x.shape[1], 4 * groups, 2, groups=groups))
    return lambda x, _values: layer(x)


def image(name: str, function: Callable[[Tensor], Tensor]) -> None:
    OPERATIONS[name] = (
        "image",
        lambda _builder, x: (lambda x, _values: function(x)) if x.ndim == 4 else None,
    )


for _name, _function in {
    "max_pool": lambda x: F.max_pool2d(x, 2),
    "max_pool_indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[1].to(x.dtype) + 0.5,
    "avg_pool": lambda x: F.avg_pool2d(x, 2, padding=1),
    "adaptive_pool": lambda x: F.adaptive_avg_pool2d(x, 2),
    "adaptive_max": lambda x: F.adaptive_max_pool2d(x, 1),
    "lp_pool": lambda x: F.lp_pool2d(x, 2.0, 2),
    "global_pool": lambda x: x.mean((2, 3)),
    "global_max": lambda x: x.flatten(2).max(-1)[0],
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "nearest": lambda x: F.interpolate(x, size=(4, 4)),
    "unfold_image": lambda x: F.unfold(x, 2),
    "fold_image": lambda x: F.fold(F.unfold(x, 2), x.shape[2:], 2),
    "local_response": lambda x: F.local_response_norm(x, 3),
    "spatial_gate": lambda x: x * x.mean(1, keepdim=True).sigmoid(),
    "spatial_max": lambda x: x * x.max(1, keepdim=True)[0].sigmoid(),
    "channel_softmax": lambda x: x.softmax(1),
    "place_softmax": lambda x: x.flatten(2).softmax(-1).unflatten(-1, x.shape[2:]),
    "rotate": lambda x: x.rot90(1, (2, 3)),
    "roll_places": lambda x: x.roll((1, 1), (2, 3)),
    "tokens": lambda x: x.flatten(2).transpose(1, 2),
    "gram_matrix": lambda x: x.flatten(2) @ x.flatten(2).mT,
    "split_channels": lambda x: torch.cat([x[:, : x.shape[1] // 2].relu(), x[:, x.shape[1] // 2 :]], 1),
    "crop": lambda x: x[..., 1:-1, 1:-1],
    "reflect_pad": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "replicate_pad": lambda x: F.pad(x, (1, 0, 1, 0), mode="replicate"),
    "grid_sample": lambda x: F.grid_sample(
        x, torch.zeros(len(x), 2, 2, 2, dtype=x.dtype), align_corners=False
    ),
    "blur": lambda x: F.conv2d(x, torch.full((x.shape[1], 1, 2, 2), 0.25, dtype=x.dtype), groups=x.shape[1]),
    "mix_fixed": lambda x: F.conv2d(x, torch.full((4, x.shape[1], 1, 1), 0.25, dtype=x.dtype)),
    "standardise": lambda x: F.layer_norm(x, x.shape[1:]),
    "attend_channels": lambda x: ((x.flatten(2) @ x.flatten(2).mT).softmax(-1) @ x.flatten(2)).view_as(x),
    "attend_places": lambda x: (x.flatten(2) @ (x.flatten(2).mT @ x.flatten(2)).softmax(-1)).view_as(x),
}.items():
    image(_name, _function)


@operation("image")
def partial_conv(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 4 or x.shape[1] % 2:
        return None
    k = x.shape[1] // 2
    layer = builder.add(nn.Conv2d(k, k, 3, 1, 1))

    def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        y[:, :k] = layer(y[:, :k])
        return y

    return step


@operation("image")
def residual_conv(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 4:
        return None
    one, norm = builder.add(nn.Conv2d(x.shape[1], 6, 3, 1, 1)), builder.add(nn.BatchNorm2d(6))
    two = builder.add(nn.Conv2d(6, x.shape[1], 1))
    return lambda x, _values: x + two(norm(one(x)).relu())


@operation("image")
def dense_block(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 4:
        return None
    layer = builder.add(nn.Conv2d(x.shape[1], 4, 3, 1, 1))
    return lambda x, _values: torch.cat([x, layer(x.relu())], 1)


@operation("image")
def shift_channels(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 4 or x.shape[1] < 4:
        return None

    def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
        y = torch.zeros_like(x)
        y[:, :2, :, 1:] = x[:, :2, :, :-1]
        y[:, 2:] = x[:, 2:]
        return y

    return step


@operation("image")
def dynamic_kernel(builder: Builder, x: Tensor) -> Step | None:
    if x.ndim != 4:
        return None
    layer = _linear(builder, x.shape[1], 4 * x.shape[1])

    def step(x: Tensor, _values: Sequence[Tensor]) -> Tensor:
        kernel = layer(x.mean((0, 2, 3))).view(4, x.shape[1], 1, 1)
        return F.conv2d(x, kernel)

    return step
