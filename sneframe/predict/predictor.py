"""A finished run, to be asked about networks: modules, state dicts, files and zoos in; properties and embeddings out."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.description import Flatten
from sneframe.batch import Batch
from sneframe.errors import ArchitectureError, ConfigError, PartError, RunError
from sneframe.files.module_factory import Factory
from sneframe.files.readers import Reader
from sneframe.model import Model
from sneframe.plugins import Blamed
from sneframe.predict.distance import Reference
from sneframe.predict.doubt import GRADES, Doubt, Seen, in_words, magnitudes, worst
from sneframe.predict.prediction import DoubtWarning, Prediction
from sneframe.predict.question import Network, Question, Questions, stacked
from sneframe.predict.stream import LARGE, least, obstacle, shown, stream
from sneframe.predict.tested import Tested, read_tested
from sneframe.progress import Reporter
from sneframe.run_folder import tensor_files
from sneframe.run_folder.checkpoint import load_model
from sneframe.run_folder.training_networks import read_magnitudes
from sneframe.tasks import Tasks
from sneframe.zoo.read import Zoo

BATCH = 32  #: networks that are encoded together
#: What is said of a network whose neurons may not be what its description says.
UNSURE = {
    "guessed": "its symmetry is guessed from names and shapes",
    "none": "no symmetry is known, every neuron is taken as fixed",
}
MEMORY = 2 << 30  #: bytes that encoding a large network may take
T = TypeVar("T")


def load(
    run: str | Path,
    *,
    module: str | None = None,
    key: str | None = None,
    activation: str | None = None,
    flatten: Flatten = "unknown",
    trust_names: bool = False,
    memory: int | None = None,
    reporter: Reporter | None = None,
) -> Predictor:
    """Read a finished run.

    Args:
        run: its folder.
        module: ``package.module:function`` that makes the module of a network, where files need their code to be described.
        key: of checkpoints that hold several state dicts, which.
        activation: of networks that come without code, of every layer but the last. A network with the names and shapes of
            one architecture of the training zoo has that architecture.
        flatten: ``channels_first`` where a linear layer reads a convolution as torch flattens it.
        trust_names: take networks without code for chains where the sizes of their layers fit.
        memory: bytes that encoding a large network may take, beside the model and the weights of one layer; None: 2 GiB.
            It does not bind methods that look at all layers of a network at once, which a warning names.
        reporter: says how far it is with a large network; silent where not given.

    Warns:
        UserWarning: the run has not finished, and its model is the best so far.

    Raises:
        RunError: there is no model of a run, or a damaged one.
        PluginError: a part it was made of is not installed.
        ConfigError: there is no such module, activation or way to flatten, or less memory than the model needs.
    """
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int) or memory < 1):
        raise ConfigError(f"memory is a number of bytes, got {memory!r}")
    folder = Path(run)
    best = folder / "best.safetensors"
    if not best.is_file():
        raise RunError(f"{folder}: no finished run, best.safetensors is not in it")
    if not (folder / "metrics.json").is_file():
        line = (
            "the run has not finished: this is its best model so far, its error on test networks is not known"
        )
        warnings.warn(f"{folder}: {line}, nor what is far from training", stacklevel=2)
    model, tasks, header = load_model(best)
    if memory is not None and memory < (needed := least(model.encoder)):
        raise ConfigError(f"memory: {shown(memory)} cannot be met, this model needs at least {shown(needed)}")
    architectures = tuple(Architecture.from_json(data) for data in header["architectures"])
    reader = Reader(
        module=None if module is None else Factory(module),
        key=key,
        activation=activation,
        flatten=flatten,
        trust_names=trust_names,
        known=architectures,
    )
    return Predictor(
        folder=folder,
        model=model,
        tasks=tasks,
        seen=Seen(architectures=architectures, magnitudes=read_magnitudes(folder / "training.json")),
        tested=read_tested(metrics) if (metrics := folder / "metrics.json").is_file() else {},
        reader=reader,
        reference=_reference(folder / "embeddings.safetensors", model.encoder.width),
        memory=memory,
        reporter=reporter or Reporter(),
    )


def _reference(path: Path, width: int) -> Reference | None:
    """Read the embeddings of training networks, where the run kept them."""
    values = tensor_files.read_tensors(path)[0].get("train_values") if path.is_file() else None
    if values is None:
        return None
    if values.ndim != 2 or values.shape[1] != width or not values.is_floating_point():
        raise RunError(
            f"{path}: damaged: train_values of shape {tuple(values.shape)}, embeddings of this run have {width} numbers"
        )
    return Reference.of(values.float().numpy())


@final
@frozen(kw_only=True, eq=False)
class Predictor:
    """A trained model that takes networks of any kind. Made by :func:`load`.

    Args:
        folder: of the run.
        model: in evaluation mode.
        tasks: of its properties, the main one first.
        seen: what the training networks had.
        tested: by property, the run's error on its test networks.
        reader: of files.
        reference: embeddings of training networks, or None.
        memory: bytes that encoding a large network may take; None: 2 GiB.
        reporter: says how far it is with one.
    """

    folder: Path
    model: Model
    tasks: Tasks
    seen: Seen = field(repr=False)
    tested: Mapping[str, Tested]
    reader: Reader = field(repr=False)
    reference: Reference | None = field(repr=False)
    memory: int | None = None
    reporter: Reporter = field(factory=Reporter, repr=False)
    _questions: Questions = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_questions", Questions(self.reader, self.architectures))

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """The architectures of the training networks."""
        return self.seen.architectures

    @property
    def properties(self) -> tuple[str, ...]:
        """What it predicts, the main property first."""
        return tuple(task.name for task in self.tasks.each)

    def predict(self, network: Network, example_input: Any = None) -> Prediction:
        """Predict the properties of one network.

        Args:
            network: a module, a state dict, or the path of a file of one.
            example_input: what a module's ``forward`` takes, where none can be made up for its first layer.

        Raises:
            FileError: a file that cannot be read.
            ArchitectureError: a network that cannot be described.
            PartError: one that the method cannot take, as it is built for other architectures.

        Warns:
            DoubtWarning: more than mildly, the network is unlike all training networks.
        """
        return self._told([self._questions.of(network, example_input)])[0]

    def predict_all(self, networks: Iterable[Network]) -> list[Prediction]:
        """Predict the properties of several networks, some at a time; see :meth:`predict`."""
        if isinstance(networks, nn.Module | Mapping | str | Path):
            raise ArchitectureError(
                f"several networks are needed, such as a list, got one {type(networks).__name__}"
            )
        found: list[Prediction] = []
        for some in batched(networks, BATCH):
            found += self._told([self._questions.of(network) for network in some])
        return found

    def embed(
        self, networks: Network | Sequence[Network] | Batch | Zoo, example_input: Any = None
    ) -> np.ndarray:
        """Return the embedding ``(E,)`` of one network, or ``(n, E)`` of several, of a batch or a selection of a zoo.

        Of a batch or a zoo, the row of a network that has weights that are not finite, or too large ones, is not finite.

        Warns:
            DoubtWarning: as :meth:`predict`; of a batch or a zoo, one line for all networks of architectures that are unlike
                those of training.

        Args:
            networks: one or several; see :meth:`predict`.
            example_input: of one module, as for :meth:`predict`.

        Raises:
            FileError, ArchitectureError: a network that cannot be read or described.
            PartError: one that the method cannot take, or whose embedding is not finite.
        """
        if isinstance(networks, Zoo | Batch):
            batch = networks.load() if isinstance(networks, Zoo) else networks
            for architecture in batch.architectures:
                self._check_memory(architecture.summary, architecture)
            self._doubt_batch(batch, str(networks.path) if isinstance(networks, Zoo) else "batch")
            return self._encoded(batch).numpy()
        if not isinstance(networks, list | tuple):
            return self._rows([self._questions.of(networks, example_input)])[0]
        rows = [np.empty((0, self.model.encoder.width), np.float32)]
        rows += [
            self._rows([self._questions.of(network) for network in some]) for some in batched(networks, BATCH)
        ]
        return np.concatenate(rows)

    def _rows(self, asked: Sequence[Question]) -> np.ndarray:
        """Return the embeddings ``(n, E)`` of networks, and warn of those that are doubtful."""
        rows = self._embeddings(asked).numpy()
        for each, distance in zip(asked, self._distances(rows), strict=True):
            _warn(each.source, self._doubts(each, distance))
        return rows

    def _distances(self, rows: np.ndarray) -> list[float | None]:
        if self.reference is None:
            return [None] * len(rows)
        return list(map(float, self.reference.distance(rows)))

    def _doubts(self, asked: Question, distance: float | None) -> tuple[Doubt, ...]:
        """Return in what a network differs from all training networks, the worst first."""
        found = list(self.seen.doubts(asked.architecture, assumed=asked.assumed))
        if self.seen.magnitudes:
            found += self.seen.doubts_of_weights(
                magnitudes(asked.architecture, lambda name: asked.read()[name])
            )
        known = asked.architecture in self.architectures
        if (line := UNSURE.get(asked.architecture.symmetry)) and not (
            known and asked.architecture.symmetry == "none"
        ):
            found.append(Doubt(about="symmetry", grade="mild", line=line))
        if distance is not None and distance > 1:
            line = f"it is far from all training networks, {distance:.3g} times as far as 99 % of these are from each other"
            found.append(Doubt(about="distance", grade="serious", line=line))
        return tuple(sorted(found, key=lambda doubt: -GRADES.index(doubt.grade)))

    def _doubt_batch(self, batch: Batch, name: str) -> None:
        """Warn of the networks of a batch whose architectures are unlike all of training."""
        found = [self.seen.doubts(architecture) for architecture in batch.architectures]
        doubtful = [place for place, doubts in enumerate(found) if worst(doubts) in GRADES[1:]]
        if doubtful:
            count = sum(len(batch.networks[place]) for place in doubtful)
            first, doubt = batch.architectures[doubtful[0]], found[doubtful[0]][0]
            line = f"{count} of {len(batch)} networks are unlike those of training, such as {first.summary}: {doubt.line}"
            warnings.warn(f"{name}: {line}", DoubtWarning, stacklevel=4)

    def _embeddings(self, asked: Sequence[Question]) -> Tensor:
        """Return ``(n, E)``: of large networks one after the other, of the others together."""
        encoder = self.model.encoder
        large = np.array([each.architecture.num_weights > LARGE for each in asked], dtype=bool)
        if (whole := obstacle(encoder)) is not None:
            for each in asked:
                self._check_memory(each.source, each.architecture)
            for place in np.flatnonzero(large).tolist():
                line = "all weights are encoded at once, which takes whatever memory it takes"
                warnings.warn(f"{asked[place].source}: {line}: {whole}", stacklevel=4)
            large[:] = False
        rows = torch.empty(len(asked), encoder.width)
        for place in np.flatnonzero(large).tolist():
            rows[place] = self._streamed(asked[place])
        if small := np.flatnonzero(~large).tolist():
            rows[small] = self._encoded(stacked([asked[place] for place in small]))
        for each, finite in zip(asked, rows.isfinite().all(1).tolist(), strict=True):
            if not finite:
                raise PartError(
                    f"{each.source}: its embedding is not finite: NaN among its weights, or too large ones"
                )
        return rows

    def _check_memory(self, source: str, architecture: Architecture) -> None:
        """Check that a bound that was asked for has room for the weights, of a method that takes all of them at once."""
        whole, needed = obstacle(self.model.encoder), 4 * architecture.num_weights
        if whole is not None and self.memory is not None and self.memory < needed:
            raise PartError(
                f"{source}: memory: {shown(self.memory)} cannot be met, its weights alone take {shown(needed)}: {whole}"
            )

    def _streamed(self, asked: Question) -> Tensor:
        """Return the embedding ``(E,)`` of a large network; of its file one parameter after the other is mapped."""
        with self.reporter.bar(f"encoding {asked.source}", unit="weights") as advance:
            return stream(
                self.model.encoder,
                asked.architecture,
                lambda name: asked.read()[name],
                memory=self.memory or MEMORY,
                progress=advance,
            )[0]

    def _encoded(self, batch: Batch) -> Tensor:
        """Return ``(n, E)``, some networks at a time."""
        rows = torch.empty(len(batch), self.model.encoder.width)
        with torch.no_grad():
            for start in range(0, len(batch), BATCH):
                part = np.arange(start, min(start + BATCH, len(batch)))
                rows[part] = self.model.encoder(batch.select(part)).float()
        return rows

    def _told(self, asked: Sequence[Question]) -> list[Prediction]:
        embeddings = self._embeddings(asked)
        with torch.no_grad(), Blamed(self.model.head):
            value = self.model.head(embeddings)
        columns = {task.name: task.predict(own) for task, own in self.tasks.split(value)}
        distances = self._distances(embeddings.numpy())
        found = []
        for place, each in enumerate(asked):
            made = Prediction(
                source=each.source,
                values={name: _plain(column[place]) for name, column in columns.items()},
                tested={name: self.tested[name] for name in columns if name in self.tested},
                embedding=embeddings[place].numpy(),
                distance=distances[place],
                doubts=self._doubts(each, distances[place]),
                unseen=self.seen.unseen(each.architecture),
                symmetry=each.architecture.symmetry,
            )
            _warn(made.source, made.doubts)
            found.append(made)
        return found


def _warn(source: str, doubts: Sequence[Doubt]) -> None:
    """Warn in one line where there is more than a mild doubt."""
    if worst(doubts) in GRADES[1:]:
        warnings.warn(f"{source}: {in_words(doubts)}", DoubtWarning, stacklevel=4)


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield values in lists of so many, the last of what is left: ``itertools.batched``, which Python 3.11 has not."""
    left = iter(values)
    while some := list(itertools.islice(left, size)):
        yield some


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
