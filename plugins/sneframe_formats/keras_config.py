"""Read the layers in the config of a Keras model.

A config names classes and functions. They are only compared with known names, never imported or called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from torch import nn

from sneframe.errors import FileError, one_line
from sneframe.files.sizes import NESTED

LARGEST = 1 << 24  #: largest size of a config in bytes
LAYERS = 20_000  #: largest number of layers of a network
MODELS = (
    "Sequential",
    "Functional",
    "Model",
)  #: the classes of models, which can also be layers of another model
PACKAGES = ("keras", "tensorflow", "tf_keras", "keras_core")  #: packages that define the classes of Keras
OWN = frozenset(dir(nn.Module()))  #: names that a submodule of a torch module cannot have

Names = tuple[str, ...]


class NoModuleError(Exception):
    """The computation of a network is not known. The message gives the reason, and is shown in a note."""


@frozen(kw_only=True)
class KerasLayer:
    """A layer of a model. The layer may be inside a nested model.

    Args:
        names: the names of the nested models around the layer, from the outside in, and the name of the
            layer. The name of the outermost model is left out.
        stored: the path of the layer's variables in a weights file of Keras 3.
        kind: the name of the class of the layer, such as ``Dense``.
        settings: the arguments of the class.
        known: whether the class belongs to Keras. It is False for a class that a user defined.
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
        """The dotted name of the layer in torch."""
        return dotted(self.names)


def dotted(names: Sequence[str]) -> str:
    """Return the dotted name of a layer in torch.

    Args:
        names: the names of the nested models around the layer, from the outside in, and the name of the
            layer.
    """
    parts = [part for name in names for part in name.replace("_._", "/").split("/") if part]
    return ".".join(f"{part}_" if part in OWN else part.replace(".", "_") for part in parts)


def parsed(text: str | bytes, path: Path) -> Mapping[str, Any]:
    """Parse a config.

    Raises:
        FileError: the text is too long, damaged, nested too deep, or not the config of a model.
    """
    if len(text) > LARGEST:
        raise FileError(f"{path}: the config has {len(text)} bytes, more than {LARGEST}")
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise FileError(f"{path}: the config is nested too deep") from error
    except ValueError as error:
        raise FileError(f"{path}: the config is not JSON ({one_line(error)})") from error
    if not isinstance(found, Mapping) or not isinstance(found.get("class_name"), str):
        raise FileError(f"{path}: the config does not describe a Keras model")
    return found


def snake(name: str) -> str:
    """Return the name of a class in snake case, as Keras writes it: ``conv2d_transpose``."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def layers(model: Mapping[str, Any], path: Path, *, old: bool = False) -> dict[str, KerasLayer]:
    """Return the layers of a model and of its nested models, by dotted name and in the order of the config.

    Args:
        model: the config of the model.
        path: the path of the file, for errors.
        old: whether Keras 2 or older wrote the file.

    Raises:
        FileError: two layers have the same name, there are too many layers, or models are nested too deep.
    """
    found: dict[str, KerasLayer] = {}
    for layer in _layers(model, (), "", path):
        if len(found) == LAYERS:
            raise FileError(f"{path}: the config has more than {LAYERS} layers")
        if layer.path in found:
            raise FileError(f"{path}: two layers have the name {layer.path!r}")
        found[layer.path] = evolve(layer, old=old)
    return found


def _layers(model: Mapping[str, Any], names: Names, stored: str, path: Path) -> Iterator[KerasLayer]:
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
            yield KerasLayer(
                names=its, stored=inner, kind=kind, settings=settings(each), known=is_known(each)
            )


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
    """Return the class of a layer, such as ``Add``. A function of ``keras.ops`` is ``ops.Add``."""
    function = str(each.get("module")).startswith("keras.src.ops")
    return f"{'ops.' if function else ''}{each.get('class_name')}"


def is_model(each: Mapping[str, Any]) -> bool:
    """Return whether a layer is a nested model."""
    return each.get("class_name") in MODELS and is_known(each)


def is_known(each: Mapping[str, Any]) -> bool:
    """Return whether the class of a layer belongs to Keras. It is False for a class that a user defined."""
    module, registered = each.get("module"), each.get("registered_name")
    if module is not None and str(module).partition(".")[0] not in PACKAGES:
        return False
    return registered in (None, each.get("class_name"))
