"""Load a finished run, which predicts properties and computes embeddings of networks."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Unpack, final

import numpy as np
import torch
from attrs import field, frozen
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch
from sneframe.config.byte_size import shown
from sneframe.errors import ArchitectureError, ConfigError, RunError
from sneframe.files.network_reader import NetworkReader
from sneframe.model import Model
from sneframe.plugins import Blamed
from sneframe.predict.conformal import LEVEL, check_level
from sneframe.predict.distance import Reference
from sneframe.predict.doubt import Doubt, Seen, doubtful, in_words, magnitudes
from sneframe.predict.encoding import BATCH, Encoding
from sneframe.predict.interval import interval_of
from sneframe.predict.lazy_network import Describer, LazyNetwork, Network
from sneframe.predict.prediction import DoubtWarning, Prediction
from sneframe.predict.reading import ReadingOptions, network_reader
from sneframe.predict.stream import least
from sneframe.predict.tested import Tested, read_tested
from sneframe.progress import Reporter
from sneframe.run_folder import tensor_files
from sneframe.run_folder.calibration import Calibration, read_calibration
from sneframe.run_folder.checkpoint import load_model
from sneframe.run_folder.training_networks import read_magnitudes
from sneframe.tasks import Tasks
from sneframe.zoo.read import Zoo

T = TypeVar("T")


def load(
    run: str | Path,
    *,
    memory: int | None = None,
    all_weights: bool = False,
    reporter: Reporter | None = None,
    **reading: Unpack[ReadingOptions],
) -> Predictor:
    """Load a finished run as a :class:`Predictor`.

    Args:
        run: the folder of the run.
        memory: bytes that encoding a large network may use beside the model and the weights of one layer. By
            default 2 GiB. A method that looks at all layers of a network at once cannot keep this bound, and
            a warning says so.
        all_weights: whether to encode all weights of a network with more than 50 million. By default, of such
            a network only a sample of the chunks of each parameter is read and encoded, and a warning says
            so, if the method can do this.
        reporter: shows the progress on a large network. By default nothing is shown.
        reading: how files are read, such as ``key`` or ``activation``, as in
            :class:`~sneframe.predict.reading.ReadingOptions`. A network that has the names and shapes of
            exactly one architecture of the training zoo needs none.

    Warns:
        UserWarning: the run has not finished, and its best model so far is used.

    Raises:
        RunError: the folder holds no model, or a damaged one.
        PluginError: a part of the model is not installed.
        ConfigError: an option of reading or its value is unknown, or the model needs more than
            ``memory`` bytes.
    """
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int) or memory < 1):
        raise ConfigError(f"memory must be a number of bytes, but got {memory!r}")
    folder = Path(run)
    best = folder / "best.safetensors"
    if not best.is_file():
        raise RunError(f"{folder}: the folder holds no model: best.safetensors is missing")
    if not (folder / "metrics.json").is_file():
        line = "the run has not finished: this is its best model so far, without a test error"
        warnings.warn(f"{folder}: {line} and without distances to training networks", stacklevel=2)
    model, tasks, header = load_model(best)
    if memory is not None and memory < (needed := least(model.encoder)):
        raise ConfigError(f"memory: {shown(memory)} is too little; this model needs at least {shown(needed)}")
    # An adapted run knows the networks to which it was adapted, not those for which the model was built.
    described = header.get("seen", header["architectures"])
    architectures = tuple(Architecture.from_json(data) for data in described)
    return Predictor(
        folder=folder,
        model=model,
        tasks=tasks,
        seen=Seen(architectures=architectures, magnitudes=read_magnitudes(folder / "training.json")),
        tested=read_tested(metrics) if (metrics := folder / "metrics.json").is_file() else {},
        reader=network_reader(known=architectures, **reading),
        reference=_reference(folder / "embeddings.safetensors", model.encoder.width),
        calibration=read_calibration(folder / "calibration.json", (task.name for task in tasks.each)),
        encoding=Encoding(
            encoder=model.encoder,
            memory=memory,
            all_weights=all_weights,
            reporter=reporter or Reporter(),
        ),
    )


def _reference(path: Path, width: int) -> Reference | None:
    """Read the embeddings of the training networks, or return None if the run stored no such embeddings."""
    values = tensor_files.read_tensors(path)[0].get("train_values") if path.is_file() else None
    if values is None:
        return None
    if values.ndim != 2 or values.shape[1] != width or not values.is_floating_point():
        raise RunError(
            f"{path}: damaged: train_values has shape {tuple(values.shape)}, but the model has width {width}"
        )
    return Reference.of(values.float().numpy())


@final
@frozen(kw_only=True, eq=False)
class Predictor:
    """A trained model that takes modules, state dicts, files and zoos. :func:`load` returns it.

    Args:
        folder: the folder of the run.
        model: the model, in evaluation mode.
        tasks: the tasks of the predicted properties. The task of the main property is first.
        seen: what is known about the training networks.
        tested: the run's error on its test networks by property.
        reader: reads files.
        reference: the embeddings of training networks, or None if distances cannot be measured.
        calibration: the errors on validation networks, from which intervals are computed; None if the run has
            recorded none.
        encoding: encodes networks with the encoder of the model.
    """

    folder: Path
    model: Model
    tasks: Tasks
    seen: Seen = field(repr=False)
    tested: Mapping[str, Tested]
    reader: NetworkReader = field(repr=False)
    reference: Reference | None = field(repr=False)
    encoding: Encoding = field(repr=False)
    calibration: Calibration | None = field(default=None, repr=False)
    _describer: Describer = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_describer", Describer(self.reader, self.architectures))

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """The architectures of the training networks."""
        return self.seen.architectures

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of the properties that the run predicts, the main property first."""
        return tuple(task.name for task in self.tasks.each)

    def describe(self, network: Network, example_input: Any = None) -> Architecture:
        """Return the architecture that :meth:`predict` finds for a network."""
        return self._describer.of(network, example_input).architecture

    def predict(self, network: Network, example_input: Any = None, *, level: float = LEVEL) -> Prediction:
        """Predict the properties of one network.

        Args:
            network: a module, a state dict, or the path of a file.
            example_input: an input of a module's ``forward``, if none can be made for its first layer.
            level: the probability with which each interval contains the true value.

        Raises:
            ConfigError: ``level`` is not between 0 and 1.
            FileError: the file cannot be read.
            ArchitectureError: the network cannot be described.
            PartError: the method is built for other architectures and cannot take this one.

        Warns:
            DoubtWarning: the network differs from all training networks so much that the prediction is a
                guess.
        """
        check_level(level)
        return self._predictions([self._describer.of(network, example_input)], level)[0]

    def predict_all(self, networks: Iterable[Network], *, level: float = LEVEL) -> list[Prediction]:
        """Predict the properties of several networks, in batches; see :meth:`predict`."""
        check_level(level)
        if isinstance(networks, nn.Module | Mapping | str | Path):
            raise ArchitectureError(
                f"predict_all takes several networks, such as a list, but got one {type(networks).__name__}"
            )
        found: list[Prediction] = []
        for some in batched(networks, BATCH):
            found += self._predictions([self._describer.of(network) for network in some], level)
        return found

    def embed(
        self, networks: Network | Sequence[Network] | Batch | Zoo, example_input: Any = None
    ) -> np.ndarray:
        """Return the embedding ``(E,)`` of one network, or ``(n, E)`` of several networks, a batch, or a zoo.

        If a network of a batch or a zoo has weights that are not finite or too large, its row is not finite.

        Args:
            networks: one of these: a network as for :meth:`predict`, a list of such networks, a batch, a zoo,
                or a selection of a zoo.
            example_input: an input of one module, as for :meth:`predict`.

        Raises:
            FileError, ArchitectureError: a network cannot be read or described.
            PartError: the method cannot take a network, or the embedding of a network is not finite.

        Warns:
            DoubtWarning: as :meth:`predict`. A batch or a zoo gives one warning for all its doubtful
                networks.
        """
        if isinstance(networks, Zoo | Batch):
            batch = networks.load() if isinstance(networks, Zoo) else networks
            for architecture in batch.architectures:
                self.encoding.check_memory(architecture.summary, architecture)
            self._doubt_batch(batch, str(networks.path) if isinstance(networks, Zoo) else "batch")
            return self.encoding.of_batch(batch).numpy()
        if not isinstance(networks, list | tuple):
            return self._rows([self._describer.of(networks, example_input)])[0]
        rows = [np.empty((0, self.model.encoder.width), np.float32)]
        rows += [
            self._rows([self._describer.of(network) for network in some]) for some in batched(networks, BATCH)
        ]
        return np.concatenate(rows)

    def _rows(self, networks: Sequence[LazyNetwork]) -> np.ndarray:
        """Return the embeddings ``(n, E)`` of networks, and warn of each doubtful network."""
        rows = self.encoding.of(networks).numpy()
        for each, distance in zip(networks, self._distances(rows), strict=True):
            _warn(each.source, self._doubts(each, distance))
        return rows

    def _distances(self, rows: np.ndarray) -> list[float | None]:
        if self.reference is None:
            return [None] * len(rows)
        return list(map(float, self.reference.distance(rows)))

    def _doubts(self, network: LazyNetwork, distance: float | None) -> tuple[Doubt, ...]:
        own: dict[str, float] = {}
        if self.seen.magnitudes:
            own = magnitudes(network.architecture, self.encoding.read(network))
        return self.seen.doubts_of_network(network.architecture, own, distance, assumed=network.assumed)

    def _doubt_batch(self, batch: Batch, name: str) -> None:
        """Warn of the networks of a batch whose architectures differ seriously from all training networks."""
        found = [self.seen.doubts(architecture) for architecture in batch.architectures]
        unlike = [index for index, doubts in enumerate(found) if doubtful(doubts)]
        if unlike:
            count = sum(len(batch.networks[index]) for index in unlike)
            first, doubt = batch.architectures[unlike[0]], found[unlike[0]][0]
            line = f"{count} of {len(batch)} networks are unlike those of training, such as {first.summary}"
            warnings.warn(f"{name}: {line}: {doubt.line}", DoubtWarning, stacklevel=4)

    def _predictions(self, networks: Sequence[LazyNetwork], level: float) -> list[Prediction]:
        embeddings = self.encoding.of(networks)
        with torch.no_grad(), Blamed(self.model.head):
            value = self.model.head(embeddings)
        outputs = list(self.tasks.split(value))
        columns = {task.name: task.predict(own) for task, own in outputs}
        distances = self._distances(embeddings.numpy())
        found = []
        for row, each in enumerate(networks):
            distance, doubts = distances[row], self._doubts(each, distances[row])
            intervals = {
                task.name: interval_of(
                    task, own[[row]], self.calibration, level=level, distance=distance, doubts=doubts
                )
                for task, own in outputs
            }
            made = Prediction(
                source=each.source,
                values={name: _plain(column[row]) for name, column in columns.items()},
                intervals=intervals,
                tested={name: self.tested[name] for name in columns if name in self.tested},
                embedding=embeddings[row].numpy(),
                distance=distance,
                doubts=doubts,
                unseen=self.seen.unseen(each.architecture),
                symmetry=each.architecture.symmetry,
                sampled=self.encoding.sampled(each.architecture),
            )
            _warn(made.source, made.doubts)
            found.append(made)
        return found


def _warn(source: str, doubts: Sequence[Doubt]) -> None:
    """Warn in one line if a doubt is more than mild."""
    if doubtful(doubts):
        warnings.warn(f"{source}: {in_words(doubts)}", DoubtWarning, stacklevel=4)


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of ``size`` values. The last list may be shorter. Python 3.12 has ``itertools.batched``."""
    left = iter(values)
    while some := list(itertools.islice(left, size)):
        yield some


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
