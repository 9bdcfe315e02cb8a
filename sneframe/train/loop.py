"""Train an objective on batches of networks, and save the model with the best validation score."""

from __future__ import annotations

import math
import signal
import threading
from itertools import chain
from pathlib import Path
from types import FrameType, TracebackType

import attrs
import numpy as np
import torch
from accelerate import Accelerator
from attrs import define, frozen
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from sneframe.config.schema import RunConfig, TrainConfig
from sneframe.devices import sum_over_processes
from sneframe.errors import Interrupted, RunError
from sneframe.progress import Reporter
from sneframe.rng import Draw
from sneframe.run_folder import checkpoint, tensor_files
from sneframe.run_folder.create import how_to_continue
from sneframe.run_folder.history import Epoch, EpochScores, Losses, write_history
from sneframe.run_folder.json_files import CONVERTER, structured
from sneframe.train.clock import Clock
from sneframe.train.data import Data
from sneframe.train.objective import Objective
from sneframe.train.sampler import after, smallest_batch, step_seed, steps_per_epoch
from sneframe.train.validation import validate
from sneframe.train.weight_average import WeightAverage


@define(kw_only=True)
class Training:
    """The state of a training. A run resumes from this state and the tensors in ``last.safetensors``.

    Args:
        epoch: number of finished epochs.
        step: number of finished steps in the current epoch.
        best_epoch: number of the epoch with the best validation score so far, counted from 1. It is 0 before
            the first epoch ends.
        best: the best validation score so far. A lower score is better.
        seconds: seconds of training, over all sessions.
        step_seconds: the part of ``seconds`` that was spent on steps, not on scoring.
        cpu_seconds: CPU seconds of training of this process, over all sessions.
        stopped_by: ``budget`` or ``patience`` if one of them ended the training before its last step.
        history: records of the finished epochs.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best: float = math.inf
    seconds: float = 0.0
    step_seconds: float = 0.0
    cpu_seconds: float = 0.0
    stopped_by: str | None = None
    history: list[Epoch] = attrs.field(factory=list)

    @property
    def steps(self) -> int:
        """Number of steps in all finished epochs. The budget may have cut the last epoch short."""
        return self.history[-1].step if self.history else 0

    @property
    def seconds_to_best(self) -> float | None:
        """Seconds of training until the best epoch was scored, or None without epochs."""
        return self.history[self.best_epoch - 1].seconds if self.best_epoch else None


@frozen(kw_only=True, eq=False)
class Loop:
    """The values that stay the same during a training.

    Args:
        objective: the objective, whose state dict is saved.
        stepper: the objective, prepared by accelerate for this device and these processes.
        optimiser: the optimiser, prepared by accelerate.
        accelerator: accelerate's view of this process and the others.
        data: networks and properties. The weights are on the device if they fit there.
        targets: ``(N, T)`` float32 targets of all networks, on the device.
        config: configuration of the run.
        clock: counts the seconds of training.
        sums: ``(3,)`` loss, task loss and invariance loss of this process, summed over the epoch so far.
        average: the average of the weights, with which model and loss are validated and saved.
    """

    objective: Objective
    stepper: nn.Module
    optimiser: Optimizer
    accelerator: Accelerator
    data: Data
    targets: Tensor
    config: RunConfig
    clock: Clock
    sums: Tensor
    average: WeightAverage

    @property
    def steps(self) -> int:
        """Number of steps in an epoch."""
        return steps_per_epoch(len(self.data.split.train), self.config.train.batch_size)

    def mine(self, values: np.ndarray) -> np.ndarray:
        """Return the part of this process, given one value for each network of the batch of a step.

        Each of P processes takes every P-th network. If a loss uses only the first networks of the whole
        batch, each process therefore has the same fraction of them.
        """
        return values[self.accelerator.process_index :: self.accelerator.num_processes]


def fit(
    objective: Objective,
    data: Data,
    config: RunConfig,
    accelerator: Accelerator,
    folder: Path,
    reporter: Reporter,
    *,
    resume: bool,
) -> Training:
    """Train the objective, and write ``best.safetensors``, ``last.safetensors`` and ``history.jsonl``.

    ``best.safetensors`` is the model with the best validation score. If the objective has no trainable
    parameters, or ``train.epochs`` is 0, nothing is trained and nothing is written.

    Raises:
        RunError: a loss is not finite, a step has fewer networks than there are processes, or a budget is
            set for several processes, which would have to agree on when it is spent.
        Interrupted: the user pressed Ctrl-C. The state of the training is on disk.
    """
    trainable = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    if not trainable or not config.train.epochs:
        return Training()
    smallest = smallest_batch(len(data.split.train), config.train.batch_size)
    if smallest < accelerator.num_processes:
        raise RunError(
            f"each of the {accelerator.num_processes} processes needs a network in every step, but the "
            f"smallest step has only {smallest}: there are {len(data.split.train)} training networks, and "
            f"train.batch_size = {config.train.batch_size}"
        )
    if accelerator.num_processes > 1 and config.train.budget is not None:
        raise RunError(
            f"train.budget works with one process only, but there are {accelerator.num_processes}; "
            f"set train.epochs instead"
        )
    optimiser = AdamW(trainable, lr=config.train.lr, weight_decay=config.train.weight_decay, fused=True)
    sums = torch.zeros(3, device=accelerator.device)
    average = WeightAverage(objective, config.train.ema_decay)
    last = folder / "last.safetensors"
    training = _load(last, objective, optimiser, sums, average) if resume and last.exists() else Training()
    stepper, optimiser = accelerator.prepare(objective, optimiser)
    loop = Loop(
        objective=objective,
        stepper=stepper,
        optimiser=optimiser,
        accelerator=accelerator,
        data=data,
        targets=torch.from_numpy(objective.tasks.targets(data.columns)).float().to(accelerator.device),
        config=config,
        clock=(clock := Clock.of(config.train, training.seconds, training.cpu_seconds)),
        sums=sums,
        average=average,
    )
    # Several processes would have to agree on the step at which they stop. If there are several, Ctrl-C
    # therefore acts at once, and the state on disk is that of the last finished epoch.
    with (
        Interruption(enabled=accelerator.num_processes == 1) as interruption,
        reporter.bar("training") as advance,
    ):
        while training.epoch < config.train.epochs and training.stopped_by is None:
            clock.start()
            batches = data.epoch_batches(config.train, seed=config.seed, epoch=training.epoch)
            batches = after(batches, training.step)
            stepper.train()
            with data.announced([loop.mine(positions) for positions in some] for some in batches):
                for positions in chain.from_iterable(batches):
                    train_step(loop, positions, training.epoch * loop.steps + training.step)
                    training.step += 1
                    if interruption.requested:
                        _count_steps(loop, training)
                        training.seconds, training.cpu_seconds = clock.seconds, clock.cpu_seconds
                        _save(last, loop, training)
                        raise Interrupted(f"in epoch {training.epoch + 1}; {how_to_continue(folder)}")
                    if clock.fraction >= 1:  # the budget is spent, so the epoch ends here
                        break
            with average.applied():
                _finish_epoch(loop, training)
                if accelerator.is_main_process and training.best_epoch == training.epoch:
                    best = folder / "best.safetensors"
                    checkpoint.save_model(
                        best,
                        objective.model,
                        objective.tasks,
                        config,
                        invariance=objective.invariance,
                        epoch=training.epoch,
                    )
            if accelerator.is_main_process:
                write_history(folder / "history.jsonl", training.history)
                _save(last, loop, training)
            advance(training.epoch, config.train.epochs, _note(training.history[-1]))
            if interruption.requested:  # Ctrl-C came while the validation networks were scored
                break
    if interruption.requested:
        raise Interrupted(f"after epoch {training.epoch}; {how_to_continue(folder)}")
    accelerator.wait_for_everyone()
    return training


def train_step(loop: Loop, positions: np.ndarray, step: int) -> None:
    """Take one optimiser step on the networks at ``positions``.

    No value is read back from the device, because the host would then wait for the device.

    Args:
        loop: the values of the training.
        positions: ``(B,)`` positions of the whole batch of the step, over all processes.
        step: number of the step, counted from 0 over the whole training.
    """
    train, accelerator = loop.config.train, loop.accelerator
    mine = loop.mine(positions)
    torch.manual_seed(step_seed(loop.config.seed, step, accelerator.process_index))
    slots = loop.mine(np.arange(len(positions)))
    draw = Draw(seed=loop.config.seed, step=step, positions=slots, size=len(positions))
    own = torch.from_numpy(np.ascontiguousarray(mine)).to(loop.targets.device, non_blocking=True)
    target = loop.targets.index_select(0, own)
    progress = _progress(loop, step)
    for group in loop.optimiser.param_groups:
        group["lr"] = learning_rate(train, progress)
    loss, parts = loop.stepper(loop.data.select(mine), target, draw, progress)
    accelerator.backward(loss)
    if train.clip is not None:
        accelerator.clip_grad_norm_(loop.stepper.parameters(), train.clip)
    loop.optimiser.step()
    loop.optimiser.zero_grad()
    loop.average.update(step)
    loop.sums.add_(parts)


def learning_rate(train: TrainConfig, progress: float) -> float:
    """Return the learning rate when ``progress``, a fraction in [0, 1] of the training, is done.

    The one-cycle schedule rises linearly from a 25th of ``train.lr`` to ``train.lr`` during the warm-up.
    After the warm-up it falls to zero along half a cosine.
    """
    if train.schedule == "constant":
        return train.lr
    if progress < train.warmup:
        return train.lr * (1 + 24 * progress / train.warmup) / 25
    return train.lr * (1 + math.cos(math.pi * (progress - train.warmup) / max(1e-12, 1 - train.warmup))) / 2


class Interruption:
    """Records the first Ctrl-C, so that the training can stop between steps. A second Ctrl-C acts at once.

    Args:
        enabled: whether to handle Ctrl-C. Outside the main thread nothing is handled, because Python delivers
            signals to the main thread only.

    Attributes:
        requested: whether Ctrl-C was pressed.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.requested = False
        self._enabled = enabled and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Interruption:
        if self._enabled:
            self._before = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._enabled:
            signal.signal(signal.SIGINT, self._before)

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def _progress(loop: Loop, step: int) -> float:
    """Return the fraction of the training that is done before a step.

    This is the larger of two fractions: the finished fraction of the steps, and the spent fraction of the
    budget. The learning rate therefore also falls to zero if the budget ends the training.
    """
    return max(step / (loop.config.train.epochs * loop.steps), loop.clock.fraction)


def _count_steps(loop: Loop, training: Training) -> None:
    """Add the seconds since the last update of ``training.seconds`` to ``training.step_seconds``."""
    training.step_seconds += loop.clock.seconds - training.seconds


def _finish_epoch(loop: Loop, training: Training) -> None:
    """Score the validation networks, record the epoch, and decide whether the training stops."""
    config, objective = loop.config, loop.objective
    loss, task, invariance = (sum_over_processes(loop.accelerator, loop.sums) / training.step).tolist()
    _count_steps(loop, training)
    _check_finite("training loss", loss, training, config.train)
    every, number = config.train.invariance_every, training.epoch + 1
    measured = every is not None and number % every == 0
    found = validate(objective, loop.data, config, loop.accelerator, measure_invariance=measured)
    scores = found.scores.get(objective.tasks.main.name)
    # If the last step of the epoch diverges, the loss is still finite, but the validation error is not.
    if scores is not None:
        _check_finite("validation MSE", scores.mse, training, config.train)
    if found.loss is not None:
        _check_finite("validation loss", found.loss, training, config.train)
    step = training.epoch * loop.steps + training.step
    training.epoch, training.step = training.epoch + 1, 0
    loop.clock.stop()
    training.seconds, training.cpu_seconds = loop.clock.seconds, loop.clock.cpu_seconds
    training.history.append(
        Epoch(
            epoch=training.epoch,
            step=step,
            seconds=round(training.seconds, 3),
            lr=learning_rate(config.train, _progress(loop, step - 1)),
            train=Losses(
                loss=loss,
                task=task if objective.supervised else None,
                invariance=invariance if objective.invariance else None,
            ),
            val=EpochScores.of(scores, found.invariance, found.loss),
            also={
                name: EpochScores.of(own)
                for name, own in found.scores.items()
                if name != objective.tasks.main.name
            },
        )
    )
    value = found.selected_by(config.train.select, objective.tasks.main.name)
    if value < training.best:
        training.best, training.best_epoch = value, training.epoch
    training.stopped_by = _stopped_by(loop, training)
    loop.sums.zero_()


def _check_finite(what: str, value: float, training: Training, train: TrainConfig) -> None:
    if not math.isfinite(value):
        raise RunError(
            f"the {what} is {value} in epoch {training.epoch + 1}; "
            f"try a lower train.lr than {train.lr:g}, or a tighter train.clip"
        )


def _stopped_by(loop: Loop, training: Training) -> str | None:
    train = loop.config.train
    if training.steps == train.epochs * loop.steps:
        return None
    if loop.clock.fraction >= 1:
        return "budget"
    if train.patience is not None and training.epoch - training.best_epoch >= train.patience:
        return "patience"
    return None


def _note(epoch: Epoch) -> str:
    val = epoch.val
    if val.mse is None:
        return f"val loss {val.loss:.4g}"
    name, value = ("tau", val.tau) if val.accuracy is None else ("accuracy", val.accuracy)
    return f"val mse {val.mse:.4g}, {name} {'–' if value is None else format(value, '.3f')}"


def _save(path: Path, loop: Loop, training: Training) -> None:
    tensors = {f"objective.{name}": tensor for name, tensor in loop.objective.state_dict().items()}
    tensors |= tensor_files.optimiser_tensors(loop.optimiser) | loop.average.tensors()
    tensor_files.write_tensors(path, {**tensors, "sums": loop.sums}, CONVERTER.unstructure(training))


def _load(
    path: Path, objective: Objective, optimiser: Optimizer, sums: Tensor, average: WeightAverage
) -> Training:
    tensors, header = tensor_files.read_tensors(path)
    saved = {
        name.removeprefix("objective."): t for name, t in tensors.items() if name.startswith("objective.")
    }
    try:
        objective.load_state_dict(saved)
        tensor_files.restore_optimiser(optimiser, tensors)
        sums.copy_(tensors["sums"])
        average.restore(tensors)
        history = [structured(path, each, Epoch) for each in header["history"]]
        return Training(**{**header, "history": history})
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: the saved state does not match the configuration: {' '.join(str(error).split())}"
        ) from error
