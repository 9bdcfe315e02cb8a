"""Describe plain chains: MLPs, and CNNs that end in pooling or flattening and linear layers.

From a module by tracing it with ``torch.fx``; from a state dict by names and shapes. What cannot be followed is
refused, never guessed.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from attrs import define, field
from torch import Tensor, fx, nn

from sneframe.architecture.description import Architecture, Axis, Group, Layer, Parameter
from sneframe.errors import ArchitectureError

LINEAR = {nn.Linear: "linear", nn.Conv1d: "conv1d", nn.Conv2d: "conv2d", nn.Conv3d: "conv3d"}
ACTIVATIONS = {
    "relu": (nn.ReLU, F.relu, torch.relu, "relu"),
    "leaky_relu": (nn.LeakyReLU, F.leaky_relu),
    "elu": (nn.ELU, F.elu),
    "selu": (nn.SELU, F.selu),
    "gelu": (nn.GELU, F.gelu),
    "silu": (nn.SiLU, F.silu),
    "mish": (nn.Mish, F.mish),
    "softplus": (nn.Softplus, F.softplus),
    "tanh": (nn.Tanh, F.tanh, torch.tanh, "tanh"),
    "sigmoid": (nn.Sigmoid, F.sigmoid, torch.sigmoid, "sigmoid"),
    "sine": (torch.sin, "sin"),
}
#: Operations that leave every axis where it is.
SAME = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, F.dropout, "contiguous")
#: Poolings that keep channels and mix positions.
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
#: Poolings to a fixed number of positions: to one, they are global.
ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d)
FLATTENS = (nn.Flatten, torch.flatten, "flatten")
SCALAR = (
    operator.mul,
    operator.add,
    operator.sub,
    operator.truediv,
    torch.mul,
    torch.add,
    torch.sub,
    "mul",
    "add",
)


def from_module(module: nn.Module) -> Architecture:
    """See :meth:`sneframe.architecture.Architecture.from_module`."""
    try:
        graph = fx.Tracer().trace(module)
    except Exception as error:
        raise ArchitectureError(
            f"{type(module).__name__} cannot be traced by torch.fx ({' '.join(str(error).split())[:120]}); "
            f"describe it with Architecture(layers=…, groups=…)"
        ) from error
    chain = _Chain()
    for node in graph.nodes:
        _check_chain(node, module)
        _follow(node, module, chain)
    used = {name for layer in chain.layers for name in layer.names}
    left = [name for name in module.state_dict() if name not in used]
    if left:
        raise ArchitectureError(
            f"{type(module).__name__}: {left[0]!r} belongs to no layer that could be followed"
        )
    return chain.architecture()


def from_state_dict(state: Mapping[str, Tensor], *, activation: str = "relu") -> Architecture:
    """See :meth:`sneframe.architecture.Architecture.from_state_dict`."""
    chain = _Chain()
    for stem, weight, bias in _pairs(state):
        kind = {2: "linear", 3: "conv1d", 4: "conv2d", 5: "conv3d"}[weight.ndim]
        if chain.layers:
            before = chain.layers[-1]
            chain.activate(activation, stem)
            if kind == "linear" and before.kind != "linear":
                if weight.shape[1] == before.outputs:
                    chain.pool()
                else:
                    chain.flatten(known=False)
        chain.add(kind, stem, tuple(weight.shape), bias=bias, attributes={})
    return chain.architecture()


# -- a chain in the making ------------------------------------------------------------------------------------


@define
class _Link:
    kind: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    attributes: dict[str, Any]
    activation: str = "none"
    before: str = ""  #: what lies between this layer and the one before it: nothing, a pooling, a flattening
    known: bool = True  #: whether it is known how the flattening orders channels and positions

    @property
    def outputs(self) -> int:
        return self.shape[0]


@define
class _Chain:
    layers: list[_Link] = field(factory=list)
    between: str = ""
    known: bool = True

    def add(
        self, kind: str, stem: str, shape: tuple[int, ...], *, bias: bool, attributes: dict[str, Any]
    ) -> None:
        if self.layers:
            before = self.layers[-1]
            wanted, got = before.outputs, shape[1]
            fits = got == wanted or (self.between == "flatten" and got % wanted == 0)
            if not fits:
                raise ArchitectureError(
                    f"{stem or 'weight'}: takes {got} inputs, the layer before it has {wanted} outputs; "
                    f"these layers form no chain"
                )
            if before.kind == "linear" and kind != "linear":
                raise ArchitectureError(f"{stem}: a {kind} after a linear layer cannot be followed")
        prefix = f"{stem}." if stem else ""
        names = (f"{prefix}weight", f"{prefix}bias") if bias else (f"{prefix}weight",)
        self.layers.append(_Link(kind, names, shape, attributes, before=self.between, known=self.known))
        self.between, self.known = "", True

    def activate(self, name: str, where: str) -> None:
        if not self.layers:
            raise ArchitectureError(f"{where}: {name} before the first layer cannot be followed")
        if self.layers[-1].activation != "none":
            raise ArchitectureError(
                f"{where}: a second activation after {self.layers[-1].names[0]!r} cannot be followed"
            )
        self.layers[-1].activation = name

    def pool(self) -> None:
        self.between = "global_average_pool"

    def flatten(self, *, known: bool = True) -> None:
        if self.between == "" and self.layers and self.layers[-1].kind != "linear":
            self.between, self.known = "flatten", known

    def architecture(self) -> Architecture:
        if not self.layers:
            raise ArchitectureError("no linear or convolution layer was found")
        layers: list[Layer] = []
        groups: list[Group] = []
        inputs: Axis = ((self.layers[0].shape[1],),)
        for number, link in enumerate(self.layers):
            if link.before:
                layers.append(Layer(kind=link.before, inputs=(len(layers) - 1,)))
            last = number == len(self.layers) - 1
            following = None if last else self.layers[number + 1]
            outputs: Axis = ((link.outputs,),)
            if following is not None and following.known:
                group = Group(name=f"hidden{number}", size=link.outputs)
                groups.append(group)
                outputs = ((group.name,),)
            layers.append(
                Layer(
                    kind=link.kind,
                    parameters=tuple(_parameters(link, outputs, inputs)),
                    inputs=(len(layers) - 1,) if layers else (),
                    activation=link.activation,
                    attributes=link.attributes,
                )
            )
            if following is not None:
                inputs = _columns(link, following, outputs)
        return Architecture(layers=layers, groups=groups)


def _columns(link: _Link, following: _Link, outputs: Axis) -> Axis:
    """Return the axis on which ``following`` reads the outputs of ``link``."""
    inputs = following.shape[1]
    if not following.known:
        warnings.warn(
            f"{following.names[0]!r} reads {inputs} inputs from {link.outputs} channels: whether channels or positions vary "
            f"fastest cannot be read off a state dict, so the neurons of {link.names[0]!r} are taken as fixed",
            stacklevel=5,
        )
        return ((inputs,),)
    repeats = inputs // link.outputs
    return outputs if repeats == 1 else ((*outputs[0], repeats),)


def _parameters(link: _Link, outputs: Axis, inputs: Axis) -> Iterator[Parameter]:
    kernel: tuple[Axis, ...] = tuple(((size,),) for size in link.shape[2:])
    yield Parameter(name=link.names[0], shape=link.shape, role="weight", axes=(outputs, inputs, *kernel))
    if len(link.names) == 2:
        yield Parameter(name=link.names[1], shape=link.shape[:1], role="bias", axes=(outputs,))


# -- following a traced module --------------------------------------------------------------------------------


def _check_chain(node: fx.Node, module: nn.Module) -> None:
    if len(node.all_input_nodes) > 1 or (len(node.users) > 1):
        raise ArchitectureError(
            f"{type(module).__name__}: {node.name!r} branches or joins; only chains can be followed so far, "
            f"describe it with Architecture(layers=…, groups=…)"
        )


def _follow(node: fx.Node, module: nn.Module, chain: _Chain) -> None:
    if node.op in ("placeholder", "output"):
        return
    target: Any = node.target
    if node.op == "call_module":
        target = module.get_submodule(str(node.target))
        if type(target) in LINEAR:
            chain.add(
                *_layer(target, str(node.target)),
                bias=target.bias is not None,
                attributes=_attributes(target),
            )
            return
    name = _activation(target)
    if name is not None:
        chain.activate(name, node.name)
    elif _is(target, FLATTENS):
        chain.flatten()
    elif isinstance(target, ADAPTIVE):
        if math.prod(_pair(target.output_size)) == 1:
            chain.pool()
    elif _is_global_mean(node, target):
        chain.pool()
    elif isinstance(target, POOLS) or _is(target, SAME):
        pass
    elif _is(target, SCALAR) and chain.layers:
        _scale(node, target, chain)
    else:
        shown = (
            type(target).__name__ if isinstance(target, nn.Module) else getattr(target, "__name__", target)
        )
        raise ArchitectureError(
            f"{type(module).__name__}: {shown} ({node.name!r}) cannot be followed; chains of linear and convolution "
            f"layers, {', '.join(ACTIVATIONS)}, pooling, flatten and dropout can; describe other networks with "
            f"Architecture(layers=…, groups=…)"
        )


def _layer(layer: Any, stem: str) -> tuple[str, str, tuple[int, ...]]:
    if getattr(layer, "groups", 1) != 1:
        raise ArchitectureError(f"{stem!r}: a grouped convolution cannot be followed so far")
    return LINEAR[type(layer)], stem, tuple(layer.weight.shape)


def _attributes(layer: Any) -> dict[str, Any]:
    if isinstance(layer, nn.Linear):
        return {}
    padding = layer.padding if isinstance(layer.padding, str) else list(layer.padding)
    return {"stride": list(layer.stride), "padding": padding, "dilation": list(layer.dilation)}


def _activation(target: Any) -> str | None:
    return next((name for name, forms in ACTIVATIONS.items() if _is(target, forms)), None)


def _is(target: Any, forms: tuple[type | Callable[..., Any] | str, ...]) -> bool:
    return any(
        isinstance(target, form)
        if isinstance(form, type)
        else target == form  # a function, or a method's name
        for form in forms
    )


def _is_global_mean(node: fx.Node, target: Any) -> bool:
    """Whether a node averages over all positions: ``x.mean((2, 3))``, ``torch.mean(x, dim=(-2, -1))``."""
    if not _is(target, (torch.mean, "mean")):
        return False
    axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    return isinstance(axes, list | tuple) and set(axes) in ({2, 3}, {-1, -2}, {2, 3, 4}, {-1, -2, -3})


def _scale(node: fx.Node, target: Any, chain: _Chain) -> None:
    """Record the constants of an affine step such as the 30 of sin(30 x) or the 0.5 of x + 0.5."""
    constants = [arg for arg in node.args if not isinstance(arg, fx.Node)]
    if node.kwargs or len(constants) != 1 or not isinstance(constants[0], int | float):
        raise ArchitectureError(f"{node.name!r}: only a step with one number can be followed")
    operation = getattr(target, "__name__", str(target))
    chain.layers[-1].attributes.setdefault("affine", []).append([operation, float(constants[0])])


def _pair(size: Any) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)


# -- reading a state dict -------------------------------------------------------------------------------------


def _pairs(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, bool]]:
    names = set(state)
    for name, weight in state.items():
        stem, _, role = name.rpartition(".")
        prefix = f"{stem}." if stem else ""
        if role == "weight" and 2 <= weight.ndim <= 5:
            bias = f"{prefix}bias"
            if bias in names and tuple(state[bias].shape) != (weight.shape[0],):
                raise ArchitectureError(
                    f"{bias!r} has shape {tuple(state[bias].shape)}, expected ({weight.shape[0]},)"
                )
            yield stem, weight, bias in names
        elif role != "bias" or f"{prefix}weight" not in names:
            raise ArchitectureError(
                f"{name!r} of shape {tuple(weight.shape)} is no weight or bias of a linear or convolution layer; "
                f"describe the network with Architecture.from_module or Architecture(layers=…, groups=…)"
            )
