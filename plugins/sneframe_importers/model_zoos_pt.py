"""Model zoos of Schürholt et al. (arXiv 2209.14764) as one ``dataset.pt``: three pickled objects of the authors' own class.

They are read without that class (:mod:`sneframe.files.stub`): of each its attributes, among which are the weights, as state
dicts or as rows of flat vectors, and the ``properties``. For flat vectors ``index_dict.json`` says which layer stands where;
starts are computed from the lengths, since those that were published for Google's zoos are wrong for the third layer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from sneframe.config.schema import option
from sneframe.errors import ArchitectureError, FileError, ZooError
from sneframe.files import StoredTensor, Stub, read_all, read_stubbed
from sneframe.files.readers import Reader
from sneframe.zoo.importer import Imported, Skipped, ZooImporter
from sneframe.zoo.splits import TEST, TRAIN, VAL
from sneframe_importers.each import one

PARTS = {"trainset": TRAIN, "valset": VAL, "testset": TEST}
WEIGHTS = ("data", "weights", "checkpoints")  #: attributes under which weights are looked for
RUNS = ("paths", "path", "labels")  #: attributes that name the run of a network


@frozen(kw_only=True)
class ModelZoosPt:
    """What to know of it."""

    index: Path | None = option(
        None,
        "index_dict.json of the zoo, where its weights are flat vectors; by default the file of this name beside SRC",
    )
    activation: str = option(
        "tanh", "of every layer but the last, where the properties do not say it (`model::nlin`)"
    )


@frozen(kw_only=True)
class Piece:
    """One tensor of a flat vector.

    Args:
        name: of the parameter.
        shape: its shape.
    """

    name: str
    shape: tuple[int, ...]


def read(
    config: ModelZoosPt, source: Path, progress: Callable[[int, int], None]
) -> Iterator[Imported | Skipped]:
    """Yield the networks of the three sets, one after the other."""
    try:
        content = read_stubbed(source, source)
    except FileError as error:
        raise ZooError(str(error)) from error
    sets = {name: content[name] for name in PARTS if name in content} if isinstance(content, Mapping) else {}
    if not sets:
        raise ZooError(f"{source}: no dataset.pt of a model zoo, it holds none of {', '.join(PARTS)}")
    reader = Reader(activation=config.activation, flatten="channels_first", published=True)
    beside = source.with_name("index_dict.json")
    index = config.index or (beside if beside.exists() else None)
    pieces = None if index is None else _pieces(index)
    members = {name: _attributes(value) for name, value in sets.items()}
    counts = {name: len(_weights(attributes, name, source)) for name, attributes in members.items()}
    done = 0
    for name, attributes in members.items():
        weights, properties = _weights(attributes, name, source), _properties(attributes)
        runs = next((attributes[key] for key in RUNS if _is_list(attributes.get(key), counts[name])), None)
        for number in range(counts[name]):
            progress(done, sum(counts.values()))
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
    progress(done, sum(counts.values()))


IMPORTER = ZooImporter(
    name="importers/model-zoos-pt",
    config=ModelZoosPt,
    read=read,
    help="A model zoo of Schürholt et al. as one dataset.pt, read without the classes that are pickled in it.",
)


def _attributes(value: Any) -> dict[str, Any]:
    if isinstance(value, Stub):
        return value.attributes()
    return dict(value) if isinstance(value, Mapping) else {}


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == length


def _weights(attributes: Mapping[str, Any], name: str, source: Path) -> Sequence[Any]:
    """Return a state dict or a flat vector for each network."""
    for key in WEIGHTS:
        value = attributes.get(key)
        if isinstance(value, StoredTensor) and len(value.shape) == 2:
            return list(value.read())
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping | StoredTensor):
            return value
    raise ZooError(
        f"{source}: {name} has no weights, its attributes are {', '.join(sorted(map(str, attributes))) or 'none'}"
    )


def _properties(attributes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the lists of numbers and words under ``properties``, ``model::`` left out of their names."""
    found: dict[str, list[Any]] = {}
    values = attributes.get("properties")
    for name, each in _attributes(values).items():
        listed = each.read().tolist() if isinstance(each, StoredTensor) else each
        if isinstance(listed, list | tuple) and all(isinstance(v, str | int | float | None) for v in listed):
            found[str(name).rpartition("::")[2]] = list(listed)
    return found


def _tensors(value: Any, pieces: Sequence[Piece] | None) -> dict[str, Tensor]:
    if isinstance(value, Mapping):
        return read_all(value)
    flat = value.read() if isinstance(value, StoredTensor) else value
    if not isinstance(flat, Tensor) or flat.ndim != 1:
        raise FileError("is neither a state dict nor a flat vector")
    if pieces is None:
        raise FileError("is a flat vector: index_dict.json is needed (--index)")
    if (wanted := sum(prod(piece.shape) for piece in pieces)) != len(flat):
        raise FileError(f"has {len(flat)} weights, the index is that of {wanted}")
    parts = torch.split(flat, [prod(piece.shape) for piece in pieces])
    return {piece.name: part.reshape(piece.shape) for piece, part in zip(pieces, parts, strict=True)}


def _pieces(path: Path) -> list[Piece]:
    """Return weight and bias of every layer, in the order of the index."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        found = []
        for place, layer in enumerate(index["layer"]):
            out, inputs, kernel, length = (
                int(index[key][place]) for key in ("kernel_no", "channels_in", "kernel_size", "idx_length")
            )
            shape = (out, inputs, kernel, kernel) if kernel > 1 else (out, inputs)
            if prod(shape) + out != length or out < 1:
                raise ValueError(f"layer {layer} has {length} weights, {shape} and {out} biases are others")
            name = layer if isinstance(layer, str) else f"module_list.{layer}"
            found += [Piece(name=f"{name}.weight", shape=shape), Piece(name=f"{name}.bias", shape=(out,))]
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ZooError(f"{path}: no index of layers ({type(error).__name__}: {error})") from error
    return found
