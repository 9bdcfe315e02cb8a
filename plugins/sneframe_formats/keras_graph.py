"""Read the calls of layers from the config of a Keras model.

The calls of the layers of nested models are in the same list as those of the outermost model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from sneframe.files.sizes import NESTED
from sneframe_formats.keras_config import (
    MODELS,
    Names,
    NoModuleError,
    dotted,
    is_known,
    is_model,
    name_of,
    parts,
    settings,
)

CALLS = 20_000  #: largest number of calls of layers in a network

Reference = tuple[
    str, int, int
]  #: the name of a layer, the number of its call, and the number of an output of the call
Key = tuple[str, int]  #: the name of a layer, and the number of one of its calls


@frozen(kw_only=True)
class KerasCall:
    """One call of a layer.

    Args:
        path: the dotted name of the layer.
        inputs: what the layer reads. An int is the number of a value, and a float is a constant.
        output: the number of the value that the layer computes.
    """

    path: str
    inputs: tuple[int | float, ...]
    output: int


@frozen(kw_only=True)
class KerasGraph:
    """The computation of a model.

    Args:
        inputs: the shape and the type of each input. Unknown sizes are None. Input ``i`` is value ``i``.
        calls: the calls, in an order in which they can run.
        outputs: the numbers of the values that the model returns.
    """

    inputs: tuple[tuple[tuple[int | None, ...], str], ...]
    calls: tuple[KerasCall, ...]
    outputs: tuple[int, ...]


@frozen
class _Build:
    """Collects the calls of a model and of its nested models in one list."""

    calls: list[KerasCall] = field(factory=list)
    inputs: list[tuple[tuple[int | None, ...], str]] = field(factory=list)
    count: list[int] = field(factory=lambda: [0])

    def new(self) -> int:
        self.count[0] += 1
        return self.count[0] - 1

    def model(self, model: Mapping[str, Any], names: Names, given: list[int] | None) -> list[int]:
        """Add the calls of a model to the list, and return the numbers of the values that the model returns.

        ``given`` has the numbers of the values that the model reads. It is None for the outermost model.
        """
        if len(names) > NESTED:
            raise NoModuleError("the nested models are too deep")
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
            raise NoModuleError(f"the model has more than {CALLS} calls of layers")
        call = KerasCall(path=dotted(its), inputs=tuple(inputs), output=self.new())
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
            raise NoModuleError("a model inside a Sequential has several outputs")
        return outputs

    def _functional(self, model: Mapping[str, Any], names: Names, given: list[int] | None) -> list[int]:
        config, own = settings(model), {name_of(each): each for each in parts(model)}
        values: dict[Key, list[int]] = {}
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
        readers: dict[Key, list[Key]] = {}
        missing: dict[Key, int] = {}
        ready: list[Key] = []
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
            inputs = [
                each if isinstance(each, float) else _value(each, values, waiting) for each in waiting[key]
            ]
            values[key] = self.layer(own[key[0]], names, inputs)
            for reader in reversed(readers.get(key, [])):
                missing[reader] -= 1
                if not missing[reader]:
                    ready.append(reader)
        return [_value(each, values, waiting) for each in _references(config.get("output_layers"))]


def graph(model: Mapping[str, Any]) -> KerasGraph:
    """Return the computation of a model.

    Raises:
        NoModuleError: the config does not state the computation, or states it in an unknown form.
    """
    if model.get("class_name") not in MODELS or not is_known(model):
        raise NoModuleError(
            f"the model is of the class {str(model.get('class_name'))!r}, whose code is not run"
        )
    build = _Build()
    outputs = build.model(model, (), None)
    if not outputs or not build.calls:
        raise NoModuleError("the config has no layers")
    return KerasGraph(inputs=tuple(build.inputs), calls=tuple(build.calls), outputs=tuple(outputs))


def _source(reference: Reference, values: Mapping[Key, Any], nodes: Mapping[Key, Any]) -> Key:
    """Return the call of a layer to which a reference refers.

    Keras counts the calls of a layer over all models in which the layer was used. If this model calls the
    layer once, every number therefore means this call.

    Raises:
        NoModuleError: the layer has no call of this number, and is not called exactly once.
    """
    name, node, _ = reference
    if (name, node) in values or (name, node) in nodes:
        return name, node
    if ((name, 0) in values or (name, 0) in nodes) and (name, 1) not in nodes:
        return name, 0
    raise NoModuleError(f"the config refers to call {node} of {name!r}, which is missing")


def _value(reference: Reference, values: Mapping[Key, list[int]], nodes: Mapping[Key, Any]) -> int:
    found = values.get(_source(reference, values, nodes))
    if found is None:
        raise NoModuleError(f"the config has a cycle, or no input for {reference[0]!r}")
    if not 0 <= reference[2] < len(found):
        raise NoModuleError(
            f"the config refers to output {reference[2]} of {reference[0]!r}, which is missing"
        )
    return found[reference[2]]


def _nodes(each: Mapping[str, Any]) -> list[Any]:
    found = each.get("inbound_nodes")
    return found if isinstance(found, list) else []


def _arguments(node: Any, name: str) -> list[Reference | float]:
    """Return what a call reads. ``node`` is a dict in files of Keras 3, and a list in files of Keras 2."""
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
    """Check and return references to outputs of calls. ``found`` is one reference or a list of references."""
    if not isinstance(found, list):
        raise NoModuleError("the config has inputs or outputs of an unknown form")
    listed = [found] if found and isinstance(found[0], str) else found
    references: list[Reference] = []
    for each in listed:
        form = isinstance(each, list) and len(each) >= 3 and isinstance(each[0], str)
        if not form or not all(type(number) is int for number in each[1:3]):
            raise NoModuleError("the config has inputs or outputs of an unknown form")
        references.append((each[0], each[1], each[2]))
    return references


def _shape(found: Any) -> tuple[int | None, ...]:
    sizes = found if isinstance(found, list) else []
    if len(sizes) < 2 or not all(each is None or (type(each) is int and each > 0) for each in sizes):
        raise NoModuleError("the config does not give the shape of an input")
    return tuple(sizes)


def _dtype(found: Any) -> Any:
    """Return the name of a dtype. Keras 3 may state it as a dict with the settings of a dtype policy."""
    return settings(found).get("name") if isinstance(found, Mapping) else found
