"""The CNN Wild Park (Kofinas et al., arXiv 2403.12143): CNNs of 2 to 8 convolutions, each with settings of its own.

``TRIAL/checkpoint_N/checkpoint.pt`` holds the state dict, and a pickled ``CNNConfig``, read without its class. The
activation of each layer, and which earlier layer it is added to, stand there; they make the architecture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.config.schema import option
from sneframe.errors import FileError, ZooError
from sneframe.files import StoredTensor, Stub, read_all, read_stubbed
from sneframe.symmetry.describe import describe
from sneframe.zoo.importer import Imported, Skipped, ZooImporter
from sneframe.zoo.splits import NAMES
from sneframe_importers.archive import Members, members
from sneframe_importers.each import each_file, one

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
}


@frozen(kw_only=True)
class WildPark:
    """What to take of it."""

    split: Path | None = option(
        None, "cnn_park_splits.json: of each part paths and scores; only these are imported"
    )


@frozen(kw_only=True)
class Place:
    """A checkpoint, and what the splits say of it."""

    file: str
    part: str | None = None
    score: float | None = None


def read(config: WildPark, source: Path, progress: Callable[[int, int], None]) -> Iterator[Imported | Skipped]:
    """Yield the checkpoints of a folder, or of the zip archive as it is published, in the order of their names."""
    with members(source) as files:
        names = [name for name in files.names() if PurePosixPath(name).name == "checkpoint.pt"]
        if not names:
            raise ZooError(f"{source}: holds no checkpoint.pt")
        places = [Place(file=name) for name in names]
        if config.split is not None:
            places = _listed(config.split, names)
        known: dict[tuple[Any, ...], Architecture] = {}
        yield from each_file(
            places, lambda place: place.file, lambda place: _network(place, files, known), progress
        )


IMPORTER = ZooImporter(
    name="importers/wild-park",
    config=WildPark,
    read=read,
    help="The CNN Wild Park: its zip archive, or the folder that is in it.",
)


def _network(place: Place, files: Members, known: dict[tuple[Any, ...], Architecture]) -> Imported:
    content = read_stubbed(files.open(place.file), Path(place.file))
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise FileError("holds no state dict under 'model'")
    tensors = read_all(content["model"])
    settings = content.get("config")
    layers = Layers.of(settings.attributes() if isinstance(settings, Stub) else settings)
    key = (layers, *((name, tensor.shape) for name, tensor in tensors.items()))
    if key not in known:
        known[key] = describe(ParkCNN(layers, tensors), layers.example(tensors))
    results = content.get("last_result")
    score = results.get("test/acc") if isinstance(results, Mapping) else None
    properties: dict[str, Any] = {
        "test_accuracy": place.score if score is None else _number(score),
        "step": content.get("iteration") if isinstance(content.get("iteration"), int) else None,
        "n_layers": len(layers.activations),
    }
    trial = PurePosixPath(place.file).parent.parent.as_posix()
    splits = {} if place.part is None else {"published": NAMES.index(place.part)}
    return one(place.file, known[key], tensors, properties, group=trial, splits=splits)


def _number(value: Any) -> float:
    value = value.read().item() if isinstance(value, StoredTensor) and not value.shape else value
    if not isinstance(value, int | float):
        raise FileError("its test accuracy is no number")
    return float(value)


@frozen(kw_only=True)
class Layers:
    """What the settings of a network say of its convolutions.

    Args:
        activations: behind each.
        residuals: for each the number of the earlier one whose output is added to its own, or -1.
    """

    activations: tuple[str, ...]
    residuals: tuple[int, ...]

    @classmethod
    def of(cls, settings: Any) -> Layers:
        """Read a configuration's attributes.

        Raises:
            FileError: some are missing, or others than a list per layer.
        """
        try:
            count = int(settings["n_layers"])
            activation, residual = settings["activation"], settings.get("residual", -1)
            names = [activation] * count if isinstance(activation, str) else list(activation)[:count]
            sources = [residual] * count if isinstance(residual, int) else list(residual)[:count]
            found = cls(activations=tuple(str(n) for n in names), residuals=tuple(int(s) for s in sources))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise FileError("its config has no layers with activations") from error
        for number, (name, source) in enumerate(zip(found.activations, found.residuals, strict=False)):
            if name not in ACTIVATIONS or source >= number:
                raise FileError(f"layer {number} has activation {name!r} and adds layer {source}")
        if not 0 < count == len(found.activations) == len(found.residuals):
            raise FileError(f"its config says {count} layers, and not as many activations and residuals")
        return found

    def example(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return an image that the network takes."""
        first = next((value for value in tensors.values() if value.ndim == 4), None)
        if first is None:
            raise FileError("has no convolution")
        return torch.zeros(1, first.shape[1], 32, 32)


class ParkCNN(nn.Module):
    """Convolutions, some with an earlier one's maps added, the mean over positions, and a linear layer.

    Args:
        layers: their activations and residuals.
        tensors: ``layers.{i}.weight``, ``layers.{i}.bias``, ``fc.weight``, ``fc.bias``, by which sizes are known.
    """

    def __init__(self, layers: Layers, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        count = len(layers.activations)
        wanted = {
            f"{stem}.{last}"
            for stem in (*(f"layers.{i}" for i in range(count)), "fc")
            for last in ("weight", "bias")
        }
        if set(tensors) != wanted:
            odd = sorted(set(tensors) ^ wanted)
            raise FileError(
                f"{count} layers are said to be in it, and {odd[0]!r} {'is' if odd[0] in tensors else 'is not'}"
            )
        kernels = [tensors[f"layers.{i}.weight"] for i in range(count)]
        if any(kernel.ndim != 4 for kernel in kernels) or tensors["fc.weight"].ndim != 2:
            raise FileError("its layers are no convolutions and a linear layer")
        # Padded so that maps keep their size: strides and pools move no channel.
        self.layers = nn.ModuleList(
            nn.Conv2d(kernel.shape[1], kernel.shape[0], (kernel.shape[2], kernel.shape[3]), padding="same")
            for kernel in kernels
        )
        self.activations = nn.ModuleList(ACTIVATIONS[name]() for name in layers.activations)
        self.residuals = layers.residuals
        self.fc = nn.Linear(tensors["fc.weight"].shape[1], tensors["fc.weight"].shape[0])

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, classes)``."""
        maps: list[Tensor] = []
        x = images
        for layer, activation, source in zip(self.layers, self.activations, self.residuals, strict=True):
            x = activation(layer(x))
            if source >= 0:
                x = x + maps[source]
            maps.append(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _listed(path: Path, names: list[str]) -> list[Place]:
    """Return the checkpoints that the splits list, by the ends of their paths."""
    ends = {"/".join(PurePosixPath(name).parts[-3:]): name for name in names}
    found = []
    try:
        for part, content in json.loads(path.read_text(encoding="utf-8")).items():
            for listed, score in zip(content["path"], content["score"], strict=True):
                short = "/".join(PurePosixPath(str(listed)).parts[-3:])
                found.append(Place(file=ends.get(short, str(listed)), part=_known(part), score=float(score)))
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ZooError(f"{path}: no splits of the park ({type(error).__name__}: {error})") from error
    if not found:
        raise ZooError(f"{path}: lists no checkpoint")
    return found


def _known(part: str) -> str:
    if part not in NAMES:
        raise ValueError(f"a part {part!r}")
    return part
