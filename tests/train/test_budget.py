"""A training that its budget ends: where it stops, its learning rates, and what is recorded."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import sneframe
from sneframe.cli import main
from sneframe.errors import ConfigError
from sneframe.train import clock, loop
from sneframe.train.clock import Clock

SMALL = ("layer_encoder.width=8", "layer_encoder.heads=2", "layer_encoder.points=2", "aggregator.heads=2")
STEPS = 4  #: steps in an epoch of 28 training networks at 8 per step


@pytest.fixture
def second_per_step(monkeypatch):
    """Let the clock advance one second per step, and return the list of the learning rates of the steps."""
    now, rates, real = [100.0], [], loop.train_step

    def step(loop, positions, number):
        real(loop, positions, number)
        rates.append(loop.optimiser.param_groups[0]["lr"])
        now[0] += 1

    times = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0] / 4)
    monkeypatch.setattr(clock, "time", times)
    monkeypatch.setattr(loop, "train_step", step)
    return rates


def config_for(zoo, *words):
    return sneframe.recipe("sne", f"zoo.path={zoo}", *SMALL, "train.batch_size=8", *words)


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_the_clock_may_count_cpu_seconds(monkeypatch):
    """The fraction is then that of the CPU seconds of all threads together, and the seconds still pass."""
    now, worked = [0.0], [0.0]
    times = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: worked[0])
    monkeypatch.setattr(clock, "time", times)
    watch = Clock(20.0, spent=9.0, cpu_spent=4.0, cpu=True)
    watch.start()
    now[0], worked[0] = 100.0, 6.0
    assert (watch.seconds, watch.cpu_seconds, watch.fraction) == (109.0, 10.0, 0.5)


def test_a_budget_of_cpu_seconds_ignores_waiting(toy_zoo_path, tmp_path, second_per_step):
    """A second passes with each step, of which a quarter is CPU time: six CPU seconds allow 24 steps."""
    words = ("train.epochs=40", "train.budget=6", "train.budget_clock=cpu")
    run = sneframe.run(config_for(toy_zoo_path, *words), tmp_path / "run", report=False)
    assert (len(second_per_step), run.metrics["stopped_by"]) == (24, "budget")


def test_a_budget_cuts_between_two_steps(toy_zoo_path, tmp_path, second_per_step):
    """A budget of six seconds allows six steps: one and a half of forty epochs."""
    run = sneframe.run(
        config_for(toy_zoo_path, "train.epochs=40", "train.budget=6"), tmp_path / "run", report=False
    )
    metrics, epochs = run.metrics, history(run.folder)
    assert len(second_per_step) == 6
    assert (metrics["epochs"], metrics["steps"], metrics["passes"]) == (2, 6, 1.5)
    assert metrics["stopped_by"] == "budget"
    assert [record["step"] for record in epochs] == [4, 6]
    assert [record["seconds"] for record in epochs] == [4.0, 6.0]
    best = min((1, 2), key=lambda number: epochs[number - 1]["val"]["mse"])
    assert metrics["best_epoch"] == best
    assert metrics["seconds"] | {"total": None} == {
        "train": 6.0,
        "cpu": 1.5,
        "step": 1.0,
        "to_best": epochs[best - 1]["seconds"],
        "total": None,
    }


def test_the_schedule_follows_the_budget_where_that_is_further(toy_zoo_path, tmp_path, second_per_step):
    """Ten of 400 steps fit in the budget, and the learning rate falls as if there were ten steps."""
    words = ("train.epochs=100", "train.budget=10", "train.warmup=0.0", "train.lr=0.5")
    sneframe.run(config_for(toy_zoo_path, *words), tmp_path / "run", report=False)
    expected = [0.25 * (1 + np.cos(np.pi * step / 10)) for step in range(10)]
    assert second_per_step == pytest.approx(expected)


def test_the_schedule_follows_the_steps_if_further(toy_zoo_path, tmp_path, second_per_step):
    """The learning rate follows the steps where they are further than the budget."""
    words = ("train.epochs=2", "train.budget=1000", "train.warmup=0.0", "train.lr=0.5")
    run = sneframe.run(config_for(toy_zoo_path, *words), tmp_path / "run", report=False)
    assert second_per_step == pytest.approx([0.25 * (1 + np.cos(np.pi * step / 8)) for step in range(8)])
    assert run.metrics["stopped_by"] is None
    assert run.metrics["passes"] == 2


def test_a_budget_smaller_than_a_step_is_one_step(toy_zoo_path, tmp_path, second_per_step):
    """A budget that the first step exceeds still allows that step."""
    run = sneframe.run(config_for(toy_zoo_path, "train.budget=0.001"), tmp_path / "run", report=False)
    assert (run.metrics["steps"], run.metrics["best_epoch"]) == (1, 1)


def test_a_budget_used_up_by_the_last_step_cuts_nothing(toy_zoo_path, tmp_path, second_per_step):
    """A budget that is spent exactly at the last step did not stop the training."""
    words = ("train.epochs=2", f"train.budget={2 * STEPS}")
    assert (
        sneframe.run(config_for(toy_zoo_path, *words), tmp_path / "run", report=False).metrics["stopped_by"]
        is None
    )


def test_a_cut_run_is_resumed_to_the_same_end(toy_zoo_path, tmp_path, second_per_step):
    """Resuming a run that its budget ended gives the same scores and takes no step."""
    config = config_for(toy_zoo_path, "train.budget=6")
    first = sneframe.run(config, tmp_path / "run", report=False)
    again = sneframe.run(config, tmp_path / "run", resume=True, report=False)
    assert len(second_per_step) == 6
    assert {**again.metrics, "seconds": None} == {**first.metrics, "seconds": None}


def test_patience_is_named_as_what_stopped(toy_zoo_path, tmp_path):
    """stopped_by is "patience" if patience ended the training before the budget."""
    words = ("train.epochs=50", "train.patience=1", "train.lr=1e-12", "train.schedule=constant")
    assert (
        sneframe.run(config_for(toy_zoo_path, *words), tmp_path / "run", report=False).metrics["stopped_by"]
        == "patience"
    )


def test_a_fitted_head_counts_the_seconds_of_its_fit(toy_zoo_path, tmp_path):
    """A fitted head has seconds of training, but no steps and no passes."""
    config = sneframe.recipe("stats", f"zoo.path={toy_zoo_path}", "head.trees=2")
    metrics = sneframe.run(config, tmp_path / "run", report=False).metrics
    assert metrics["seconds"]["train"] > 0
    assert metrics["seconds"]["cpu"] > 0
    assert (metrics["seconds"]["step"], metrics["seconds"]["to_best"]) == (None, None)
    assert (metrics["steps"], metrics["passes"], metrics["stopped_by"]) == (0, 0, None)


def test_the_report_says_that_the_budget_ended_it(toy_zoo_path, tmp_path, second_per_step):
    """The report names the budget as what ended the run, and after how many passes."""
    run = sneframe.run(config_for(toy_zoo_path, "train.budget=6"), tmp_path / "run")
    assert "the budget ended the training after 1.5 passes" in " ".join(run.report.read_text().split())


def test_the_command_says_that_the_budget_ended_it(toy_zoo_path, tmp_path, second_per_step, capsys):
    """The command names the budget as what ended the run, and after how many epochs."""
    words = ("--zoo", str(toy_zoo_path), "--property", "scale", "--out", str(tmp_path / "run"))
    keys = [word for key in (*SMALL, "train.batch_size=8", "train.budget=6") for word in ("--set", key)]
    with pytest.raises(SystemExit) as left:
        main(["run", "--no-report", "--plugin", "sne", *words, *keys])
    assert left.value.code == 0
    assert "stopped by budget after 1.5 epochs" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
def test_a_budget_is_a_time(value):
    """train.budget must be a positive number."""
    with pytest.raises(ConfigError, match="budget"):
        sneframe.recipe("sne", f"train.budget={value}")


def test_the_clock_counts_while_it_is_started(monkeypatch):
    """The clock counts only between start and stop, and adds the seconds of earlier sessions."""
    now, worked = [0.0], [0.0]
    times = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: worked[0])
    monkeypatch.setattr(clock, "time", times)
    watch = Clock(10.0, spent=2.0, cpu_spent=1.0)
    now[0], worked[0] = 5.0, 1.0
    assert (watch.seconds, watch.fraction) == (2.0, 0.2)
    watch.start()
    now[0], worked[0] = 8.0, 1.5
    assert (watch.seconds, watch.fraction) == (5.0, 0.5)
    watch.stop()
    now[0], worked[0] = 50.0, 40.0
    assert (watch.seconds, watch.cpu_seconds) == (5.0, 1.5)
    assert Clock(None, spent=5.0).fraction == 0.0
    assert Clock(1.0, spent=5.0).fraction == 1.0
