"""Token files of SANE (Schürholt et al., arXiv 2406.09997): ``dataset_torch.{split}/sample_{i}.pt``.

A token is one output channel, its weights and its bias, standardised, padded and cut to one length: ``w (tokens, length)``,
the mask ``m`` of what is no padding, the positions ``p (tokens, 3)`` (of all, layer, channel), the properties ``props``;
with an axis of epochs in front where a sample is a whole run. Tokens say nothing of names and shapes, so a state dict of
one of the networks is needed beside them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from sneframe.config.schema import option
from sneframe.errors import FileError, ZooError
from sneframe.files import StoredTensor, inside, read_stubbed
from sneframe.files.readers import Reader
from sneframe.zoo.importer import Imported, Skipped, ZooImporter
from sneframe.zoo.splits import NAMES
from sneframe_importers.each import each_file, files_in

SAMPLE = re.compile(r"sample_(\d+)\.pt")
FOLDER = re.compile(r"dataset_torch\.(train|val|test)set")


@frozen(kw_only=True)
class SANE:
    """What to know of it."""

    like: Path = option(help="a state dict of one of the networks: names and shapes")
    activation: str = option("relu", "of every layer but the last")


def read(config: SANE, source: Path, progress: Callable[[int, int], None]) -> Iterator[Imported | Skipped]:
    """Yield the networks of all samples, in the order of their names."""
    reader = Reader(activation=config.activation, flatten="channels_first", published=True)
    try:
        like = reader.weights(config.like)
    except FileError as error:
        raise ZooError(str(error)) from error
    layers = _layers(like)
    architecture = reader.describe(like)
    names = sorted(files_in(source, "sample_*.pt"), key=_place)
    scales = {part: _scales(source, part) for part in NAMES}

    def make(name: str) -> Imported:
        match = FOLDER.search(name)
        part = match[1] if match else None
        content = read_stubbed(inside(source, name), Path(name))
        if not isinstance(content, Mapping) or not all(
            isinstance(content.get(k), StoredTensor) for k in "wmp"
        ):
            raise FileError("holds no tokens: w, m and p")
        tokens, mask, places = (content[key].read() for key in "wmp")
        epochs = tokens if tokens.ndim == 3 else tokens[None]
        masks, positions = (
            value if value.ndim == 3 else value.expand(len(epochs), *value.shape) for value in (mask, places)
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

    yield from each_file(names, str, make, progress)


IMPORTER = ZooImporter(
    name="importers/sane",
    config=SANE,
    read=read,
    help="Preprocessed tokens of SANE: a folder with dataset_torch.{trainset,valset,testset}/sample_N.pt.",
)


def detokenise(
    tokens: Tensor,
    mask: Tensor,
    places: Tensor,
    layers: Mapping[str, Mapping[str, torch.Size]],
    scales: Mapping[int, tuple[float, float]],
) -> dict[str, Tensor]:
    """Return the tensors of a network.

    Args:
        tokens: ``(T, length)``.
        mask: ``(T, length)``, true or 1 where a value is one of the network's.
        places: ``(T, 3)``: of all tokens, of the layer, of the channel in it.
        layers: shapes of weight and bias by the name of each layer, in order.
        scales: mean and deviation by which a layer was standardised, by its number.

    Raises:
        FileError: the tokens are not those of such a network.
    """
    if tokens.ndim != 2 or mask.shape != tokens.shape or places.shape != (len(tokens), 3):
        raise FileError(
            f"w {tuple(tokens.shape)}, m {tuple(mask.shape)} and p {tuple(places.shape)} do not belong together"
        )
    found: dict[str, Tensor] = {}
    numbers = places[:, 1].unique(sorted=True).tolist()
    if len(numbers) != len(layers):
        raise FileError(f"tokens of {len(numbers)} layers, the state dict beside them has {len(layers)}")
    for number, (stem, shapes) in zip(numbers, layers.items(), strict=True):
        here = places[:, 1] == number
        channels, own, kept = places[here, 2], tokens[here], mask[here].bool()
        order = torch.argsort(channels, stable=True)
        values = own[order][kept[order]].float()
        rows = shapes["weight"][0]
        width = sum(shape.numel() for shape in shapes.values())
        if len(values) != width:
            raise FileError(f"layer {number} has {len(values)} values, {stem} has {width}")
        if number in scales:
            mean, std = scales[number]
            values = values * std + mean
        matrix = values.reshape(rows, -1)
        columns = shapes["weight"].numel() // rows
        found[f"{stem}.weight"] = matrix[:, :columns].reshape(shapes["weight"])
        if "bias" in shapes:
            found[f"{stem}.bias"] = matrix[:, columns]
    return found


def _layers(like: Mapping[str, Tensor]) -> dict[str, dict[str, torch.Size]]:
    """Return weight and bias of every layer; tokens hold no others, such as the norms' own."""
    found: dict[str, dict[str, torch.Size]] = {}
    for name, tensor in like.items():
        stem, _, last = name.rpartition(".")
        if last in ("weight", "bias"):
            found.setdefault(stem, {})[last] = tensor.shape
    left = [name for name in like if name.rpartition(".")[2] not in ("weight", "bias")]
    if left or any("weight" not in shapes or len(shapes["weight"]) < 2 for shapes in found.values()):
        raise ZooError(f"the state dict holds {(left or list(found))[0]!r}, which tokens of SANE have not")
    return found


def _properties(value: Any, count: int) -> dict[str, list[Any]]:
    """Return a list of as many values for each property."""
    found: dict[str, list[Any]] = {}
    for name, each in value.items() if isinstance(value, Mapping) else ():
        read = each.read().tolist() if isinstance(each, StoredTensor) else each
        listed = read if isinstance(read, list | tuple) else [read] * count
        if len(listed) == count and all(isinstance(v, str | int | float | None) for v in listed):
            found[str(name)] = list(listed)
    return found


def _scales(source: Path, part: str) -> dict[int, tuple[float, float]]:
    """Return the mean and deviation of each layer that ``dataset_normalization_{part}set.json`` says; without it none."""
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
        raise ZooError(f"{path}: no normalisation of layers ({type(error).__name__})") from error


def _layer(name: Any) -> tuple[int, str]:
    digits = re.search(r"\d+", str(name))
    return (int(digits[0]) if digits else 0, str(name))


def _place(name: str) -> tuple[str, int]:
    match = SAMPLE.fullmatch(Path(name).name)
    return (Path(name).parent.as_posix(), int(match[1]) if match else -1)
