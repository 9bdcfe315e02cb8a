"""Define the result of a cell, and read it from the cell's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import field, frozen

from sneframe.bench.source import Made
from sneframe.errors import counted
from sneframe.metrics import Scores
from sneframe.run_folder.json_files import fault, parse_json, read_text, structured
from sneframe.run_folder.measured import Seconds
from sneframe.run_folder.shown import typed_values

FORMAT = "sneframe.cell"
VERSION = 1
EMPTY = np.empty(0)


@frozen(kw_only=True, eq=False)
class Test:
    """The test networks of one zoo with their predictions.

    Args:
        digest: digest of the zoo.
        scores: scores of the predictions before they were rounded.
        ids: ``(n,)`` int64.
        true: ``(n,)`` float64, or labels.
        predicted: ``(n,)`` predictions, of the same type.
        group: ``(n,)`` int64, equal for networks of one run group. None if every network is a run group of
            its own, or if the cell was written before run groups were recorded.
        coverage: coverage of 90 % intervals; None if there are no intervals, or if it was not recorded.
        label: name of the zoo in a table; None in cells of older versions.
        shown: ``(n,)`` values of each column that ``zoo.show`` names, by name; empty without such columns.
        map: ``(n, 2)`` positions of the networks on a t-SNE map of their embeddings, each axis from 0 to 1;
            NaN for networks that the map does not show. None without columns to show on it.
        failed: the reason why there are no scores, or None.
    """

    __test__ = False  # otherwise pytest collects this class

    digest: str
    scores: Scores | None = None
    ids: np.ndarray = EMPTY
    true: np.ndarray = EMPTY
    predicted: np.ndarray = EMPTY
    group: np.ndarray | None = None
    coverage: float | None = None
    label: str | None = None
    shown: Mapping[str, np.ndarray] = field(factory=dict)
    map: np.ndarray | None = None
    failed: str | None = None


@frozen(kw_only=True, eq=False)
class Outcome:
    """The result of a cell.

    Args:
        seed: seed of the run.
        failed: the reason why the cell failed, or None. A failed cell has only its seed, source and date.
        tests: the test on the zoo of the cell first, then the tests on the targets.
        size: trainable weights.
        epochs: epochs that were begun; 0 for a method without epochs.
        planned: the configured number of epochs, ``train.epochs``.
        passes: passes over the training networks; a cut epoch counts in part.
        best_epoch: the epoch whose model was tested; 0 without epochs.
        stopped_by: ``budget`` or ``patience``, if that ended the training.
        train_seconds: seconds of training, validation included, or of fitting a head.
        cpu_seconds: CPU seconds of the same; None in cells of older versions.
        step_seconds: seconds of one step; None without steps.
        seconds_to_best: seconds of training until the best epoch was scored.
        total_seconds: seconds of the run: reading, training and testing.
        peak_memory: largest resident set of the process of the cell, in bytes.
        source: the distributions that computed the cell, by name; None in a file that does not record them.
        libraries: the versions of sneframe, Python, libraries and plugins, by name.
        baseline: scores of the training mean as a prediction for the test networks of the cell's zoo.
        machine: the machine in general words, with the number of threads.
        finished: date and time, ISO 8601; None in cells that were written before the date was recorded.
    """

    seed: int
    failed: str | None = None
    source: Mapping[str, Made] | None = None
    libraries: Mapping[str, str] = field(factory=dict)
    baseline: Scores | None = None
    machine: str = ""
    finished: str | None = None
    tests: tuple[Test, ...] = ()
    size: int = 0
    epochs: int = 0
    planned: int = 0
    passes: float = 0.0
    best_epoch: int = 0
    stopped_by: str | None = None
    train_seconds: float = 0.0
    cpu_seconds: float | None = None
    step_seconds: float | None = None
    seconds_to_best: float | None = None
    total_seconds: float = 0.0
    peak_memory: int = 0

    def test(self, digest: str) -> Test:
        """Return the test on the zoo that has this digest."""
        if self.failed is not None:
            return Test(digest=digest, failed=self.failed)
        return next(test for test in self.tests if test.digest == digest)


@frozen(kw_only=True)
class _Head:
    """The part of a cell's file that also a failed cell has. Old files have no ``source``."""

    format: str
    version: int
    seed: int
    failed: str | None
    source: Mapping[str, Made] | None = None
    finished: str | None = None


@frozen(kw_only=True)
class _Machine:
    """The part of a cell's file that describes the machine, and how its memory let networks be shuffled."""

    system: str
    processor: str
    cores: int
    device: str = "cpu"
    shuffle: str = "all"


@frozen(kw_only=True)
class _WrittenTest:
    """A test as it is written in the file. A failed test has neither scores nor columns."""

    zoo: str
    failed: str | None
    scores: Scores | None = None
    ids: Any = None
    true: Any = None
    predicted: Any = None
    group: Any = None
    coverage: float | None = None
    label: str | None = None
    shown: Mapping[str, tuple[Any, ...]] = field(factory=dict)
    map: Any = None


@frozen(kw_only=True)
class _Finished(_Head):
    """The file of a cell that did not fail; see :class:`Outcome`."""

    tests: tuple[_WrittenTest, ...]
    size: int
    epochs: int
    planned: int
    passes: float
    best_epoch: int
    stopped_by: str | None
    seconds: Seconds
    peak_memory: int
    versions: Mapping[str, str] = field(factory=dict)
    baseline: Scores | None = None
    machine: _Machine | None = None
    threads: int | None = None


def read_outcome(path: Path) -> Outcome:
    """Read the result of a cell from a file that :func:`sneframe.bench.cell.write` wrote.

    Raises:
        RunError: the file is damaged, or its version is newer.
    """
    data = parse_json(path, read_text(path))
    head = structured(path, data, _Head)
    if head.format != FORMAT or head.version != VERSION:
        fault(path, f"not a {FORMAT} of version {VERSION}; remove the file to run the cell again")
    if head.failed is not None:
        return Outcome(seed=head.seed, failed=head.failed, source=head.source, finished=head.finished)
    found = structured(path, data, _Finished)
    return Outcome(
        seed=found.seed,
        tests=tuple(_test(path, f"tests.{number}", each) for number, each in enumerate(found.tests)),
        size=found.size,
        epochs=found.epochs,
        planned=found.planned,
        passes=found.passes,
        best_epoch=found.best_epoch,
        stopped_by=found.stopped_by,
        train_seconds=found.seconds.train,
        cpu_seconds=found.seconds.cpu,
        step_seconds=found.seconds.step,
        seconds_to_best=found.seconds.to_best,
        total_seconds=found.seconds.total,
        peak_memory=found.peak_memory,
        source=found.source,
        libraries=found.versions,
        baseline=found.baseline,
        machine=_machine(found),
        finished=found.finished,
    )


def described(
    digest: str,
    label: str,
    scores: Scores,
    ids: Sequence[int],
    true: Sequence[float] | Sequence[str],
    predicted: Sequence[float] | Sequence[str],
    group: np.ndarray,
) -> dict[str, Any]:
    """Return a test as plain data for the file of a cell.

    Scores have full precision, and values have single precision. Run groups are included if a run group has
    several networks.
    """
    _, numbers, times = np.unique(group, return_inverse=True, return_counts=True)
    return {
        "zoo": digest,
        "label": label,
        "scores": attrs.asdict(scores),
        "ids": [int(number) for number in ids],
        "true": _rounded(true),
        "predicted": _rounded(predicted),
        **({"group": numbers.tolist()} if times.max(initial=0) > 1 else {}),
        "failed": None,
    }


def _test(path: Path, place: str, written: _WrittenTest) -> Test:
    if written.failed is not None:
        return Test(digest=written.zoo, label=written.label, failed=written.failed)
    if (scores := written.scores) is None:
        fault(path, f"{place}.scores is missing")
    kind = np.float64 if scores.accuracy is None else np.str_

    def column(name: str, dtype: Any, values: Any, *width: int) -> np.ndarray:
        what = "pairs of numbers" if width else "texts" if dtype is np.str_ else "numbers"
        wanted = f"{place}.{name}: must be a list of {scores.n} {what}"
        try:
            values = np.array(values, dtype)
        except (TypeError, ValueError, OverflowError) as error:
            fault(path, wanted, error)
        if values.shape != (scores.n, *width):
            fault(path, wanted)
        return values

    def own(name: str, dtype: Any) -> np.ndarray:
        return column(name, dtype, getattr(written, name))

    return Test(
        digest=written.zoo,
        scores=scores,
        ids=own("ids", np.int64),
        true=own("true", kind),
        predicted=own("predicted", kind),
        group=None if written.group is None else own("group", np.int64),
        coverage=written.coverage,
        label=written.label,
        shown={
            name: typed_values(path, f"{place}.shown.{name}", values, scores.n)
            for name, values in written.shown.items()
        },
        map=None if written.map is None else column("map", np.float64, written.map, 2),
    )


def _machine(found: _Finished) -> str:
    """Return the machine of a cell in a few words, or an empty text if the cell does not record it."""
    if (machine := found.machine) is None:
        return ""
    threads = "" if found.threads is None else f", {counted(found.threads, 'thread')}"
    shuffled = "" if machine.shuffle == "all" else ", networks shuffled in blocks"
    cores = counted(machine.cores, "core")
    return f"{machine.system} {machine.processor}, {cores}, {machine.device}{threads}{shuffled}"


def _rounded(values: Sequence[float] | Sequence[str]) -> list[float] | list[str]:
    """Return numbers with as many digits as float32 needs. Labels are returned unchanged."""
    if values and isinstance(values[0], str):
        return [str(value) for value in values]
    return [float(str(value)) for value in np.asarray(values, np.float32)]
