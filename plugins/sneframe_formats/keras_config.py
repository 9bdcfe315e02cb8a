"""Read the config of a Keras model: its layers, and the graph of their calls.

A config names classes and functions. They are only compared with known names, never imported or called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen
from torch import nn

from sneframe.errors import FileError, one_line
from sneframe.files.sizes import NESTED

LARGEST = 1 << 24  #: largest size of a config in bytes
CALLS = 20_000  #: largest number of calls of layers in a network
MODELS = ("Sequential", "Functional", "Model")  #: the classes of layers that consist of layers
PACKAGES = ("keras", "tensorflow", "tf_keras", "keras_core")
OWN = frozenset(dir(nn.Module()))  #: names that a part of a torch module cannot have

Names = tuple[str, ...]


class NoModuleError(Exception):
    """The computation of a network is not known. The message is a note that says why."""


@frozen(kw_only=True)
class Layer:
    """A layer of a model, or of a model in it.

    Args:
        names: the names of the models around the layer, without that of the whole model, and its own name.
        stored: the path of the layer's variables in a weights file of Keras 3.
        kind: the name of the class, such as ``Dense``.
        settings: the arguments of the class.
        known: whether the class is one of Keras, not one of the user's.
        old: whether Keras 2 or older wrote the file.
    """

    names: Names
    stored: str
    kind: str
    settings: Mapping[str, Any]
    known: bool = True
    old: bool = False

    @property
    def path(self) -> str:
        """The dotted name, which the layer has in torch."""
        return dotted(self.names)


@frozen(kw_only=True)
class Call:
    """One call of a layer.

    Args:
        path: the dotted name of the layer.
        inputs: what the layer reads: the number of a value, or a constant as a float.
        output: the number of the value that the layer computes.
    """

    path: str
    inputs: tuple[int | float, ...]
    output: int


@frozen(kw_only=True)
class Graph:
    """The computation of a model.

    Args:
        inputs: the shape, with None for unknown sizes, and the type of each input. Input ``i`` is value ``i``.
        calls: the calls, in an order in which they can run.
        outputs: the numbers of the values that the model returns.
    """

    inputs: tuple[tuple[tuple[int | None, ...], str], ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]


def dotted(names: Sequence[str]) -> str:
    """Return the name that torch uses for a layer with these names of models around it."""
    parts = [part for name in names for part in name.replace("_._", "/").split("/") if part]
    return ".".join(f"{part}_" if part in OWN else part.replace(".", "_") for part in parts)


def parsed(text: str | bytes, path: Path) -> Mapping[str, Any]:
    """Parse a config.

    Raises:
        FileError: the text is too long, damaged, nested too deep, or no config of a model.
    """
    if len(text) > LARGEST:
        raise FileError(f"{path}: the config has {len(text)} bytes, more than {LARGEST}")
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise FileError(f"{path}: the config is nested too deep") from error
    except ValueError as error:
        raise FileError(f"{path}: the config is no JSON ({one_line(error)})") from error
    if not isinstance(found, Mapping) or not isinstance(found.get("class_name"), str):
        raise FileError(f"{path}: the config is not that of a Keras model")
    return found


def snake(name: str) -> str:
    """Return the name of a class as Keras writes it into weights files: ``conv2d_transpose``."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def layers(model: Mapping[str, Any], path: Path, *, old: bool = False) -> dict[str, Layer]:
    """Return the layers of a model by dotted name, with those of the models in it, in the config's order.

    Args:
        model: the config of the model.
        path: the path of the file, for errors.
        old: whether Keras 2 or older wrote the file.

    Raises:
        FileError: two layers have the same name, or models are nested too deep.
    """
    found: dict[str, Layer] = {}
    for layer in _layers(model, (), "", path):
        if layer.path in found:
            raise FileError(f"{path}: two layers have the name {layer.path!r}")
        found[layer.path] = evolve(layer, old=old)
    return found


def _layers(model: Mapping[str, Any], names: Names, stored: str, path: Path) -> Iterator[Layer]:
    if len(names) > NESTED:
        raise FileError(f"{path}: more than {NESTED} models are nested in each other")
    used: dict[str, int] = {}
    for each in parts(model):
        kind, own = kind_of(each), snake(str(each.get("class_name")))
        used[own] = used.get(own, -1) + 1
        inner = f"{stored}layers/{own}{f'_{used[own]}' if used[own] else ''}"
        its = (*names, name_of(each))
        if is_model(each):
            yield from _layers(each, its, f"{inner}/", path)
        else:
            yield Layer(names=its, stored=inner, kind=kind, settings=settings(each), known=_known(each))


def parts(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the configs of the layers of a model."""
    config = model.get("config")
    found = config.get("layers") if isinstance(config, Mapping) else config
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def settings(each: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of the class of a layer."""
    found = each.get("config")
    return found if isinstance(found, Mapping) else {}


def name_of(each: Mapping[str, Any]) -> str:
    """Return the name of a layer."""
    return str(settings(each).get("name") or each.get("name") or snake(str(each.get("class_name"))))


def kind_of(each: Mapping[str, Any]) -> str:
    """Return the class of a layer, as ``ops.Add`` for a function of Keras, which differs from a layer."""
    function = str(each.get("module")).startswith("keras.src.ops")
    return f"{'ops.' if function else ''}{each.get('class_name')}"


def is_model(each: Mapping[str, Any]) -> bool:
    """Return whether a layer is a model that consists of layers."""
    return each.get("class_name") in MODELS and _known(each)


def _known(each: Mapping[str, Any]) -> bool:
    module, registered = each.get("module"), each.get("registered_name")
    if module is not None and str(module).partition(".")[0] not in PACKAGES:
        return False
    return registered in (None, each.get("class_name"))


# -- the graph --------------------------------------------------------------------------------------------


@frozen
class _Build:
    """Flattens a model and the models in it to one list of calls."""

    calls: list[Call] = field(factory=list)
    inputs: list[tuple[tuple[int | None, ...], str]] = field(factory=list)
    count: list[int] = field(factory=lambda: [0])

    def new(self) -> int:
        self.count[0] += 1
        return self.count[0] - 1

    def model(self, model: Mapping[str, Any], names: Names, given: list[int] | None) -> list[int]:
        """Add the calls of a model to the list, and return its outputs. Without ``given`` it is the whole."""
        if len(names) > NESTED:
            raise NoModuleError("its models are nested too deep")
        if model.get("class_name") == "Sequential":
            return self._sequential(model, names, given)
        return self._functional(model, names, given)

    def layer(self, each: Mapping[str, Any], names: Names, inputs: list[int | float]) -> list[int]:
        its = (*names, name_of(each))
        if is_model(each):
            if not all(isinstance(value, int) for value in inputs):
                raise NoModuleError(f"the model {dotted(its)!r} reads a constant")
            return self.model(each, its, [value for value in inputs if isinstance(value, int)])
        if len(self.calls) >= CALLS:
            raise NoModuleError(f"it has more than {CALLS} calls of layers")
        call = Call(path=dotted(its), inputs=tuple(inputs), output=self.new())
        self.calls.append(call)
        return [call.output]

    def _sequential(self, model: Mapping[str, Any], names: Names, given: list[int] | None) -> list[int]:
        own = parts(model)
        if given is None:
            first = settings(own[0]) if own else {}
            shape = first.get("batch_shape") or first.get("batch_input_shape")
            for holder in (settings(model), model, own[0] if own else {}):
                build = holder.get("build_config")
                built = build.get("input_shape") if isinstance(build, Mapping) else None
                shape = shape or holder.get("build_input_shape") or built
            self.inputs.append((_shape(shape), str(_dtype(first.get("dtype")))))
            given = [self.new()]
        if len(given) != 1:
            raise NoModuleError(f"the model {dotted(names)!r} reads several values")
        value = given[0]
        for each in own:
            if each.get("class_name") != "InputLayer":
                (value,) = self._one(self.layer(each, names, [value]))
        return [value]

    def _one(self, outputs: list[int]) -> list[int]:
        if len(outputs) != 1:
            raise NoModuleError("a model in it has several outputs")
        return outputs

    def _functional(self, model: Mapping[str, Any], names: Names, given: list[int] | None) -> list[int]:
        config, own = settings(model), {name_of(each): each for each in parts(model)}
        values: dict[tuple[str, int], list[int]] = {}
        entries = _references(config.get("input_layers"))
        for number, (name, _, _) in enumerate(entries):
            if given is None:
                first = settings(own.get(name, {}))
                shape = first.get("batch_shape") or first.get("batch_input_shape")
                self.inputs.append((_shape(shape), str(_dtype(first.get("dtype")))))
                values[name, 0] = [self.new()]
            elif number < len(given):
                values[name, 0] = [given[number]]
        if given is not None and len(given) != len(entries):
            raise NoModuleError(f"the model {dotted(names)!r} is called on {len(given)} values")
        waiting = {
            (name, number): _arguments(node, name)
            for name, each in own.items()
            for number, node in enumerate(_nodes(each))
        }
        readers: dict[tuple[str, int], list[tuple[str, int]]] = {}
        missing: dict[tuple[str, int], int] = {}
        ready: list[tuple[str, int]] = []
        for key, arguments in waiting.items():
            sources = {_source(each, values, waiting) for each in arguments if isinstance(each, tuple)}
            open_sources = sources - values.keys()
            missing[key] = len(open_sources)
            for source in open_sources:
                readers.setdefault(source, []).append(key)
            if not open_sources:
                ready.append(key)
        ready.reverse()
        while ready:
            key = ready.pop()
            inputs: list[int | float] = []
            for each in waiting[key]:
                inputs.append(each if isinstance(each, float) else _value(each, values, waiting))
            values[key] = self.layer(own[key[0]], names, inputs)
            for reader in reversed(readers.get(key, [])):
                missing[reader] -= 1
                if not missing[reader]:
                    ready.append(reader)
        return [_value(each, values, waiting) for each in _references(config.get("output_layers"))]


Reference = tuple[str, int, int]


def graph(model: Mapping[str, Any]) -> Graph:
    """Return the computation of a model.

    Raises:
        NoModuleError: the config does not say how the model computes, or in an unknown form.
    """
    if model.get("class_name") not in MODELS or not _known(model):
        raise NoModuleError(f"it is of the class {str(model.get('class_name'))!r}, whose code is not run")
    build = _Build()
    outputs = build.model(model, (), None)
    if not outputs or not build.calls:
        raise NoModuleError("its config has no layers")
    return Graph(inputs=tuple(build.inputs), calls=tuple(build.calls), outputs=tuple(outputs))


def _source(
    reference: Reference, values: Mapping[tuple[str, int], Any], nodes: Mapping[tuple[str, int], Any]
) -> tuple[str, int]:
    """Return the call that a reference means. A layer that is called once may have any number of the call."""
    name, node, _ = reference
    if (name, node) in values or (name, node) in nodes:
        return name, node
    if ((name, 0) in values or (name, 0) in nodes) and (name, 1) not in nodes:
        return name, 0
    raise NoModuleError(f"its config refers to a call {node} of {name!r}, which is missing")


def _value(
    reference: Reference, values: Mapping[tuple[str, int], list[int]], nodes: Mapping[tuple[str, int], Any]
) -> int:
    found = values.get(_source(reference, values, nodes))
    if found is None:
        raise NoModuleError(f"its config has a cycle, or no input for {reference[0]!r}")
    if not 0 <= reference[2] < len(found):
        raise NoModuleError(f"its config refers to an output {reference[2]} of {reference[0]!r}")
    return found[reference[2]]


def _nodes(each: Mapping[str, Any]) -> list[Any]:
    found = each.get("inbound_nodes")
    return found if isinstance(found, list) else []


def _arguments(node: Any, name: str) -> list[Reference | float]:
    """Return what a call reads, from the form of Keras 3, a dict, or that of Keras 2, a list."""
    if isinstance(node, Mapping):
        _check_keywords(node.get("kwargs"), name)
        args = node.get("args")
        if not isinstance(args, list):
            raise NoModuleError(f"the call of {name!r} has an unknown form")
        if len(args) == 1 and isinstance(args[0], list):
            args = args[0]
        return [_argument(each, name) for each in args]
    if isinstance(node, list):
        nodes = [node] if node and isinstance(node[0], str) else node
        for each in nodes:
            if isinstance(each, list) and len(each) > 3:
                _check_keywords(each[3], name)
        return list(_references(nodes))
    raise NoModuleError(f"the call of {name!r} has an unknown form")


def _argument(each: Any, name: str) -> Reference | float:
    if isinstance(each, int | float) and not isinstance(each, bool):
        return float(each)
    inner = each.get("config") if isinstance(each, Mapping) else None
    if not isinstance(inner, Mapping) or "keras_history" not in inner:
        raise NoModuleError(f"the call of {name!r} has an argument of an unknown form")
    return _references([inner["keras_history"]])[0]


def _check_keywords(keywords: Any, name: str) -> None:
    for key, value in keywords.items() if isinstance(keywords, Mapping) else ():
        if value is not None and value is not False:
            raise NoModuleError(f"the call of {name!r} has the argument {key!r}, which is not known")


def _references(found: Any) -> list[Reference]:
    """Return references to outputs of calls: one, or a list of them."""
    if not isinstance(found, list):
        raise NoModuleError("its config has inputs or outputs of an unknown form")
    listed = [found] if found and isinstance(found[0], str) else found
    references: list[Reference] = []
    for each in listed:
        form = isinstance(each, list) and len(each) >= 3 and isinstance(each[0], str)
        if not form or not all(type(number) is int for number in each[1:3]):
            raise NoModuleError("its config has inputs or outputs of an unknown form")
        references.append((each[0], each[1], each[2]))
    return references


def _shape(found: Any) -> tuple[int | None, ...]:
    sizes = found if isinstance(found, list) else []
    if len(sizes) < 2 or not all(each is None or (type(each) is int and each > 0) for each in sizes):
        raise NoModuleError("its config does not give the shape of an input")
    return tuple(sizes)


def _dtype(found: Any) -> Any:
    """Return the name of a type, which Keras 3 may give as a policy with a name."""
    return settings(found).get("name") if isinstance(found, Mapping) else found
