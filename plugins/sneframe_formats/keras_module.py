"""Build a torch module that computes what the config of a Keras model describes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from sneframe.errors import ArchitectureError, one_line
from sneframe_formats.keras_config import KerasLayer, NoModuleError
from sneframe_formats.keras_graph import KerasGraph, graph
from sneframe_formats.keras_layers import BUILDERS, check_size
from sneframe_formats.keras_plain import plain
from sneframe_formats.keras_settings import check_common

SIDES = (64, 224, 16)  #: the sizes that are tried in turn for axes whose size the config does not state
BATCH = 2  #: the size of the batch of an example
TOTAL = 1 << 28  #: largest number of elements of all tensors that a network computes


class KerasModule(nn.Module):
    """Computes a Keras model. In inputs and outputs the channels are the last axis, as in Keras.

    Args:
        children: the layers by dotted name.
        graph: the calls of the layers.
    """

    def __init__(self, children: Mapping[str, nn.Module], graph: KerasGraph) -> None:
        super().__init__()
        for path, child in children.items():
            *models, name = path.split(".")
            parent: nn.Module = self
            for model in models:
                if model not in parent._modules:
                    parent.add_module(model, nn.Module())
                parent = getattr(parent, model)
            parent.add_module(name, child)
        self.calls = tuple((call.path, call.inputs, call.output) for call in graph.calls)
        self.number, self.outputs = len(graph.inputs), graph.outputs

    def forward(self, *inputs: Tensor) -> Any:
        """Return the output of the model, or a tuple if the model has several outputs."""
        if len(inputs) != self.number:
            raise ArchitectureError(f"the model has {self.number} inputs, but got {len(inputs)}")
        values: dict[int, Tensor] = dict(enumerate(inputs))
        total = 0
        for path, read, output in self.calls:
            given = [values[each] if isinstance(each, int) else each for each in read]
            values[output] = self.get_submodule(path)(*given)
            check_size(values[output].shape)
            total += values[output].numel()
            if total > TOTAL:
                raise ArchitectureError(f"the layers compute more than {TOTAL} numbers")
        found = tuple(values[each] for each in self.outputs)
        return found[0] if len(found) == 1 else found


@frozen(eq=False)
class Description:
    """Builds the module of a network from its config.

    Args:
        graph: the calls of the layers.
        known: the layers of the config by dotted name.
        values: the tensors of the network, with torch's names and order of axes.
        side: the size of axes whose size the config does not state.
    """

    graph: KerasGraph
    known: Mapping[str, KerasLayer]
    values: Mapping[str, Tensor]
    side: int = SIDES[0]

    def empty(self) -> KerasModule:
        """Build the module on the meta device, so that its tensors have shapes but no values.

        Raises:
            NoModuleError: a layer, or a setting of a layer, is not known.
        """
        shapes = {name: tuple(value.shape) for name, value in self.values.items()}
        made: dict[str, nn.Module] = {}
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parameters without elements
            for call in self.graph.calls:
                if call.path not in made:
                    made[call.path] = _built(self.known[call.path], shapes)
        return KerasModule(made, self.graph)

    def module(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return the module with the weights of the network, and an example of its inputs."""
        module = self.empty()
        halves = (torch.float16, torch.bfloat16)
        own = {n: v.float() if v.dtype in halves else v.clone() for n, v in self.values.items()}
        for name, value in own.items():
            owner, _, inner = name.rpartition(".")
            parent = module.get_submodule(owner)
            if inner in parent._parameters:
                parent._parameters[inner] = nn.Parameter(value)
            else:
                parent._buffers[inner] = value
        return module.eval(), self.examples("cpu", next(iter(own.values())).dtype)

    def examples(self, device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return an example of each input. An input that an embedding reads is zeros."""
        indices = {
            each
            for call in self.graph.calls
            if self.known[call.path].kind == "Embedding"
            for each in call.inputs
        }
        generator = torch.Generator().manual_seed(0)
        found = []
        for number, (shape, kind) in enumerate(self.graph.inputs):
            sizes = [shape[0] or BATCH, *(size or self.side for size in shape[1:])]
            check_size(sizes)
            if number in indices:
                found.append(torch.zeros(sizes, dtype=torch.int64, device=device))
            elif kind.startswith(("int", "uint")):
                drawn = torch.randint(0, 2, sizes, generator=generator)
                found.append(drawn.to(device))
            elif device == "meta":
                found.append(torch.empty(sizes, device=device))
            else:
                found.append(torch.randn(sizes, generator=generator).to(dtype))
        return tuple(found)


def _built(layer: KerasLayer, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
    check_common(layer)
    made = BUILDERS[layer.kind](layer, shapes) if layer.kind in BUILDERS else plain(layer)
    if made is None:
        code = ", whose code is not run" if layer.kind == "Lambda" else ""
        raise NoModuleError(f"the layer {layer.path!r} is of the class {layer.kind!r}{code}")
    return made


def description(
    model: Mapping[str, Any], known: Mapping[str, KerasLayer], values: Mapping[str, Tensor]
) -> Description:
    """Return a :class:`Description` of the module for a config.

    The module is built and run once on the meta device, which shows whether the sizes of its layers fit.

    Args:
        model: the config of the model.
        known: the layers of the config by dotted name.
        values: the tensors of the network, with torch's names and order of axes.

    Raises:
        NoModuleError: the computation is not known, or the config needs other tensors than ``values``.
    """
    found = Description(graph(model), known, values)
    try:
        module = found.empty()
        own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in values.items()}
        for name in own.keys() | given.keys():
            if own.get(name) != given.get(name):
                raise NoModuleError(
                    f"the config describes {name!r} with shape {own.get(name)}, "
                    f"but the file has {given.get(name)}"
                )
        return _fitting(found, module)
    except NoModuleError:
        raise
    except Exception as error:  # sizes that do not fit can raise any error
        raise NoModuleError(f"the config does not fit: {one_line(error)}") from error


@torch.no_grad()
def _fitting(found: Description, module: nn.Module) -> Description:
    """Return the description with the first size of ``SIDES`` with which the module runs."""
    is_open = any(size is None for shape, _ in found.graph.inputs for size in shape[1:])
    failure: Exception | None = None
    for side in SIDES if is_open else SIDES[:1]:
        tried = evolve(found, side=side)
        try:
            module.eval()(*tried.examples("meta", torch.float32))
        except Exception as error:  # noqa: BLE001  # the error of the last size is raised below
            failure = failure or error
        else:
            return tried
    assert failure is not None
    raise failure
