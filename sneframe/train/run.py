"""Do one run: load the zoo, train and score a model, and write the report. Read this module first.

The command line and notebooks both call :func:`run`. The same code runs on a CPU, on a GPU and in several
processes. Accelerate prepares the model and the optimiser for this, and does nothing else. Batches and random
permutations of neurons are pure functions of seed, epoch, step and network. A run therefore gives the same
numbers if it is killed and resumed, or if several processes work on it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import torch
from accelerate import Accelerator
from attrs import evolve, frozen

from sneframe import devices
from sneframe.batch import Batch
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe.errors import Interrupted, RunError
from sneframe.model import build_augmentations, build_invariance, build_model, head_class
from sneframe.plugins import Blamed
from sneframe.predict.doubt import Seen, ranges_of
from sneframe.progress import Reporter
from sneframe.run_folder import checkpoint, environment, tensor_files
from sneframe.run_folder.create import how_to_continue, open_folder, with_recorded_sampler
from sneframe.run_folder.json_files import CONVERTER, write_json
from sneframe.run_folder.measured import Metrics, Seconds
from sneframe.run_folder.predictions import write_predictions
from sneframe.run_folder.training_networks import Range, TrainingNetworks, read_magnitudes, weight_hashes
from sneframe.tasks import Tasks, make_task
from sneframe.train import evaluate
from sneframe.train.calibrate import calibrate
from sneframe.train.clock import Clock
from sneframe.train.data import Data, load_data
from sneframe.train.loop import Training, fit
from sneframe.train.objective import Objective
from sneframe.train.sampler import settled, steps_per_epoch


@frozen(kw_only=True)
class Result:
    """The result of a run: its folder, and the content of ``metrics.json``."""

    folder: Path
    metrics: dict[str, Any]

    @property
    def report(self) -> Path:
        """Path of the report, an HTML file. ``run(report=False)`` does not write this file."""
        return self.folder / "report.html"


def run(
    config: RunConfig,
    out: Path | str | None = None,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
    report: bool = True,
) -> Result:
    """Train and score a model, and write the run folder with the report.

    Args:
        config: configuration of the run, with all settings that the numbers depend on.
        out: folder to write to; by default the next free ``runs/RECIPE-NNN``.
        resume: whether to continue from the last state in ``out``. Then ``out`` must be given.
        reporter: prints progress; by default nothing is printed.
        report: whether to write ``report.html``. If False, nothing is drawn and matplotlib is not imported;
            ``sneframe report FOLDER`` can draw the report later.

    Raises:
        SneframeError: the run failed. The message is one line, and no half-written file is left.
        Interrupted: the user pressed Ctrl-C. The error says how to continue from the last state on disk.
        KeyboardInterrupt: the user pressed Ctrl-C before the folder was created.
    """
    if resume and out is None:
        raise RunError("resume=True needs the argument 'out': the folder of the run to resume")
    started = time.perf_counter()
    config = _with_whole_path(config)
    if resume and out is not None:
        config = with_recorded_sampler(Path(out), config)
    accelerator = devices.prepare(config.device, config.precision)
    reporter = reporter if reporter is not None and accelerator.is_main_process else Reporter()
    if warning := devices.missing_processes(accelerator):
        reporter.say(warning)

    with accelerator.main_process_first():  # because the main process may have to build the demo zoo
        data = load_data(config.zoo, reporter)
    # Processes may find different amounts of free memory, but must shuffle in the same way.
    train = devices.from_main_process(accelerator, lambda: _settled(config, data))
    config = evolve(config, train=train)
    tasks = _tasks(data, config, fitted=not head_class(config).trained)
    torch.manual_seed(config.seed)
    model = build_model(config, data.training_architectures(), tasks.width)
    with Blamed(model.encoder.normalise):
        model.encoder.normalise.fit(data.training_blocks())
    objective = Objective(
        model,
        tasks,
        build_invariance(config, model),
        augmentations=build_augmentations(config, model),
        task_weight=config.train.task_weight,
        processes=accelerator.num_processes,
        supervised=model.head.trained,
    )

    described = environment.describe(data.zoo, config, accelerator)
    folder = devices.from_main_process(
        accelerator, lambda: open_folder(out, config, described, resume=resume)
    )
    if accelerator.is_main_process:
        write_json(folder / "training.json", _training(data))
    try:
        reporter.say(
            f"{config.recipe or 'run'} on {data.zoo.name}: {len(data.split.train)} / {len(data.split.val)} / "
            f"{len(data.split.test)} networks, "
            f"{sum(p.numel() for p in model.parameters()):,} trainable weights, {accelerator.device}"
        )
        if (
            train.shuffle == "blocks"
            and train.epochs
            and any(p.requires_grad for p in objective.parameters())
        ):
            reporter.say(
                f"networks are shuffled in blocks of {train.block}, within buffers of {train.buffer}; "
                f"train.shuffle=all gives other numbers, and may be slower"
            )
        for line, count in evaluate.left_out(model, data).items():
            reporter.say(f"{count} networks are not read completely; {line}")
        data = data.to(accelerator.device)
        objective.to(accelerator.device)
        training = fit(objective, data, config, accelerator, folder, reporter, resume=resume)
        metrics = finish(objective, data, config, accelerator, folder, training, started=started)
        if accelerator.is_main_process:
            write_json(folder / "metrics.json", metrics)
            if report:
                from sneframe.report import write_report  # matplotlib and t-SNE take a second to import

                write_report(folder)
        accelerator.wait_for_everyone()
    except KeyboardInterrupt as error:  # the run can be resumed, wherever Ctrl-C stopped it
        raise Interrupted(f"the run is not finished; {how_to_continue(folder)}") from error
    return Result(folder=folder, metrics=CONVERTER.unstructure(metrics))


def _with_whole_path(config: RunConfig) -> RunConfig:
    """Return the configuration with the absolute path of the zoo, which works from any directory."""
    if config.zoo.path is None:
        return config
    return evolve(config, zoo=evolve(config.zoo, path=str(Path(config.zoo.path).resolve())))


def _settled(config: RunConfig, data: Data) -> TrainConfig:
    sizes = data.sizes()[data.split.train]
    return settled(config.train, sizes, memory=data.memory, mapped=data.ahead is not None)


def _training(data: Data) -> TrainingNetworks:
    """Return the facts about the training networks with which ``predict`` compares new networks."""
    return TrainingNetworks(
        networks=len(data.split.train),
        magnitudes=finite_ranges(data.training_blocks()),
        weight_hashes=tuple(
            sorted(
                found
                for positions in (data.split.train, data.split.val)
                for _, found in weight_hashes(data.batch.blocks(positions))
            )
        ),
    )


def finite_ranges(batches: Iterable[Batch]) -> dict[str, Range]:
    """Return the range of the root mean square of each type of parameter, without infinite ranges."""
    return {
        kind: Range(least=least, most=most)
        for kind, (least, most) in ranges_of(batches).items()
        if math.isfinite(least) and math.isfinite(most)
    }


def _tasks(data: Data, config: RunConfig, *, fitted: bool) -> Tasks:
    """Return a task for each property. ``zoo.task`` sets the kind of the main property only.

    As an exception, ``zoo.task = "category"`` also applies to those other properties that are text.
    """
    made = []
    for number, name in enumerate(data.columns):
        training = data.training(name)
        named = number == 0 or (config.zoo.task == "category" and training.kind == "string")
        made.append(make_task(name, training, kind=config.zoo.task if named else "auto", fitted=fitted))
    return Tasks(each=made)


def finish(
    objective: Objective,
    data: Data,
    config: RunConfig,
    accelerator: Accelerator,
    folder: Path,
    training: Training,
    *,
    started: float,
) -> Metrics:
    """Restore the best model, write its predictions and embeddings, and return the metrics of the run.

    Only this function scores the test networks, so a run scores them once. ``started`` is the value of
    ``time.perf_counter()`` when the run began.
    """
    model, tasks, best = objective.model, objective.tasks, folder / "best.safetensors"
    batch_size = config.train.batch_size
    if training.epoch:
        tensors = tensor_files.read_tensors(best)[0]
        checkpoint.restore_model(model, tensors, best)
        if objective.invariance is not None:
            checkpoint.restore_invariance(objective.invariance, tensors, best)
    if not model.head.trained:
        clock = Clock(None, training.seconds, training.cpu_seconds)
        clock.start()
        embedding = evaluate.embed(model.encoder, data, data.split.train, accelerator, batch_size=batch_size)
        targets = tasks.targets({name: data.training(name) for name in data.columns})
        with Blamed(model.head):
            model.head.finish(embedding, torch.from_numpy(targets))
        training.seconds, training.cpu_seconds = clock.seconds, clock.cpu_seconds
    accelerator.wait_for_everyone()  # all have read the file that is now replaced
    if accelerator.is_main_process and not (training.epoch and model.head.trained):
        loss = objective.invariance
        checkpoint.save_model(best, model, tasks, config, invariance=loss, epoch=training.best_epoch)
    predicted = {
        part: evaluate.predict(model, data, getattr(data.split, part), accelerator, batch_size=batch_size)
        for part in ("val", "test")
    }
    shown = evaluate.some(data.split.train, config.seed)
    training_embedding = evaluate.embed(model.encoder, data, shown, accelerator, batch_size=batch_size)
    values, test = {part: each.value for part, each in predicted.items()}, predicted["test"]
    # This is what predict will read from the folder.
    magnitudes = read_magnitudes(folder / "training.json")
    seen = Seen(architectures=data.training_architectures(), magnitudes=magnitudes)
    calibrated = calibrate(tasks, data, seen, predicted, training_embedding)
    found = {
        name: evolve(scores, intervals=calibrated.coverage[name])
        for name, scores in evaluate.property_scores(tasks, data, values).items()
    }
    if accelerator.is_main_process:
        kinds = {task.name: task.kind for task in tasks.each}
        rows = evaluate.prediction_rows(tasks, data, values)
        write_predictions(folder / "predictions.csv", kinds, rows)
        write_json(folder / "calibration.json", calibrated.calibration, indent=None)
        if data.shown:
            write_json(folder / "shown.json", evaluate.shown(data), indent=None)
        kept = {"ids": torch.from_numpy(data.batch.ids[data.split.test]), "values": test.embedding}
        kept |= {"train_ids": torch.from_numpy(data.batch.ids[shown]), "train_values": training_embedding}
        tensor_files.write_tensors(folder / "embeddings.safetensors", kept, {})
    invariance = evaluate.invariance(
        model,
        data,
        data.split.test,
        test.value,
        accelerator,
        seed=config.seed,
        batch_size=batch_size,
    )
    return Metrics(
        property=tasks.main.name,
        **attrs.asdict(found.pop(tasks.main.name), recurse=False),
        also=found,
        architectures=evaluate.mix(data),
        left_out=evaluate.left_out(model, data),
        invariance=invariance,
        size=sum(parameter.numel() for parameter in model.parameters()),
        epochs=training.epoch,
        steps=training.steps,
        passes=training.steps / steps_per_epoch(len(data.split.train), batch_size),
        best_epoch=training.best_epoch,
        stopped_by=training.stopped_by,
        seconds=Seconds(
            train=training.seconds,
            cpu=training.cpu_seconds,
            step=training.step_seconds / training.steps if training.steps else None,
            to_best=training.seconds_to_best,
            total=time.perf_counter() - started,
        ),
    )
