"""See a low-rank adapter as the updates s B A that it makes, which do not depend on the choice of A and B."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from attrs import evolve
from torch import Tensor

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.architecture.low_rank import KIND, is_adapter, part_of
from sneframe.predict.lazy_network import LazyNetwork

ROLE = "update"


def with_updates(network: LazyNetwork) -> LazyNetwork:
    """Return an adapter whose layers hold the update of their module in place of A, B and the scaling.

    The update of a module ``M`` is the parameter ``M.update``, of shape (out, in), or (out, in, height,
    width) for a convolution. It is computed when it is read, in single precision or better, because small
    factors in half precision have products of 0. A bias of B is multiplied by s, too. Any other network is
    returned as it is.
    """
    if not is_adapter(network.architecture):
        return network
    factors: dict[str, dict[str, Parameter]] = {}
    layers = [_seen(layer, factors) for layer in network.architecture.layers]
    return evolve(
        network,
        architecture=Architecture(layers=layers),
        read=lambda: _Updates(network.read(), factors),
    )


def updates_of(network: LazyNetwork) -> dict[str, Parameter]:
    """Return the updates of an adapter by the name of B; empty for any other network."""
    found: dict[str, Parameter] = {}
    for layer in network.architecture.layers:
        if layer.kind == KIND:
            (b,) = (parameter for parameter in layer.parameters if parameter.role == "b")
            found[b.name] = _update(layer)
    return found


def _update(layer: Layer) -> Parameter:
    by_role = {parameter.role: parameter for parameter in layer.parameters}
    a, b = by_role["a"], by_role["b"]
    part = part_of(a.name)
    assert part is not None
    return Parameter(name=f"{part.module}.{ROLE}", shape=(b.shape[0], *a.shape[1:]), role=ROLE)


def _seen(layer: Layer, factors: dict[str, dict[str, Parameter]]) -> Layer:
    """Return a layer with its update, and remember the parameters that make the update."""
    if layer.kind != KIND:
        return layer
    update = _update(layer)
    own = {parameter.role: parameter for parameter in layer.parameters}
    factors[update.name] = own
    if "bias" in own:
        factors[own["bias"].name] = {role: own[role] for role in own.keys() - {"b"}}
    others = [each for each in layer.parameters if each.role not in ("a", "b", "scaling", "alpha")]
    fixed = [Parameter(name=each.name, shape=each.shape, role=each.role) for each in others]
    return evolve(layer, parameters=(update, *fixed))


def _precise(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class _Updates(Mapping[str, Tensor]):
    """The tensors of an adapter, and its updates, each computed when it is read."""

    def __init__(self, tensors: Mapping[str, Tensor], factors: Mapping[str, Mapping[str, Parameter]]) -> None:
        self._tensors, self._factors = tensors, factors

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._factors:
            return self._tensors[name]
        own = {role: _precise(self._tensors[each.name]) for role, each in self._factors[name].items()}
        a = own["a"]
        scaling = own.get("scaling", own["alpha"] / len(a) if "alpha" in own else a.new_ones(()))
        if "b" not in own:
            return scaling.reshape(()) * own["bias"]
        b = own["b"].flatten(1)
        product: Tensor = (scaling.reshape(()) * b) @ a.flatten(1)
        return product.reshape(len(b), *a.shape[1:])

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._tensors, *self._factors)))

    def __len__(self) -> int:
        return len(self._tensors.keys() | self._factors.keys())
