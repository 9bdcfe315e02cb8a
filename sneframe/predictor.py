"""A finished run, to be asked about networks: modules, state dicts, files and zoos in; properties and embeddings out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from attrs import evolve, field, frozen
from torch import Tensor, nn

from sneframe import state
from sneframe.architecture import Architecture
from sneframe.architecture.state_dict import Flatten
from sneframe.batch import Batch, Networks, flatten
from sneframe.checkpoint import load_model
from sneframe.errors import FileError, RunError
from sneframe.factory import Factory
from sneframe.model import Model
from sneframe.reader import Reader
from sneframe.reference import Reference
from sneframe.tasks import Tasks
from sneframe.zoo.read import Zoo

BATCH = 32  #: networks that are encoded together
Network = nn.Module | Mapping[str, Tensor] | str | Path


@frozen(kw_only=True, eq=False)
class Prediction:
    """What a run says of one network.

    Args:
        source: the file, or what else it was.
        values: by property, in its unit: a number, or a label.
        embedding: ``(E,)`` float32.
        distance: to its nearest training networks, 1 where 99 % of these are nearer to each other; None for a run that kept
            no embeddings of its training networks.
        unseen: types of parameters, such as ``conv2d.weight``, that no training network has.
    """

    source: str
    values: Mapping[str, Any]
    embedding: np.ndarray
    distance: float | None
    unseen: tuple[str, ...]

    @property
    def far(self) -> bool:
        """Whether it is unlike all training networks, so that its values are guesses."""
        return self.distance is not None and self.distance > 1


def load(
    run: str | Path,
    *,
    module: str | None = None,
    key: str | None = None,
    activation: str | None = None,
    flatten: Flatten = "unknown",
) -> Predictor:
    """Read a finished run.

    Args:
        run: its folder.
        module: ``package.module:function`` that makes the module of a network, where files need their code to be described.
        key: of checkpoints that hold several state dicts, which.
        activation: of networks that come without code, of every layer but the last. A network with the names and shapes of
            one architecture of the training zoo has that architecture.
        flatten: ``channels_first`` where a linear layer reads a convolution as torch flattens it.

    Raises:
        RunError: no finished run, or a damaged one.
        PluginError: a part it was made of is not installed.
        ConfigError: there is no such module.
    """
    folder = Path(run)
    best = folder / "best.safetensors"
    if not best.is_file():
        raise RunError(f"{folder}: no finished run, best.safetensors is not in it")
    model, tasks, header = load_model(best)
    architectures = tuple(Architecture.from_json(data) for data in header["architectures"])
    reader = Reader(
        module=None if module is None else Factory(module),
        key=key,
        activation=activation,
        flatten=flatten,
        known=architectures,
    )
    kept = folder / "embeddings.safetensors"
    tensors = state.read_tensors(kept)[0] if kept.is_file() else {}
    reference = Reference.of(tensors["train_values"].numpy()) if "train_values" in tensors else None
    return Predictor(
        folder=folder,
        model=model,
        tasks=tasks,
        architectures=architectures,
        reader=reader,
        reference=reference,
    )


@final
@frozen(kw_only=True, eq=False)
class Predictor:
    """A trained model that takes networks of any kind. Made by :func:`load`.

    Args:
        folder: of the run.
        model: in evaluation mode.
        tasks: of its properties, the main one first.
        architectures: of the training zoo.
        reader: of files.
        reference: embeddings of training networks, or None.
    """

    folder: Path
    model: Model
    tasks: Tasks
    architectures: tuple[Architecture, ...]
    reader: Reader = field(repr=False)
    reference: Reference | None = field(repr=False)

    @property
    def properties(self) -> tuple[str, ...]:
        """What it predicts, the main property first."""
        return tuple(task.name for task in self.tasks.each)

    def predict(self, network: Network) -> Prediction:
        """Predict the properties of one network.

        Args:
            network: a module, a state dict, or the path of a file of one.

        Raises:
            FileError: a file that cannot be read.
            ArchitectureError: a network that cannot be described.
            PartError: one that the method cannot take, as it is built for other architectures.

        Warns:
            UserWarning: types of layers that no training network has; a network far from all of them.
        """
        return self.predict_all([network])[0]

    def predict_all(self, networks: Sequence[Network]) -> list[Prediction]:
        """Predict the properties of several networks, some at a time; see :meth:`predict`."""
        found: list[Prediction] = []
        for start in range(0, len(networks), BATCH):
            described = [self._described(network) for network in networks[start : start + BATCH]]
            found += self._told([source for source, _ in described], _batch([each for _, each in described]))
        return found

    def embed(self, networks: Network | Batch | Zoo) -> np.ndarray:
        """Return the embedding ``(E,)`` of one network, or ``(n, E)`` of all of a batch or a selection of a zoo."""
        if isinstance(networks, Zoo):
            return self.embed(networks.load())
        if isinstance(networks, Batch):
            return np.concatenate([values for values, _ in self._outputs(networks)])
        return self.embed(_batch([self._described(networks)[1]]))[0]

    def _described(self, network: Network) -> tuple[str, Networks]:
        """Return what a network is called, and the network."""
        if isinstance(network, nn.Module):
            architecture, tensors, source = (
                Architecture.from_module(network),
                network.state_dict(),
                type(network).__name__,
            )
        elif isinstance(network, Mapping):
            tensors = {name: value for name, value in network.items() if value.is_floating_point()}
            architecture, source = self.reader.describe(tensors), "state dict"
        else:
            tensors, source = self.reader.weights(Path(network)), str(network)
            try:
                architecture = self.reader.describe(tensors)
            except FileError as error:
                raise FileError(f"{network}: {error}") from error
        return source, Networks(architecture=architecture, weights=flatten(architecture, tensors)[None])

    def _outputs(self, batch: Batch) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield embeddings ``(b, E)`` and raw values ``(b, T)`` of some networks at a time."""
        with torch.no_grad():
            for start in range(0, len(batch), BATCH):
                output = self.model(batch.select(np.arange(start, min(start + BATCH, len(batch)))))
                yield output.embedding.float().numpy(), output.value

    def _told(self, sources: Sequence[str], batch: Batch) -> list[Prediction]:
        seen = {kind for architecture in self.architectures for kind in architecture.types}
        unseen = [tuple(dict.fromkeys(t for t in a.types if t not in seen)) for a in batch.architectures]
        ((embeddings, value),) = list(self._outputs(batch))
        columns = {task.name: task.predict(own) for task, own in self.tasks.split(value)}
        distances = None if self.reference is None else self.reference.distance(embeddings)
        found = []
        for place, source in enumerate(sources):
            made = Prediction(
                source=source,
                values={name: _plain(column[place]) for name, column in columns.items()},
                embedding=embeddings[place],
                distance=None if distances is None else float(distances[place]),
                unseen=unseen[batch.entry[place]],
            )
            for line in doubts(made):
                warnings.warn(f"{source}: {line}", stacklevel=4)
            found.append(made)
        return found


def doubts(prediction: Prediction) -> Iterator[str]:
    """Yield why a prediction is not to be trusted, a line each."""
    if prediction.unseen:
        yield f"no training network has {', '.join(prediction.unseen)}"
    if prediction.far:
        yield (
            f"far from all training networks, {prediction.distance:.1f} times as far as 99 % of these are from each other"
        )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _batch(described: Sequence[Networks]) -> Batch:
    """Return networks as a batch; position ``i`` is ``described[i]``."""
    rows: dict[Architecture, list[int]] = {}
    for place, each in enumerate(described):
        rows.setdefault(each.architecture, []).append(place)
    joined = [
        evolve(described[places[0]], weights=torch.cat([described[place].weights for place in places]))
        for places in rows.values()
    ]
    places = np.array([place for each in rows.values() for place in each])
    return Batch(networks=joined, order=np.argsort(places), ids=np.arange(len(described)))
