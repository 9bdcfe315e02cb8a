"""Build the modules of networks with an installed library: ``timm``, ``torchvision`` or ``transformers``.

Nothing is downloaded, and no code that a file names is executed.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from sneframe.errors import ConfigError, FileError, choices, one_line
from sneframe.files.module_fit import classes
from sneframe.files.module_sources import ModuleSource
from sneframe.files.module_watch import Watch

CLASSES = "num_classes"  #: the property that gives the number of classes
CONFIG = "config.json"
CONFIG_BYTES = 1 << 20  #: the largest config file that is read
COUNTS = ("num", "layer", "depth")  #: words in the names of settings that count layers, labels and the like
MOST = 10**6  #: the largest such count. Some configs make a list of this length before the model is built.
#: Words in the names of settings that are left out. Such settings choose kernels and number types, name code
#: outside of the library, or add outputs.
LEFT_OUT = ("implementation", "auto_map", "quantization", "dtype", "use_kernels", "output_")


class Library(ModuleSource):
    """Builds modules with a library.

    Args:
        word: the name of the module factory, such as ``timm:resnet18``.
        name: the part after the colon.

    Raises:
        ConfigError: the library is not installed, or does not know the name.
    """

    library: ClassVar[str]

    def __init__(self, word: str, name: str) -> None:
        self._word = word
        self._name = name
        self._watch = Watch(word, refuse=True)
        if find_spec(self.library) is None:
            raise ConfigError(f"{word}: {self.library} is not installed; pip install {self.library}")
        try:
            self._package: Any = importlib.import_module(self.library)
        except Exception as error:  # a library that does not fit the installed torch may raise anything
            raise ConfigError(f"{word}: {self.library} cannot be imported: {one_line(error)}") from error

    def _unknown(self, name: str, known: Sequence[str]) -> str:
        near = difflib.get_close_matches(name, known, n=6, cutoff=0.4)
        return f"{self.library} has no model {name!r}, {choices(name, near, 'similar names')}"


class Catalogue(Library):
    """Builds the models that a library lists by name.

    If the library's number of classes is not the number in the file, the sizes of the classifier in the file
    give the number. If those sizes do not agree, the property ``num_classes`` gives it.
    """

    def __init__(self, word: str, name: str) -> None:
        super().__init__(word, name)
        self._classes: int | None = None  # of the last network; the next network often has as many
        known = self._known()
        if self._listed() not in known:
            raise ConfigError(f"{word}: {self._unknown(name, known)}")

    @abstractmethod
    def _known(self) -> list[str]:
        """Return the names of all models."""

    def _listed(self) -> str:
        """Return the name of this model in the list of the library."""
        return self._name

    @abstractmethod
    def _build(self, options: Mapping[str, Any]) -> nn.Module:
        """Build the model with random weights."""

    def make(
        self,
        tensors: Mapping[str, Tensor],
        properties: Mapping[str, Any],
        path: Path | None,  # noqa: ARG002  # an argument of the interface
    ) -> Any:
        """Build the model with the number of classes that the file has."""
        module = self._with(self._classes)
        if (number := classes(module, tensors)) is None and self._classes is None:
            given = properties.get(CLASSES)
            number = given if isinstance(given, int) and not isinstance(given, bool) else None
        if number is None:
            return module
        self._classes = number
        return self._with(number)

    def _with(self, number: int | None) -> nn.Module:
        try:
            with self._watch.running():
                return self._build({} if number is None else {CLASSES: number})
        except Exception as error:  # the library may raise anything
            raise ConfigError(f"{self._word}: {one_line(error)}") from error


@final
class TimmModel(Catalogue):
    """Builds models of timm."""

    library = "timm"

    def _known(self) -> list[str]:
        return [*self._package.list_models()]

    def _listed(self) -> str:
        return self._name.partition(".")[0]  # a tag after the dot names pretrained weights

    def _build(self, options: Mapping[str, Any]) -> nn.Module:
        module: nn.Module = self._package.create_model(self._name, pretrained=False, **options)
        return module


@final
class TorchvisionModel(Catalogue):
    """Builds models of torchvision."""

    library = "torchvision"

    def _known(self) -> list[str]:
        return [*self._package.models.list_models()]

    def _build(self, options: Mapping[str, Any]) -> nn.Module:
        models = self._package.models
        # A detection model downloads the weights of its backbone, unless this argument forbids it.
        takes = inspect.signature(models.get_model_builder(self._name)).parameters
        backbone = {"weights_backbone": None} if "weights_backbone" in takes else {}
        module: nn.Module = models.get_model(self._name, weights=None, **backbone, **options)
        return module


@final
class TransformersModel(Library):
    """Builds models of transformers from the file ``config.json`` in the folder of the weights.

    The class of the model is the first in ``architectures``, or the part of the word after the colon. Only
    classes of transformers itself are built.
    """

    library = "transformers"

    def __init__(self, word: str, name: str) -> None:
        super().__init__(word, name)
        self._class: Any = None
        if name:
            try:
                self._class = self._model(name)
            except FileError as error:
                raise ConfigError(f"{word}: {error}") from error

    def make(
        self,
        tensors: Mapping[str, Tensor],
        properties: Mapping[str, Any],  # noqa: ARG002  # an argument of the interface
        path: Path | None,
    ) -> Any:
        """Build the model that ``config.json`` describes."""
        if path is None:
            raise ConfigError(
                f"{self._word}: reads {CONFIG} beside a file, but this network is not in a file"
            )
        data = _read((path if path.is_dir() else path.parent) / CONFIG)
        kind = self._class or self._model(_first(data))
        with self._quiet():
            try:
                with self._watch.running():
                    with _bounded(tensors), torch.device("meta"):
                        trial = kind(self._config(kind, data))
                    _check_buffers(trial, tensors)
                    return kind(self._config(kind, data))
            except FileError:
                raise
            except Exception as error:  # the library may raise anything
                raise FileError(f"{CONFIG} gives no {kind.__name__}: {one_line(error)}") from error

    def file_names(self, module: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, str]:
        """Return the names in the file by the names in the module, for tensors that transformers has renamed.

        Raises:
            FileError: transformers gives two tensors of the file the same name.
        """
        state = module.state_dict()
        if all(name in state for name in tensors):
            return {}
        try:
            loading = importlib.import_module("transformers.core_model_loading")
            mapping = importlib.import_module("transformers.conversion_mapping")
        except ImportError:  # before version 5, models kept the names of their files
            return {}
        rules = mapping.get_model_conversion_mapping(module)
        rules = [each for each in rules if isinstance(each, loading.WeightRenaming)]
        prefix: Any = module.base_model_prefix or None
        new = {name: loading.rename_source_key(name, rules, [], prefix, state)[0] for name in tensors}
        if len({*new.values()}) < len(new):
            raise FileError("transformers gives two tensors of the file the same name")
        return {own: name for name, own in new.items() if own != name}

    def _config(self, kind: Any, data: Mapping[str, Any]) -> Any:
        config = kind.config_class.from_dict(_cleaned(data))
        config._attn_implementation = "eager"  # the other implementations may be fetched from a hub
        self._without_cache(config)
        return config

    def _without_cache(self, config: Any) -> None:
        """Turn off the cache of keys and values. Otherwise the model would return the cache as an output."""
        config.use_cache = False
        for name in getattr(config, "sub_configs", {}):
            if isinstance(inner := getattr(config, name, None), self._package.PreTrainedConfig):
                self._without_cache(inner)

    def _model(self, name: str) -> Any:
        """Return the model class of transformers with this name.

        Raises:
            FileError: transformers has no such class, or cannot import it.
        """
        try:
            found = getattr(self._package, name, None)
        except Exception as error:  # the class may need another library, or another version of torch
            raise FileError(f"transformers cannot import {name}: {one_line(error)}") from error
        base = self._package.PreTrainedModel
        if not (isinstance(found, type) and issubclass(found, base) and getattr(found, "config_class", None)):
            models = [each for each in dir(self._package) if each.endswith("Model") or "For" in each]
            raise FileError(self._unknown(name, models))
        return found

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Keep transformers from printing remarks about every config."""
        logging = self._package.utils.logging
        before = logging.get_verbosity()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(before)


def _read(path: Path) -> dict[str, Any]:
    """Read a config file.

    Raises:
        FileError: there is no such file, or the file holds no JSON object, or is too large.
    """
    if not path.is_file():
        raise FileError(f"there is no {CONFIG} in the folder of the file")
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES + 1)
        if len(text) > CONFIG_BYTES:
            raise FileError(f"{CONFIG} is larger than {CONFIG_BYTES} bytes")
        data = json.loads(text)
    except OSError as error:
        raise FileError(f"{CONFIG}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{CONFIG} is not valid JSON: {one_line(error)}") from error
    if not isinstance(data, dict):
        raise FileError(f"{CONFIG} must hold a JSON object")
    return data


def _first(data: Mapping[str, Any]) -> str:
    """Return the first class that a config names in ``architectures``."""
    names = data.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise FileError(f"{CONFIG} names no class in 'architectures'; name one as transformers:CLASS")
    return names[0]


def _cleaned(value: Any) -> Any:
    """Return a config without settings that name code or kernels, and without pretrained backbones.

    Raises:
        FileError: a count is too large.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            if any(w in key for w in COUNTS) and isinstance(each, int | float) and abs(each) > MOST:
                raise FileError(f"{CONFIG}: {key} is larger than {MOST}")
        kept = {key: _cleaned(each) for key, each in value.items() if not any(w in key for w in LEFT_OUT)}
        return {**kept, "use_pretrained_backbone": False} if "use_pretrained_backbone" in kept else kept
    return [_cleaned(each) for each in value] if isinstance(value, list) else value


@contextmanager
def _bounded(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Raise an error if a model that is built in this context is much larger than the network in a file.

    A model may have more parameters than the file, because a file holds tied parameters once.

    Raises:
        FileError: the model is too large.
    """
    most, weights = 2 * len(tensors) + 1000, _most(tensors)
    seen = 0

    def add(module: nn.Module, name: str, parameter: Tensor | None) -> None:  # noqa: ARG001  # torch calls it
        nonlocal most, seen
        if parameter is not None:
            seen += parameter.numel()
            most -= 1
            if most < 0 or seen > weights:
                raise FileError(f"{CONFIG} describes a larger network than the file holds")

    handle = register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        handle.remove()


def _check_buffers(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    if sum(each.numel() for each in module.buffers()) > 64 * _most(tensors):
        raise FileError(f"{CONFIG} describes larger buffers than the network in the file has")


def _most(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of weights that a model for a network may have."""
    return 2 * sum(each.numel() for each in tensors.values()) + 10**6


LIBRARIES: dict[str, type[Library]] = {
    each.library: each for each in (TimmModel, TorchvisionModel, TransformersModel)
}
