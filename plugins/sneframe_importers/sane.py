"""Import networks from the token files ``dataset_torch.{split}/sample_{i}.pt`` of SANE (arXiv 2406.09997).

SANE standardises weights, and cuts the weights and the bias of each output channel into tokens of equal
length. The last token of a channel is padded. A sample holds the tokens ``w (tokens, length)``, a mask ``m``
that is false for padding, the positions ``p (tokens, 3)`` (index among all tokens, layer, channel) and the
properties ``props``. If a sample is a whole training run, they have a leading axis of epochs. The names and
shapes of the parameters are not in a sample, so the state dict of one network is needed, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.config.schema import option
from sneframe.errors import FileError, ZooError
from sneframe.files import StoredTensor, inside, read_stubbed
from sneframe.files.network_reader import NetworkReader
from sneframe.zoo.importer import ImportContext, Imported, Skipped, ZooImporter
from sneframe.zoo.splits import NAMES
from sneframe_importers.each import each_file, files_in

SAMPLE = re.compile(r"sample_(\d+)\.pt")
FOLDER = re.compile(r"dataset_torch\.(train|val|test)set")


@frozen(kw_only=True)
class SANE:
    """Options of ``zoo import sane``."""

    like: Path = option(help="a state dict of one of the networks, for the names and shapes of parameters")
    activation: str = option("relu", "activation after every layer but the last")


def read(config: SANE, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped]:
    """Yield the networks of all samples, ordered by folder and number.

    Raises:
        ZooError: there is no sample, or the state dict of ``--like`` or a file of means and standard
            deviations cannot be read.
    """
    reader = NetworkReader(activation=config.activation, flatten="channels_first", published=True)
    try:
        like = reader.weights(config.like)
    except FileError as error:
        raise ZooError(str(error)) from error
    layers = _layers(like)
    architecture = reader.describe(like)
    names = sorted(files_in(source, "sample_*.pt"), key=_folder_and_number)
    scales = {part: _scales(source, part) for part in NAMES}
    opened = partial(_opened, source, layers=layers, architecture=architecture, scales=scales)
    yield from each_file(names, str, opened, reading)


@contextmanager
def _opened(
    source: Path,
    *,
    layers: Mapping[str, Mapping[str, torch.Size]],
    architecture: Architecture,
    scales: Mapping[str, Mapping[int, tuple[float, float]]],
) -> Iterator[Callable[[str], Imported]]:
    """Give the function that reads the sample in the file of a name."""

    def make(name: str) -> Imported:
        match = FOLDER.search(name)
        part = match[1] if match else None
        content = read_stubbed(inside(source, name), Path(name))
        if not isinstance(content, Mapping) or not all(
            isinstance(content.get(k), StoredTensor) for k in "wmp"
        ):
            raise FileError("the file does not hold the tensors w, m and p of a sample")
        tokens, mask, index = (content[key].read() for key in "wmp")
        epochs = tokens if tokens.ndim == 3 else tokens[None]
        masks, positions = (
            value if value.ndim == 3 else value.expand(len(epochs), *value.shape) for value in (mask, index)
        )
        stacked = [
            detokenise(w, m, p, layers, scales[part] if part else {})
            for w, m, p in zip(epochs, masks, positions, strict=True)
        ]
        return Imported(
            source=name,
            architecture=architecture,
            weights={
                p.name: torch.stack([each[p.name] for each in stacked]) for p in architecture.parameters
            },
            properties={"source": [name] * len(stacked), **_properties(content.get("props"), len(stacked))},
            groups=[name] * len(stacked),
            splits={} if part is None else {"published": [NAMES.index(part)] * len(stacked)},
        )

    yield make


IMPORTER = ZooImporter(
    name="importers/sane",
    config=SANE,
    read=read,
    engines=True,
    help="Tokens of SANE: a folder with dataset_torch.{trainset,valset,testset}/sample_N.pt.",
)


def detokenise(
    tokens: Tensor,
    mask: Tensor,
    positions: Tensor,
    layers: Mapping[str, Mapping[str, torch.Size]],
    scales: Mapping[int, tuple[float, float]],
) -> dict[str, Tensor]:
    """Compute the parameters of a network from its tokens, and return them by name.

    Args:
        tokens: the tokens, shape ``(T, length)``.
        mask: true or 1 for values of the network, false or 0 for padding, shape ``(T, length)``.
        positions: for each token its index among all tokens, its layer, and its channel in the layer, shape
            ``(T, 3)``.
        layers: shapes of the weight and the bias of each layer, by the name of the layer, in order.
        scales: mean and standard deviation with which a layer was standardised, by number of the layer.

    Raises:
        FileError: the tokens do not fit the layers.
    """
    if tokens.ndim != 2 or mask.shape != tokens.shape or positions.shape != (len(tokens), 3):
        raise FileError(
            f"the shapes of w {tuple(tokens.shape)}, m {tuple(mask.shape)} and p {tuple(positions.shape)} "
            f"contradict each other"
        )
    tensors: dict[str, Tensor] = {}
    numbers = positions[:, 1].unique(sorted=True).tolist()
    if len(numbers) != len(layers):
        raise FileError(
            f"the sample has tokens of {len(numbers)} layers, but "
            f"the state dict of '--like' has {len(layers)}"
        )
    for number, (stem, shapes) in zip(numbers, layers.items(), strict=True):
        here = positions[:, 1] == number
        channels, own, kept = positions[here, 2], tokens[here], mask[here].bool()
        order = torch.argsort(channels, stable=True)
        values = own[order][kept[order]].float()
        rows = shapes["weight"][0]
        width = sum(shape.numel() for shape in shapes.values())
        if len(values) != width:
            raise FileError(f"layer {number} has {len(values)} values, but {stem} has {width} weights")
        if number in scales:
            mean, std = scales[number]
            values = values * std + mean
        matrix = values.reshape(rows, -1)
        columns = shapes["weight"].numel() // rows
        tensors[f"{stem}.weight"] = matrix[:, :columns].reshape(shapes["weight"])
        if "bias" in shapes:
            tensors[f"{stem}.bias"] = matrix[:, columns]
    return tensors


def _layers(like: Mapping[str, Tensor]) -> dict[str, dict[str, torch.Size]]:
    """Return the shapes of the weight and the bias of each layer, by the name of the layer.

    Raises:
        ZooError: the state dict has tensors that tokens cannot hold, such as those of norms.
    """
    layers: dict[str, dict[str, torch.Size]] = {}
    for name, tensor in like.items():
        stem, _, last = name.rpartition(".")
        if last in ("weight", "bias"):
            layers.setdefault(stem, {})[last] = tensor.shape
    left = [name for name in like if name.rpartition(".")[2] not in ("weight", "bias")]
    left += [stem for stem, shapes in layers.items() if len(shapes.get("weight", ())) < 2]
    if left:
        raise ZooError(f"the state dict of '--like' holds {left[0]!r}, which tokens of SANE cannot hold")
    return layers


def _properties(value: Any, count: int) -> dict[str, list[Any]]:
    """Return a list of ``count`` values for each property. A single value is repeated."""
    properties: dict[str, list[Any]] = {}
    for name, each in value.items() if isinstance(value, Mapping) else ():
        read = each.read().tolist() if isinstance(each, StoredTensor) else each
        listed = read if isinstance(read, list | tuple) else [read] * count
        if len(listed) == count and all(isinstance(v, str | int | float | None) for v in listed):
            properties[str(name)] = list(listed)
    return properties


def _scales(source: Path, part: str) -> dict[int, tuple[float, float]]:
    """Return the mean and the standard deviation of each layer of a part, by the number of the layer.

    If the part has no file of means and standard deviations, the result is empty.

    Raises:
        ZooError: ``dataset_normalization_{part}set.json`` is damaged.
    """
    path = source / f"dataset_normalization_{part}set.json"
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = content.items() if isinstance(content, dict) else enumerate(content)
        return {
            number: (float(entry["mean"]), float(entry["std"]))
            for number, (_, entry) in enumerate(sorted(entries, key=lambda pair: _layer(pair[0])))
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ZooError(f"{path}: not a normalisation of layers ({type(error).__name__})") from error


def _layer(name: Any) -> tuple[int, str]:
    digits = re.search(r"\d+", str(name))
    return (int(digits[0]) if digits else 0, str(name))


def _folder_and_number(name: str) -> tuple[str, int]:
    match = SAMPLE.fullmatch(Path(name).name)
    return (Path(name).parent.as_posix(), int(match[1]) if match else -1)
