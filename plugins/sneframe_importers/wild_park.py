"""Import the CNN Wild Park (Kofinas et al., arXiv 2403.12143), a zoo of CNNs with 2 to 8 convolutions.

``TRIAL/checkpoint_N/checkpoint.pt`` holds the state dict and a pickled ``CNNConfig``, which is read without
the class ``CNNConfig``. The config gives the activation and the residual connection of each convolution. A
residual connection adds the output of an earlier convolution to the output of this one. Activations and
residual connections determine the architecture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
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
from sneframe.zoo.importer import ImportContext, Imported, Skipped, ZooImporter
from sneframe.zoo.splits import NAMES
from sneframe_importers.archive import Entries, open_entries
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
    """Options of ``zoo import wild-park``."""

    split: Path | None = option(
        None,
        "cnn_park_splits.json, which lists the paths and scores of train, val and test; only the listed "
        "networks are imported",
    )


@frozen(kw_only=True)
class ListedCheckpoint:
    """A checkpoint, and the part and score that the published splits give for the checkpoint.

    Args:
        file: path in the folder or archive.
        part: train, val or test, or None without splits.
        score: test accuracy from the splits, or None without splits.
    """

    file: str
    part: str | None = None
    score: float | None = None


def read(config: WildPark, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped]:
    """Yield the checkpoints of a folder or zip archive.

    They have the order of the splits. Without splits, they are ordered by name.

    Raises:
        ZooError: there is no checkpoint, or the archive or the splits cannot be read.
    """
    with open_entries(source) as entries:
        names = [name for name in entries.names() if PurePosixPath(name).name == "checkpoint.pt"]
    if not names:
        raise ZooError(f"{source}: there is no checkpoint.pt in this folder or archive")
    checkpoints = [ListedCheckpoint(file=name) for name in names]
    if config.split is not None:
        checkpoints = _listed(config.split, names)
    yield from each_file(checkpoints, attrgetter("file"), partial(_opened, source), reading)


@contextmanager
def _opened(source: Path) -> Iterator[Callable[[ListedCheckpoint], Imported]]:
    """Give the function that reads a checkpoint.

    Raises:
        ZooError: the archive cannot be read.
    """
    known: dict[tuple[Any, ...], Architecture] = {}
    with open_entries(source) as entries:
        yield partial(_network, entries=entries, known=known)


IMPORTER = ZooImporter(
    name="importers/wild-park",
    config=WildPark,
    read=read,
    engines=True,
    help="The CNN Wild Park: its zip archive, or the folder in it.",
)


def _network(
    checkpoint: ListedCheckpoint, entries: Entries, known: dict[tuple[Any, ...], Architecture]
) -> Imported:
    content = read_stubbed(entries.open(checkpoint.file), Path(checkpoint.file))
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise FileError("the file holds no state dict under 'model'")
    tensors = read_all(content["model"])
    settings = content.get("config")
    layers = ListedLayers.of(settings.attributes() if isinstance(settings, Stub) else settings)
    key = (layers, *((name, tensor.shape) for name, tensor in tensors.items()))
    if key not in known:
        known[key] = describe(ParkCNN(layers, tensors), layers.example(tensors))
    results = content.get("last_result")
    score = results.get("test/acc") if isinstance(results, Mapping) else None
    properties: dict[str, Any] = {
        "test_accuracy": checkpoint.score if score is None else _number(score),
        "step": content.get("iteration") if isinstance(content.get("iteration"), int) else None,
        "n_layers": len(layers.activations),
    }
    trial = PurePosixPath(checkpoint.file).parent.parent.as_posix()
    splits = {} if checkpoint.part is None else {"published": NAMES.index(checkpoint.part)}
    return one(checkpoint.file, known[key], tensors, properties, group=trial, splits=splits)


def _number(value: Any) -> float:
    value = value.read().item() if isinstance(value, StoredTensor) and not value.shape else value
    if not isinstance(value, int | float):
        raise FileError("the test accuracy is not a number")
    return float(value)


@frozen(kw_only=True)
class ListedLayers:
    """The activations and residual connections of the convolutions of a network.

    Args:
        activations: activation after each convolution.
        residuals: the residual connection of each convolution: the number of the earlier convolution whose
            output is added, or -1 for none.
    """

    activations: tuple[str, ...]
    residuals: tuple[int, ...]

    @classmethod
    def of(cls, settings: Any) -> ListedLayers:
        """Read the settings from the attributes of a ``CNNConfig``.

        Raises:
            FileError: an attribute is missing, has a wrong type, or contradicts another.
        """
        try:
            count = int(settings["n_layers"])
            activation, residual = settings["activation"], settings.get("residual", -1)
            names = [activation] * count if isinstance(activation, str) else list(activation)[:count]
            sources = [residual] * count if isinstance(residual, int) else list(residual)[:count]
            layers = cls(activations=tuple(str(n) for n in names), residuals=tuple(int(s) for s in sources))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise FileError("the config does not give the number of layers and the activations") from error
        for number, (name, source) in enumerate(zip(layers.activations, layers.residuals, strict=False)):
            if name not in ACTIVATIONS:
                raise FileError(
                    f"layer {number} has the unknown activation {name!r} (known: {', '.join(ACTIVATIONS)})"
                )
            if source >= number:
                raise FileError(f"layer {number} adds layer {source}, which is not an earlier layer")
        if not 0 < count == len(layers.activations) == len(layers.residuals):
            raise FileError(
                f"the config says {count} layers, but has {len(layers.activations)} activations and "
                f"{len(layers.residuals)} residuals"
            )
        return layers

    def example(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return a 32 × 32 image of zeros with the number of channels that the network takes.

        Raises:
            FileError: there is no convolution.
        """
        first = next((value for value in tensors.values() if value.ndim == 4), None)
        if first is None:
            raise FileError("the network has no convolution")
        return torch.zeros(1, first.shape[1], 32, 32)


class ParkCNN(nn.Module):
    """A CNN of the Wild Park zoo.

    It has convolutions with residual connections, a mean over the pixels, and a linear layer.

    Args:
        layers: activations and residual connections of the convolutions.
        tensors: ``layers.{i}.weight``, ``layers.{i}.bias``, ``fc.weight`` and ``fc.bias``, which give the
            sizes.

    Raises:
        FileError: the tensors do not fit the layers.
    """

    def __init__(self, layers: ListedLayers, tensors: Mapping[str, Tensor]) -> None:
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
                f"the config says {count} layers, but the state dict "
                f"{'also has' if odd[0] in tensors else 'does not have'} {odd[0]!r}"
            )
        kernels = [tensors[f"layers.{i}.weight"] for i in range(count)]
        if any(kernel.ndim != 4 for kernel in kernels) or tensors["fc.weight"].ndim != 2:
            raise FileError("the layers are not convolutions followed by one linear layer")
        # Strides and pools do not affect the symmetry, so this module has none. Its padding keeps the size of
        # the maps.
        self.layers = nn.ModuleList(
            nn.Conv2d(kernel.shape[1], kernel.shape[0], (kernel.shape[2], kernel.shape[3]), padding="same")
            for kernel in kernels
        )
        self.activations = nn.ModuleList(ACTIVATIONS[name]() for name in layers.activations)
        self.residuals = layers.residuals
        self.fc = nn.Linear(tensors["fc.weight"].shape[1], tensors["fc.weight"].shape[0])

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, classes)`` for images ``(B, channels, height, width)``."""
        maps: list[Tensor] = []
        x = images
        for layer, activation, source in zip(self.layers, self.activations, self.residuals, strict=True):
            x = activation(layer(x))
            if source >= 0:
                x = x + maps[source]
            maps.append(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _listed(path: Path, names: list[str]) -> list[ListedCheckpoint]:
    """Return the checkpoints that the splits in the file ``path`` list.

    A listed path matches a checkpoint if the last three components of both paths agree.

    Raises:
        ZooError: the splits cannot be read, or list no checkpoint.
    """
    ends = {"/".join(PurePosixPath(name).parts[-3:]): name for name in names}
    checkpoints = []
    try:
        for part, content in json.loads(path.read_text(encoding="utf-8")).items():
            for listed, score in zip(content["path"], content["score"], strict=True):
                short = "/".join(PurePosixPath(str(listed)).parts[-3:])
                file = ends.get(short, str(listed))
                checkpoints.append(ListedCheckpoint(file=file, part=_known(part), score=float(score)))
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ZooError(
            f"{path}: not the splits of the Wild Park zoo ({type(error).__name__}: {error})"
        ) from error
    if not checkpoints:
        raise ZooError(f"{path}: the splits list no checkpoint")
    return checkpoints


def _known(part: str) -> str:
    if part not in NAMES:
        raise ValueError(f"unknown part {part!r}")
    return part
