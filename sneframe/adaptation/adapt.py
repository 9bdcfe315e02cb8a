"""Adapt a finished run to a new zoo with a few labelled networks, and write the result as a new run folder.

A few adjustments are compared by cross-validation over the labelled networks alone; see
:mod:`sneframe.adaptation.choice`. The networks of all other run groups are test networks. They are scored
twice: with the run as it was, and after the adaptation.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import attrs
import numpy as np
from accelerate import Accelerator
from attrs import evolve

from sneframe import devices
from sneframe.adaptation.adjustments import Encoded, Fitted, embedded
from sneframe.adaptation.choice import Validated, choose
from sneframe.adaptation.draw import FEWEST, draw, remaining
from sneframe.adaptation.folder import Adapted, write_folder
from sneframe.adaptation.parent import ParentRun, read_networks, read_parent
from sneframe.adaptation.refit import adjustments_for
from sneframe.config.schema import RunConfig
from sneframe.errors import ConfigError, PartError, RunError, counted
from sneframe.metrics import Scores, score
from sneframe.model import Model
from sneframe.progress import Reporter
from sneframe.run_folder import environment
from sneframe.run_folder.adapted import Adaptation, LabelledNetwork
from sneframe.run_folder.json_files import CONVERTER
from sneframe.run_folder.measured import Baseline, Metrics, PropertyScores, Seconds
from sneframe.train import evaluate
from sneframe.train.clock import Clock
from sneframe.train.data import Data, Split, memory_of
from sneframe.train.run import Result
from sneframe.zoo.staging import check_place


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
    parent = read_parent(Path(run), device)
    target = _target(out, parent.config)
    where = parent.config.zoo.where if where is None else where
    selected, columns = read_networks(parent, Path(zoo), where, reporter)
    memory = memory_of(parent.config.zoo)
    kept = remaining(selected, parent.had, networks=networks, labelled=labelled, memory=memory)
    used, none = selected.select(kept), np.arange(0)
    accelerator = devices.prepare(parent.config.device, parent.config.precision)
    parent.model.encoder.to(accelerator.device)
    data = Data(
        zoo=used,
        columns={name: column.take(np.flatnonzero(kept)) for name, column in columns.items()},
        batch=used.load(memory=memory),
        split=Split(train=none, val=none, test=none),
    ).to(accelerator.device)
    everything = _encoded(parent, data)
    before = Fitted(head=parent.model.head, tasks=parent.tasks)
    predicted = before.predict(everything)[parent.tasks.main.name]
    mine, others = draw(used, predicted, networks=networks, labelled=labelled, seed=seed)
    data = evolve(data, split=Split(train=mine, val=mine, test=others))
    reporter.say(
        f"{parent.folder} to {used.name}: {counted(len(mine), 'labelled network')}, "
        f"{counted(len(others), 'test network')}, {accelerator.device}"
    )
    for line, count in evaluate.left_out(parent.model, data).items():
        reporter.say(f"{count} networks are not read completely; {line}")
    clock = Clock(None)
    clock.start()
    known, test = everything.take(mine), everything.take(others)
    groups = len(np.unique(known.group))
    outcome = choose(adjustments_for(parent.model, groups), before.head, before.tasks, known)
    after = outcome.chosen.fit(before.head, before.tasks, known)
    clock.stop()
    adaptation = Adaptation(
        parent=parent.recorded,
        networks=_named(data),
        where=where,
        labelled=labelled,
        seed=seed,
        left_out=int((~kept).sum()),
        folds=outcome.folds,
        adjustments=outcome.tried,
        chosen=outcome.chosen.name,
    )
    adapted = Adapted(
        model=Model(after.encoder or parent.model.encoder, after.head),
        tasks=after.tasks,
        config=parent.config,
        data=data,
        had=parent.had,
        embedding=everything.embedding if after.encoder is None else embedded(after.encoder, data.batch),
        predicted={"val": outcome.predicted, "test": after.predict(test)},
        environment=environment.describe(used, parent.config, accelerator),
        adaptation=adaptation,
    )
    scores = _scores(before, after, outcome, data, known, test)
    metrics = _metrics(scores, adapted, after, test, accelerator, clock=clock, started=started)
    write_folder(target, adapted, metrics)
    if report:
        from sneframe.report import write_report  # matplotlib and t-SNE take a second to import

        write_report(target)
    return Result(folder=target, metrics=CONVERTER.unstructure(metrics))


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


def _encoded(parent: ParentRun, data: Data) -> Encoded:
    """Return all networks of the data with their embeddings.

    Raises:
        PartError: the method cannot take a network, or an embedding is not finite.
    """
    embedding = embedded(parent.model.encoder, data.batch)
    if count := int((~embedding.isfinite().all(1)).sum()):
        raise PartError(f"{data.zoo.path}: the embeddings of {counted(count, 'network')} are not finite")
    truth = {task.name: task.truth(data.columns[task.name]) for task in parent.tasks.each}
    return Encoded(embedding=embedding, truth=truth, group=data.zoo.group, batch=data.batch)


def _named(data: Data) -> tuple[LabelledNetwork, ...]:
    """Return the labelled networks as ``adapted.json`` records them."""
    sources, group, ids = data.zoo.sources, data.zoo.group.tolist(), data.zoo.ids.tolist()
    return tuple(
        LabelledNetwork(id=ids[row], source=sources[row], group=str(group[row]))
        for row in data.split.train.tolist()
    )


def _scores(
    before: Fitted, after: Fitted, outcome: Validated, data: Data, known: Encoded, test: Encoded
) -> dict[str, tuple[Scores, PropertyScores]]:
    """Return the scores of each property: those on the test networks before, and all scores after.

    The scores under ``val`` are those of the cross-validation. The baseline predicts the mean of the labelled
    networks.

    Args:
        before: head and tasks of the run.
        after: head and tasks after the adaptation.
        outcome: the outcome of the cross-validation.
        data: all networks.
        known: the labelled networks.
        test: the test networks.
    """
    old = {task.name: task.score(test.truth[task.name], own) for task, own in before.split(test)}
    return {
        task.name: (
            old[task.name],
            PropertyScores(
                task=task.kind,
                val=score(known.truth[task.name], outcome.predicted[task.name]),
                test=task.score(test.truth[task.name], own),
                baseline=Baseline(
                    val=_score_mean(known.truth[task.name], known.truth[task.name]),
                    test=_score_mean(test.truth[task.name], known.truth[task.name]),
                ),
                by_architecture=evaluate.by_architecture(task, data, own),
            ),
        )
        for task, own in after.split(test)
    }


def _score_mean(true: np.ndarray, known: np.ndarray) -> Scores:
    return score(true, np.full(len(true), known.mean()))


def _metrics(
    scores: dict[str, tuple[Scores, PropertyScores]],
    adapted: Adapted,
    after: Fitted,
    test: Encoded,
    accelerator: Accelerator,
    *,
    clock: Clock,
    started: float,
) -> Metrics:
    """Return the content of ``metrics.json``. The invariance error is that of the adapted model."""
    data, config = adapted.data, adapted.config
    value = after.outputs(test)
    invariance = evaluate.invariance(
        adapted.model.to(accelerator.device),
        data,
        data.split.test,
        value,
        accelerator,
        seed=config.seed,
        batch_size=config.train.batch_size,
    )
    (main, (_, own)), *others = scores.items()
    return Metrics(
        property=main,
        **attrs.asdict(own, recurse=False),
        also={name: each for name, (_, each) in others},
        architectures=evaluate.mix(data),
        left_out=evaluate.left_out(adapted.model, data),
        invariance=invariance,
        size=sum(parameter.numel() for parameter in adapted.model.parameters()),
        epochs=0,
        steps=0,
        passes=0.0,
        best_epoch=0,
        stopped_by=None,
        seconds=Seconds(
            train=clock.seconds,
            cpu=clock.cpu_seconds,
            step=None,
            to_best=None,
            total=time.perf_counter() - started,
        ),
        before={name: each for name, (each, _) in scores.items()},
    )
