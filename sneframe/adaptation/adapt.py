"""Adapt a finished run to a new zoo with a few labelled networks, and write the result as a new run folder.

The encoder stays as it is. A few adjustments are compared by cross-validation over the labelled networks
alone; see :mod:`sneframe.adaptation.choice`. All other networks of the zoo are test networks, which are
scored once, before and after.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import attrs
import numpy as np
from accelerate import Accelerator
from attrs import evolve, frozen
from torch import Tensor

from sneframe import devices
from sneframe.adaptation.adjustments import Fitted, Labelled, adjustments_for, raw_outputs
from sneframe.adaptation.choice import Validated, choose
from sneframe.adaptation.draw import FEWEST, LabelledSplit, draw
from sneframe.adaptation.folder import Adapted, write_folder
from sneframe.config.schema import RunConfig
from sneframe.errors import ConfigError, PartError, RunError, ZooError, counted
from sneframe.metrics import Scores, score
from sneframe.model import Model
from sneframe.progress import Reporter
from sneframe.run_folder import environment
from sneframe.run_folder.adapted import Adaptation, LabelledNetwork, Parent, model_hash, read_adaptation
from sneframe.run_folder.checkpoint import config_of, load_model
from sneframe.run_folder.environment import Environment
from sneframe.run_folder.json_files import CONVERTER, read_json
from sneframe.run_folder.measured import Baseline, Metrics, PropertyScores, Seconds
from sneframe.run_folder.predictions import CATEGORY
from sneframe.run_folder.training_networks import read_weight_hashes
from sneframe.tasks import Regression, Tasks
from sneframe.train import evaluate
from sneframe.train.data import Data, Split, with_properties
from sneframe.train.run import Result
from sneframe.zoo import Zoo
from sneframe.zoo.column import Column
from sneframe.zoo.staging import check_place


@frozen(kw_only=True, eq=False)
class _Run:
    """The run that is adapted.

    Args:
        folder: its folder.
        model: its model.
        tasks: its tasks, all of numbers.
        config: its configuration.
        had: the weight hashes of the networks that its training had.
    """

    folder: Path
    model: Model
    tasks: Tasks
    config: RunConfig
    had: frozenset[str]


def adapt(
    run: str | Path,
    zoo: str | Path,
    *,
    networks: int = 10,
    where: str | None = None,
    labelled: str | None = None,
    seed: int = 0,
    device: str | None = None,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
    report: bool = True,
) -> Result:
    """Adapt a finished run to a zoo with a few labelled networks, and write a new run folder.

    Args:
        run: the folder of the run.
        zoo: the folder of the zoo.
        networks: how many labelled networks to draw, each from a run group of its own; at least 3.
        where: an expression that selects networks of the zoo; by default ``zoo.where`` of the run.
        labelled: an expression that names the networks to adapt to. Then nothing is drawn, and ``networks``
            is not used.
        seed: seed of the draw.
        device: ``auto``, ``cpu`` or ``cuda``; by default that of the run.
        out: folder to write; by default the next free ``runs/RECIPE-adapted-NNN``.
        reporter: prints what is done; by default nothing is printed.
        report: whether to write ``report.html``.

    Raises:
        RunError: the run is not finished, was itself adapted, predicts a category, or does not say which
            networks its training had; or ``out`` exists.
        ZooError: the zoo lacks a property of the run, has values that the run cannot predict, or has too few
            networks that the training did not have.
        ConfigError: ``networks`` is less than 3.
        PartError: the method of the run cannot take the architectures of the zoo, or an embedding is not
            finite.
    """
    started = time.perf_counter()
    reporter = reporter or Reporter()
    if networks < FEWEST:
        raise ConfigError(f"a run is adapted to at least {FEWEST} labelled networks, but got {networks}")
    parent = _read_run(Path(run), device)
    target = _target(out, parent.config)
    where = parent.config.zoo.where if where is None else where
    selected, columns = _read_zoo(parent, Path(zoo), where, reporter)
    drawn = draw(selected, parent.had, networks=networks, labelled=labelled, seed=seed)
    data = _data(selected, columns, drawn)
    accelerator = devices.prepare(parent.config.device, parent.config.precision)
    reporter.say(
        f"{parent.folder} to {data.zoo.name}: {len(data.split.train)} labelled networks, "
        f"{len(data.split.test)} test networks, {accelerator.device}"
    )
    data = data.to(accelerator.device)
    embedding = _embedded(parent, data, accelerator)
    known = Labelled(
        embedding=embedding[data.split.train],
        truth=_truth(parent.tasks, data, data.split.train),
        group=data.zoo.group[data.split.train],
    )
    clock = time.perf_counter()
    head, groups = parent.model.head, len(np.unique(known.group))
    outcome = choose(adjustments_for(groups), head, parent.tasks, known)
    fitted = outcome.chosen.fit(head, parent.tasks, known)
    seconds = time.perf_counter() - clock
    test = embedding[data.split.test]
    scores, before = _scores(fitted, Fitted(head=head, tasks=parent.tasks), data, outcome, test)
    predicted = {"val": outcome.predicted, "test": fitted.predict(test)}
    value = raw_outputs(fitted.head, test)
    model = Model(parent.model.encoder, fitted.head).to(accelerator.device)
    main = parent.tasks.main.name
    metrics = Metrics(
        property=main,
        **attrs.asdict(scores.pop(main), recurse=False),
        also=scores,
        architectures=evaluate.mix(data),
        invariance=evaluate.invariance(
            model,
            data,
            data.split.test,
            value,
            accelerator,
            seed=parent.config.seed,
            batch_size=parent.config.train.batch_size,
        ),
        size=sum(parameter.numel() for parameter in model.parameters()),
        epochs=0,
        steps=0,
        passes=0.0,
        best_epoch=0,
        stopped_by=None,
        seconds=Seconds(train=seconds, step=None, to_best=None, total=time.perf_counter() - started),
        before=before,
    )
    adapted = Adapted(
        model=model,
        tasks=fitted.tasks,
        config=parent.config,
        data=data,
        had=parent.had,
        embedding=embedding,
        predicted=predicted,
        environment=environment.describe(data.zoo, parent.config, accelerator),
        metrics=metrics,
        adaptation=_adaptation(parent, data, drawn, outcome, where=where, labelled=labelled, seed=seed),
    )
    write_folder(target, adapted)
    if report:
        from sneframe.report import write_report  # matplotlib and t-SNE take a second to import

        write_report(target)
    return Result(folder=target, metrics=CONVERTER.unstructure(metrics))


def _read_run(folder: Path, device: str | None) -> _Run:
    """Read the run that is to be adapted.

    Raises:
        RunError: the run cannot be adapted.
    """
    if (earlier := read_adaptation(folder)) is not None:
        raise RunError(
            f"{folder}: this run was adapted already; adapt the run that it came from: {earlier.parent.path}"
        )
    read_json(folder / "metrics.json", Metrics)  # raises an error if the run is not finished
    model, tasks, header = load_model(folder / "best.safetensors")
    for task in tasks.each:
        if task.kind == CATEGORY:
            raise RunError(
                f"{folder}: only predicted numbers can be adapted, but the run predicts the category "
                f"{task.name!r}"
            )
    config = config_of(header)
    return _Run(
        folder=folder,
        model=model,
        tasks=tasks,
        config=config if device is None else evolve(config, device=device),
        had=read_weight_hashes(folder / "training.json"),
    )


def _target(out: str | Path | None, config: RunConfig) -> Path:
    """Return the path of the new run folder, where nothing is yet.

    Raises:
        RunError: something is there.
        ZooError: the path lies inside a zoo.
    """
    if out is None:
        stem = f"{(config.recipe or 'run').replace('/', '-')}-adapted"
        names = (f"{stem}-{number:03d}" for number in itertools.count(1))
        path = next(path for name in names if not (path := Path("runs", name)).exists())
    elif (path := Path(out)).exists():
        raise RunError(f"{path} exists; name another folder with --out")
    check_place(path)
    return path


def _read_zoo(
    parent: _Run, path: Path, where: str | None, reporter: Reporter
) -> tuple[Zoo, dict[str, Column]]:
    """Return the networks that have all properties of the run, and the columns of these properties.

    Raises:
        ZooError: the zoo or a property does not exist, no network has all properties, or a value is not one
            that the run can predict.
    """
    main, *also = (task.name for task in parent.tasks.each)
    config = evolve(parent.config.zoo, path=str(path), property=main, also=tuple(also), where=where)
    selected, columns = with_properties(config, reporter)
    for task in parent.tasks.each:
        column = columns[task.name]
        if column.kind not in ("float", "int"):
            raise ZooError(
                f"{path}: the run predicts {task.name!r} as a number, but here it holds {column.kind}s"
            )
        low, high = float(column.values.min()), float(column.values.max())
        limits = task.within if isinstance(task, Regression) else (0.0, 1.0)
        if limits is not None and (low < limits[0] or high > limits[1]):
            raise ZooError(
                f"{path}: the run predicts {task.name!r} in [{limits[0]:g}, {limits[1]:g}], but here the "
                f"values are in [{low:g}, {high:g}]"
            )
    return selected, columns


def _data(selected: Zoo, columns: dict[str, Column], drawn: LabelledSplit) -> Data:
    """Read the labelled and test networks. The labelled ones are both training and validation networks."""
    rows = np.sort(np.concatenate([drawn.labelled, drawn.test]))
    labelled, test = (np.searchsorted(rows, positions) for positions in (drawn.labelled, drawn.test))
    return Data(
        zoo=(used := selected.select(rows)),
        columns={name: column.take(rows) for name, column in columns.items()},
        batch=used.load(),
        split=Split(train=labelled, val=labelled, test=test),
    )


def _truth(tasks: Tasks, data: Data, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Return the true values ``(n,)`` of the networks at ``positions``, by the name of the property."""
    return {task.name: task.truth(data.columns[task.name].take(positions)) for task in tasks.each}


def _embedded(parent: _Run, data: Data, accelerator: Accelerator) -> Tensor:
    """Return the embeddings ``(N, E)`` of all networks, on the host.

    Raises:
        PartError: the method cannot take a network, or an embedding is not finite.
    """
    encoder, everything = parent.model.encoder.to(accelerator.device), np.arange(len(data.zoo))
    batch_size = parent.config.train.batch_size
    embedding = evaluate.embed(encoder, data, everything, accelerator, batch_size=batch_size)
    if count := int((~embedding.isfinite().all(1)).sum()):
        raise PartError(f"{data.zoo.path}: the embeddings of {counted(count, 'network')} are not finite")
    return embedding


def _scores(
    after: Fitted, before: Fitted, data: Data, outcome: Validated, test: Tensor
) -> tuple[dict[str, PropertyScores], dict[str, Scores]]:
    """Return the scores of each property after the adaptation, and those on the test networks before.

    The scores under ``val`` are those of the cross-validation. The baseline predicts the mean of the labelled
    networks.

    Args:
        after: head and tasks after the adaptation.
        before: head and tasks of the run.
        data: the networks.
        outcome: the outcome of the cross-validation.
        test: embeddings ``(n, E)`` of the test networks.
    """
    known, truth = (_truth(before.tasks, data, rows) for rows in (data.split.train, data.split.test))
    scores = {
        task.name: PropertyScores(
            task=task.kind,
            val=score(known[task.name], outcome.predicted[task.name]),
            test=task.score(truth[task.name], own),
            baseline=Baseline(
                val=_score_mean(known[task.name], known[task.name]),
                test=_score_mean(truth[task.name], known[task.name]),
            ),
            by_architecture=evaluate.by_architecture(task, data, own),
        )
        for task, own in after.tasks.split(raw_outputs(after.head, test))
    }
    old = before.tasks.split(raw_outputs(before.head, test))
    return scores, {task.name: task.score(truth[task.name], own) for task, own in old}


def _score_mean(true: np.ndarray, known: np.ndarray) -> Scores:
    return score(true, np.full(len(true), known.mean()))


def _adaptation(
    parent: _Run,
    data: Data,
    drawn: LabelledSplit,
    outcome: Validated,
    *,
    where: str | None,
    labelled: str | None,
    seed: int,
) -> Adaptation:
    """Return the content of ``adapted.json``."""
    sources, group, ids = data.zoo.sources, data.zoo.group.tolist(), data.zoo.ids.tolist()
    recorded = read_json(parent.folder / "environment.json", Environment)
    return Adaptation(
        parent=Parent(
            path=str(parent.folder.resolve()), model=model_hash(parent.folder), zoo=recorded.zoo.digest
        ),
        networks=tuple(
            LabelledNetwork(id=ids[row], source=sources[row], group=str(group[row]))
            for row in data.split.train.tolist()
        ),
        where=where,
        labelled=labelled,
        seed=seed,
        left_out=drawn.left_out,
        folds=outcome.folds,
        adjustments=outcome.tried,
        chosen=outcome.chosen.name,
    )
