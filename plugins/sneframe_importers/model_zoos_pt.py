"""Import the model zoos of Schürholt et al. (arXiv 2209.14764) that are published as one ``dataset.pt``.

The file holds a pickled object for each of the training, validation and test set. The objects are read
without the authors' class (:mod:`sneframe.files.stub`). The attributes of an object hold the ``properties``
of the networks, and a state dict or a flat vector of weights for each network. For flat vectors,
``index_dict.json`` lists the layers. The start of each layer in a vector is computed from the lengths of the
layers before it, because the starts published for Google's zoos are wrong for the third layer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from sneframe.config.schema import option
from sneframe.errors import ArchitectureError, FileError, ZooError
from sneframe.files import StoredTensor, Stub, read_all, read_stubbed
from sneframe.files.network_reader import NetworkReader
from sneframe.zoo.importer import ImportContext, Imported, Skipped, ZooImporter
from sneframe.zoo.splits import TEST, TRAIN, VAL
from sneframe_importers.each import one

PARTS = {"trainset": TRAIN, "valset": VAL, "testset": TEST}
WEIGHTS = ("data", "weights", "checkpoints")  #: attributes that may hold the weights
RUNS = ("paths", "path", "labels")  #: attributes that may name the training run of each network


@frozen(kw_only=True)
class ModelZoosPt:
    """Options of ``zoo import model-zoos-pt``."""

    index: Path | None = option(
        None,
        "index_dict.json of a zoo whose weights are flat vectors; default: the file of this name next to SRC",
    )
    activation: str = option(
        "tanh", "activation after every layer but the last, for networks without the property `model::nlin`"
    )


@frozen(kw_only=True)
class Piece:
    """The part of a flat vector that holds one parameter.

    Args:
        name: name of the parameter.
        shape: shape of the parameter.
    """

    name: str
    shape: tuple[int, ...]


def read(config: ModelZoosPt, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped]:
    """Yield the networks of the training set, then of the validation set and of the test set.

    Raises:
        ZooError: the file or the index cannot be read, or the file holds none of the three sets.
    """
    try:
        content = read_stubbed(source, source)
    except FileError as error:
        raise ZooError(str(error)) from error
    sets = {name: content[name] for name in PARTS if name in content} if isinstance(content, Mapping) else {}
    if not sets:
        raise ZooError(
            f"{source}: not a dataset.pt of a model zoo: the file holds none of {', '.join(PARTS)}"
        )
    reader = NetworkReader(activation=config.activation, flatten="channels_first", published=True)
    default = source.with_name("index_dict.json")
    index = config.index or (default if default.exists() else None)
    pieces = None if index is None else _pieces(index)
    objects = {name: _attributes(value) for name, value in sets.items()}
    counts = {name: len(_weights(attributes, name, source)) for name, attributes in objects.items()}
    done = 0
    for name, attributes in objects.items():
        weights, properties = _weights(attributes, name, source), _properties(attributes)
        runs = next((attributes[key] for key in RUNS if _is_list(attributes.get(key), counts[name])), None)
        for number in range(counts[name]):
            reading.progress(done, sum(counts.values()))
            done += 1
            what = f"{name}[{number}]"
            try:
                tensors = _tensors(weights[number], pieces)
                own = {key: values[number] for key, values in properties.items() if number < len(values)}
                activation = str(own["nlin"]) if "nlin" in own else None
                group = what if runs is None else str(runs[number])
                splits = {"published": PARTS[name]}
                yield one(
                    what,
                    reader.describe(tensors, activation=activation),
                    tensors,
                    own,
                    group=group,
                    splits=splits,
                )
            except (FileError, ArchitectureError) as error:
                yield Skipped(source=what, reason=str(error))
    reading.progress(done, sum(counts.values()))


IMPORTER = ZooImporter(
    name="importers/model-zoos-pt",
    config=ModelZoosPt,
    read=read,
    help="A model zoo of Schürholt et al., as one dataset.pt; the pickled classes are not needed.",
)


def _attributes(value: Any) -> dict[str, Any]:
    if isinstance(value, Stub):
        return value.attributes()
    return dict(value) if isinstance(value, Mapping) else {}


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == length


def _weights(attributes: Mapping[str, Any], name: str, source: Path) -> Sequence[Any]:
    """Return the weights of each network of a set: a state dict or a flat vector.

    Args:
        attributes: attributes of the pickled object of the set.
        name: name of the set, for the error.
        source: path of the file, for the error.

    Raises:
        ZooError: the attributes hold no weights.
    """
    for key in WEIGHTS:
        value = attributes.get(key)
        if isinstance(value, StoredTensor) and len(value.shape) == 2:
            return list(value.read())
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping | StoredTensor):
            return value
    raise ZooError(
        f"{source}: {name} has no weights; its attributes are "
        f"{', '.join(sorted(map(str, attributes))) or 'none'}"
    )


def _properties(attributes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the lists of numbers or texts in ``properties``. The name ``model::nlin`` becomes ``nlin``."""
    properties: dict[str, list[Any]] = {}
    values = attributes.get("properties")
    for name, each in _attributes(values).items():
        listed = each.read().tolist() if isinstance(each, StoredTensor) else each
        if isinstance(listed, list | tuple) and all(isinstance(v, str | int | float | None) for v in listed):
            properties[str(name).rpartition("::")[2]] = list(listed)
    return properties


def _tensors(value: Any, pieces: Sequence[Piece] | None) -> dict[str, Tensor]:
    if isinstance(value, Mapping):
        return read_all(value)
    flat = value.read() if isinstance(value, StoredTensor) else value
    if not isinstance(flat, Tensor) or flat.ndim != 1:
        raise FileError("the weights are neither a state dict nor a flat vector")
    if pieces is None:
        raise FileError("the weights are a flat vector, so index_dict.json is needed (option '--index')")
    if (wanted := sum(prod(piece.shape) for piece in pieces)) != len(flat):
        raise FileError(f"the flat vector has {len(flat)} weights, but the index lists {wanted}")
    parts = torch.split(flat, [prod(piece.shape) for piece in pieces])
    return {piece.name: part.reshape(piece.shape) for piece, part in zip(pieces, parts, strict=True)}


def _pieces(path: Path) -> list[Piece]:
    """Return the pieces of a flat vector: weight and bias of every layer that an index file lists.

    Raises:
        ZooError: the index cannot be read, or its numbers contradict each other.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        pieces = []
        for number, layer in enumerate(index["layer"]):
            out, inputs, kernel, length = (
                int(index[key][number]) for key in ("kernel_no", "channels_in", "kernel_size", "idx_length")
            )
            shape = (out, inputs, kernel, kernel) if kernel > 1 else (out, inputs)
            if prod(shape) + out != length or out < 1:
                raise ValueError(
                    f"layer {layer} has idx_length {length}, but a weight of shape {shape} and {out} biases "
                    f"have {prod(shape) + out} numbers"
                )
            name = layer if isinstance(layer, str) else f"module_list.{layer}"
            pieces += [Piece(name=f"{name}.weight", shape=shape), Piece(name=f"{name}.bias", shape=(out,))]
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ZooError(f"{path}: not an index of layers ({type(error).__name__}: {error})") from error
    return pieces
