"""Import the Small CNN Zoo (Unterthiner et al., arXiv 2002.11448) from ``weights.npy`` and two tables.

A row of ``weights.npy`` holds the weights of one network. ``layout.csv`` lists the tensors in a row, and
``metrics.csv.gz`` has the properties of each row. ``weights.npy`` is memory-mapped, and one block of rows is
read at a time. TensorFlow's convolution kernels ``(H, W, in, out)`` become torch's ``(out, in, H, W)``.
TensorFlow's dense kernels are transposed.
"""

from __future__ import annotations

import csv
import gzip
import random
import re
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.config.schema import option
from sneframe.errors import ZooError
from sneframe.symmetry.describe import describe
from sneframe.zoo.importer import ImportContext, Imported, ZooImporter
from sneframe.zoo.splits import TEST, TRAIN, UNUSED, VAL
from sneframe_importers.typed import ColumnSource, typed

BLOCK = 2000  #: number of rows that are read at a time (40 MB)
FINAL = 86  #: step of a run's last checkpoint
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "selu": nn.SELU,
}
SPLIT = "published"  #: name of the split in the zoo


@frozen(kw_only=True)
class SmallCNNZoo:
    """Options of ``zoo import small-cnn-zoo``."""

    steps: tuple[int, ...] = option(
        (), "steps of the checkpoints to import, such as 86 for the final ones; default: all"
    )
    split: Path | None = option(
        None,
        "a file of NFN's predict_gen_data_splits, which splits the final checkpoints: half are for training "
        "and validation, half for the test",
    )


@frozen(kw_only=True)
class Variable:
    """One tensor that ``layout.csv`` lists.

    Args:
        name: name of the parameter in torch.
        start: index of the tensor's first weight in a row of ``weights.npy``.
        shape: shape of the tensor in TensorFlow.
    """

    name: str
    start: int
    shape: tuple[int, ...]

    @property
    def layer(self) -> str:
        """The name of the layer that the tensor belongs to."""
        return self.name.rpartition(".")[0]

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Cut this tensor out of n rows ``(n, P)``. Return ``(n, …)``, with the axes in torch's order."""
        values = rows[:, self.start : self.start + prod(self.shape)].reshape(len(rows), *self.shape)
        if len(self.shape) == 4:
            return rearrange(values, "n h w i o -> n o i h w")
        return rearrange(values, "n i o -> n o i") if len(self.shape) == 2 else values


def read(config: SmallCNNZoo, source: Path, reading: ImportContext) -> Iterator[Imported]:
    """Yield the networks of the zoo in blocks of rows. Within a block, networks are grouped by activation.

    Raises:
        ZooError: a file is missing or damaged, or the files do not fit each other.
    """
    variables = _variables(source / "layout.csv")
    metrics = _metrics(source / "metrics.csv.gz")
    weights = _weights(source / "weights.npy", len(metrics["step"]), variables)
    steps = np.array(metrics["step"])
    metrics["final"] = _last(metrics["modeldir"], steps)
    published = None if config.split is None else _published(config.split, steps)
    wanted = np.isin(steps, config.steps) if config.steps else np.ones(len(steps), bool)
    if not wanted.any():
        raise ZooError(
            f"{source}: no checkpoint of step {', '.join(map(str, config.steps))} (steps: "
            f"{', '.join(map(str, np.unique(steps).tolist()))})"
        )
    architectures: dict[str, Architecture] = {}
    for start in range(0, len(steps), BLOCK):
        reading.progress(start, len(steps))
        rows = start + np.flatnonzero(wanted[start : start + BLOCK])
        if not len(rows):
            continue
        block = np.array(weights[rows])
        activation = np.array([metrics["activation"][row] for row in rows])
        for name in dict.fromkeys(activation.tolist()):
            if name not in architectures:
                architectures[name] = _architecture(variables, name, source)
            here = np.flatnonzero(activation == name)
            yield Imported(
                source=f"rows {rows[here[0]]} to {rows[here[-1]]}",
                architecture=architectures[name],
                weights={each.name: each.of(block[here]) for each in variables},
                properties={
                    key: [values[row] for row in rows[here]]
                    for key, values in metrics.items()
                    if key != "modeldir"
                },
                groups=[metrics["modeldir"][row] for row in rows[here]],
                splits={} if published is None else {SPLIT: published[rows[here]]},
            )
    reading.progress(len(steps), len(steps))


IMPORTER = ZooImporter(
    name="importers/small-cnn-zoo",
    config=SmallCNNZoo,
    read=read,
    help="A data set of the Small CNN Zoo: a folder with weights.npy, metrics.csv.gz and layout.csv.",
)


def _variables(path: Path) -> list[Variable]:
    """Return the tensors that ``layout.csv`` lists.

    Raises:
        ZooError: the file is missing, damaged or empty.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        variables = [_variable(row) for row in rows]
    except OSError as error:
        raise ZooError(f"{path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, SyntaxError, csv.Error) as error:
        raise ZooError(f"{path}: not a list of variables: {' '.join(str(error).split())[:100]}") from error
    if not variables:
        raise ZooError(f"{path}: the file lists no variable")
    return variables


def _variable(row: Mapping[str, str]) -> Variable:
    match = re.fullmatch(r"(?:.*/)?([\w]+)/(kernel|bias)(?::0)?", row["varname"])
    shape = literal_eval(row["shape"])
    start, end = int(row["start_idx"]), int(row["end_idx"])
    if match is None:
        raise ValueError(f"{row['varname']!r} is neither a kernel nor a bias")
    if (
        not isinstance(shape, tuple)
        or not all(isinstance(n, int) and n > 0 for n in shape)
        or len(shape) not in (1, 2, 4)
    ):
        raise ValueError(f"{row['varname']!r} has the impossible shape {row['shape']}")
    if start < 0 or end - start != prod(shape):
        raise ValueError(f"{row['varname']!r} has shape {shape}, but start_idx {start} and end_idx {end}")
    return Variable(
        name=f"{match[1]}.{'weight' if match[2] == 'kernel' else 'bias'}", start=start, shape=shape
    )


def _metrics(path: Path) -> dict[str, list[Any]]:
    """Return the columns of ``metrics.csv.gz`` by name, without the prefix ``config.`` of their names.

    The leading index column, which has no name, is left out.

    Raises:
        ZooError: the file is missing or damaged, or a column that the import needs is missing or incomplete.
    """
    try:
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            head = next(rows)
            columns = list(zip(*rows, strict=True))
    except (OSError, EOFError, ValueError, StopIteration, csv.Error) as error:
        raise ZooError(
            f"{path}: {getattr(error, 'strerror', None) or f'damaged ({type(error).__name__})'}"
        ) from error
    lines = range(2, 2 + max(map(len, columns), default=0))
    metrics = {
        name.removeprefix("config."): typed(values, ColumnSource(table=str(path), column=name, lines=lines))
        for name, values in zip(head, columns, strict=False)
        if name
    }
    for name in ("modeldir", "step", "activation"):
        if name not in metrics or None in metrics[name]:
            raise ZooError(
                f"{path}: the column {name!r} of the Small CNN Zoo is missing, or has missing values"
            )
    return metrics


def _weights(path: Path, rows: int, variables: Sequence[Variable]) -> np.ndarray:
    try:
        weights: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ZooError(f"{path}: {getattr(error, 'strerror', None) or 'damaged, or not an array'}") from error
    width = max(each.start + prod(each.shape) for each in variables)
    if weights.ndim != 2 or weights.dtype.kind != "f" or weights.shape != (rows, width):
        raise ZooError(
            f"{path}: must hold floats of shape {(rows, width)}, as metrics.csv.gz and layout.csv say, but "
            f"got {weights.dtype} of shape {weights.shape}"
        )
    return weights


def _architecture(variables: Sequence[Variable], activation: str, source: Path) -> Architecture:
    if activation not in ACTIVATIONS:
        raise ZooError(f"{source}: unknown activation {activation!r} (known: {', '.join(ACTIVATIONS)})")
    return describe(SmallCNN(variables, activation))


class SmallCNN(nn.Module):
    """A network of the Small CNN Zoo: strided convolutions, a mean over the pixels, and a linear layer.

    Args:
        variables: the kernels and biases, which give the names and sizes of the layers.
        activation: activation after each convolution.
    """

    def __init__(self, variables: Sequence[Variable], activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]()
        for each in variables:
            if len(each.shape) == 4:
                height, width, inputs, outputs = each.shape
                self.add_module(each.layer, nn.Conv2d(inputs, outputs, (height, width), stride=2))
            elif len(each.shape) == 2:
                self.add_module(each.layer, nn.Linear(*each.shape))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, classes)`` for images ``(B, channels, height, width)``."""
        x = images
        for layer in self.children():
            if isinstance(layer, nn.Conv2d):
                x = self.activation(layer(x))
            elif isinstance(layer, nn.Linear):
                x = layer(x.mean((2, 3)))
        return x


def _last(runs: Sequence[Any], steps: np.ndarray) -> list[bool]:
    """Return for each row whether it is the last checkpoint of its run."""
    last: dict[Any, int] = {}
    for run, step in zip(runs, steps.tolist(), strict=True):
        last[run] = max(step, last.get(run, step))
    return [step == last[run] for run, step in zip(runs, steps.tolist(), strict=True)]


def _published(path: Path, steps: np.ndarray) -> np.ndarray:
    """Return the split that NFN and later papers use, shape ``(N,)``.

    The file lists all rows in random order. Only the final checkpoints are used. Of the first half of them,
    80 % are for training and 20 % for validation. The second half is for the test. A header line ``0``, with
    which published files begin, is ignored.

    Raises:
        ZooError: the file is missing, damaged, or not a permutation of the rows.
    """
    try:
        order = np.array([int(line.split(",")[-1]) for line in path.read_text(encoding="utf-8").split()])
    except (OSError, ValueError) as error:
        raise ZooError(f"{path}: {getattr(error, 'strerror', None) or 'not a list of rows'}") from error
    if len(order) == len(steps) + 1:
        order = order[1:]
    if not np.array_equal(np.sort(order), np.arange(len(steps))):
        raise ZooError(f"{path}: not a permutation of the {len(steps)} rows of this zoo")
    final = order[steps[order] == FINAL]
    half = len(final) // 2
    first = list(range(half))
    random.Random(0).shuffle(first)  # noqa: S311  # the published split
    cut = int(0.8 * half)
    assigned = np.full(len(steps), UNUSED)
    assigned[final[first[:cut]]] = TRAIN
    assigned[final[first[cut:]]] = VAL
    assigned[final[half:]] = TEST
    return assigned
