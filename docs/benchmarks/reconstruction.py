"""Measures how well the decoder of a self-supervised run reconstructs networks that it was not trained on.

``python docs/benchmarks/reconstruction.py RUN [FILE.json]`` prints, layer by layer, the mean squared error of
the normalised weights of the test networks. Beside it are the errors of two predictors that decode nothing:
the mean network of the training networks, and the training network that is nearest to each test network. The
error of the training networks themselves tells how much the decoder has learned by heart. All four have the
same layout as the network that they stand for.

If the networks are classifiers that ``sneframe zoo build`` trained, the accuracies of all of them on the test
images are printed too. The description of a network is evaluated, so no module is needed.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sneframe_zoos.classifiers.image_sources import read_images
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.evaluate import evaluate, obstacle
from sneframe.architecture.layout import layout
from sneframe.batch import Batch
from sneframe.errors import RunError
from sneframe.model import Model
from sneframe.progress import Reporter
from sneframe.run_folder.checkpoint import config_of, load_invariance, load_model
from sneframe.train.data import Data, load_data

KINDS = ("decoded", "mean network", "nearest network", "decoded, training networks")
CLASSIFIERS = ("zoos/cnn", "zoos/mlp", "zoos/transformer")


def normalised(model: Model, batch: Batch) -> list[Tensor]:
    """Return the normalised weights ``(B, P)`` of each architecture."""
    return [networks.weights for networks in model.encoder.normalise(batch).networks]


def by_layout(batch: Batch, weights: list[Tensor]) -> Mapping[Architecture, Tensor]:
    """Return the weights of all networks of each layout, ``(B, P)``."""
    found: dict[Architecture, list[Tensor]] = defaultdict(list)
    for architecture, rows in zip(batch.architectures, weights, strict=True):
        found[layout(architecture)].append(rows)
    return {each: torch.cat(rows) for each, rows in found.items()}


def stand_ins(model: Model, reconstruct: Any, data: Data) -> Iterator[tuple[str, Batch, Batch]]:
    """Yield for each of KINDS the networks, and those that stand for them, in the unit of stored weights."""
    training, test = (data.batch.select(rows) for rows in (data.split.train, data.split.test))
    known = by_layout(training, normalised(model, training))
    given = normalised(model, test)
    means, nearest = [], []
    for architecture, weights in zip(test.architectures, given, strict=True):
        others = known.get(layout(architecture))
        if others is None:
            raise RunError(f"the training had no network of the layout {architecture.summary}")
        means.append(others.mean(0).expand_as(weights))
        nearest.append(others[torch.cdist(weights, others).argmin(1)])
    undo = model.encoder.normalise.undo
    yield "decoded", test, reconstruct(model, test)
    yield "mean network", test, undo(test.replace(means))
    yield "nearest network", test, undo(test.replace(nearest))
    yield "decoded, training networks", training, reconstruct(model, training)


def errors(model: Model, batch: Batch, other: Batch) -> dict[str, tuple[int, float]]:
    """Return by layer the number of its weights, and the mean squared error of its normalised weights.

    The last entry is that of all weights.
    """
    squares: dict[str, float] = defaultdict(float)
    values: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = {}
    pairs = zip(batch.architectures, normalised(model, batch), normalised(model, other), strict=True)
    for architecture, own, made in pairs:
        sizes = defaultdict(int)
        views = architecture.views((own - made).double().square())
        for parameter in architecture.parameters:
            layer = parameter.name.rpartition(".")[0] or parameter.name
            for key in (layer, "all"):
                squares[key] += float(views[parameter.name].sum())
                values[key] += views[parameter.name].numel()
                sizes[key] += parameter.size
    order = [key for key in squares if key != "all"] + ["all"]
    return {key: (sizes.get(key, 0), squares[key] / values[key]) for key in order}


def test_images(data: Data) -> tuple[Tensor, Tensor] | None:
    """Return the test images and labels of the classifiers of a zoo, or None if it says of none."""
    builder = data.zoo.attributes["builder"]
    if not builder or builder["name"] not in CLASSIFIERS:
        return None
    options = builder["config"]
    images = read_images(
        options["data"],
        name=options["data_name"],
        train=options["train_images"],
        test=options["test_images"],
        size=options["size"],
        grey=options["grey"],
    )
    if images.digest != options["data_digest"]:
        raise RunError(f"{data.zoo.path}: {options['data']} has other images than those of the zoo")
    pictures, labels = images.tensors()
    return pictures[images.train :], labels[images.train :]


def accuracies(batch: Batch, images: tuple[Tensor, Tensor]) -> np.ndarray:
    """Return the accuracy of each network, in the order of the batch, ``(B,)``."""
    pictures, labels = images
    rows = []
    for networks in batch.networks:
        if (reason := obstacle(networks.architecture)) is not None:
            raise RunError(f"the networks cannot be evaluated: {reason}")
        right = [
            evaluate(networks.architecture, some, pictures).argmax(2) == labels
            for some in networks.weights.split(16)
        ]
        rows.append(torch.cat(right).double().mean(1, keepdim=True))
    return batch.restore(rows)[:, 0].numpy()


@torch.no_grad()
def main(folder: Path) -> dict[str, Any]:
    """Measure a run, print the tables, and return their numbers."""
    path = folder / "best.safetensors"
    model, _, header = load_model(path)
    loss = load_invariance(path, model)
    reconstruct = getattr(loss, "reconstruct", None)
    if reconstruct is None:
        raise RunError(f"{folder}: the run was not trained with a decoder")
    data = load_data(config_of(header).zoo, Reporter())
    images = test_images(data)
    found: dict[str, Any] = {"networks": {part: len(getattr(data.split, part)) for part in ("train", "test")}}
    table: dict[str, dict[str, float]] = {}
    shown: dict[str, np.ndarray] = {}
    for kind, batch, made in stand_ins(model, reconstruct, data):
        own = errors(model, batch, made)
        for layer, (count, error) in own.items():
            table.setdefault(layer, {"weights": count})[kind] = error
        if images is not None:
            shown.setdefault("as trained", accuracies(data.batch.select(data.split.test), images))
            shown[kind] = accuracies(made, images)
    print(f"| layer | weights | {' | '.join(KINDS)} |")
    print("| --- " * (2 + len(KINDS)) + "|")
    for layer, row in table.items():
        print(f"| {layer} | {row['weights']:.0f} |", " | ".join(f"{row[kind]:.3f}" for kind in KINDS), "|")
    for kind, values in shown.items():
        quartiles = np.quantile(values, (0.25, 0.5, 0.75)).round(3).tolist()
        found.setdefault("accuracy", {})[kind] = {"mean": float(values.mean()), "quartiles": quartiles}
        print(f"accuracy, {kind}: mean {values.mean():.3f}, quartiles {quartiles}")
    return {**found, "errors": table}


if __name__ == "__main__":
    result = main(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
