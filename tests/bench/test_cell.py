"""The key of a cell, and its file: writing, reading and finding it."""

import json
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

import sneframe
from sneframe import plugins
from sneframe.bench import cell as cells
from sneframe.bench.cell import Cell
from sneframe.bench.outcome import described, read_outcome
from sneframe.bench.zoos import StoredZoo, Target
from sneframe.config.structure import structure
from sneframe.errors import RunError
from sneframe.metrics import Scores


@pytest.fixture
def cell(toy_zoo_path):
    config = sneframe.recipe("stats", f"zoo.path={toy_zoo_path}", "zoo.property=scale", "seed=3")
    return Cell(recipe="stats/default", overrides=("seed=3",), config=config, zoo=StoredZoo.of(toy_zoo_path))


def left(n=5):
    generator = np.random.default_rng(0)
    true, predicted = generator.uniform(1, 2, (2, n))
    scores = Scores(n=n, mse=0.123456789012, r2=None, tau=0.5)
    return {
        "failed": None,
        "tests": [
            described("z", "toy", scores, range(n), true.tolist(), predicted.tolist(), np.arange(n) // 2)
        ],
        "size": 7,
        "epochs": 3,
        "planned": 4,
        "passes": 2.5,
        "best_epoch": 2,
        "stopped_by": "budget",
        "seconds": {"train": 1.5, "step": 0.25, "to_best": None, "total": 3.0},
        "peak_memory": 1024,
    }


def changed(cell, *words):
    zoo = f"zoo.path={cell.zoo.path}"
    return evolve(cell, config=sneframe.recipe("stats", zoo, "zoo.property=scale", "seed=3", *words))


COMMITTED = sorted((Path(__file__).parents[2] / "docs/benchmarks").rglob("*-0-*.json"))


@pytest.mark.skipif(not COMMITTED, reason="the committed cells are in the repository only")
def test_the_keys_of_committed_cells_stay():
    """The configuration that a committed cell stores still has the key that the cell was written under."""
    by_recipe = {}
    for path in COMMITTED:
        stored = json.loads(path.read_text())
        if len(stored.get("tests", ())) == 1:  # else the file lacks the split of the targets
            by_recipe.setdefault(stored["recipe"], stored)
    assert len(by_recipe) > 5
    for stored in by_recipe.values():
        zoo = StoredZoo(path=Path("gone"), label="gone", **stored["zoo"])
        config = structure(stored["config"], plugins.part)
        assert Cell(recipe="any", overrides=(), config=config, zoo=zoo).key == stored["key"]


@pytest.mark.parametrize(
    "word",
    [
        "seed=4",
        "head.trees=7",
        "train.budget=60",
        "zoo.split_seed=1",
        "zoo.train_fraction=0.5",
        "aggregator.pool=always",
        'augmentation=[{part="augmentation/noise"}]',
    ],
)
def test_whatever_decides_the_numbers_makes_another_cell(cell, word):
    """A change of any option that decides the numbers changes the key."""
    assert changed(cell, word).key != cell.key


def test_options_of_an_augmentation_make_another_cell(cell):
    """The options of an augmentation belong to the key."""
    one, other = (f'augmentation=[{{part="augmentation/noise", std={std}}}]' for std in (0.1, 0.2))
    assert changed(cell, one).key != changed(cell, other).key
    assert changed(cell, one).key == changed(cell, 'augmentation=[{part="augmentation/noise"}]').key


def test_another_zoo_makes_another_cell(cell, other_zoo_path):
    """The digest of the zoo belongs to the key."""
    assert evolve(cell, zoo=StoredZoo.of(other_zoo_path)).key != cell.key


def test_other_targets_make_another_cell(cell, other_zoo_path):
    """The zoos that a model is tested on belong to the key."""
    target = Target(zoo=StoredZoo.of(other_zoo_path), divided=False)
    keys = {evolve(cell, targets=targets).key for targets in ((), (target,), (evolve(target, divided=True),))}
    assert len(keys) == 3


def test_names_and_paths_make_no_other_cell(cell, tmp_path):
    """Neither the name of the recipe nor the path of the zoo belongs to the key."""
    moved = evolve(cell.config, recipe="other/name", zoo=evolve(cell.config.zoo, path="elsewhere.zarr"))
    moved_zoo = evolve(cell.zoo, path=tmp_path, label="x", name="y")
    assert evolve(cell, recipe="other/name", overrides=(), config=moved, zoo=moved_zoo).key == cell.key


def test_what_is_written_is_read(cell, tmp_path):
    """A cell is read back as it was written."""
    path = cells.write(tmp_path, cell, left(), {})
    assert path.name == f"stats-default-toy-3-{cell.key}.json"
    found = read_outcome(path)
    expected = left()["tests"][0]
    assert (found.seed, found.failed, found.epochs, found.passes) == (3, None, 3, 2.5)
    assert (found.stopped_by, found.step_seconds, found.seconds_to_best) == ("budget", 0.25, None)
    test = found.test("z")
    assert test.scores == Scores(n=5, mse=0.123456789012, r2=None, tau=0.5)
    assert test.ids.tolist() == [0, 1, 2, 3, 4]
    assert test.true.tolist() == expected["true"]


def test_run_groups_are_kept_where_they_matter(cell, tmp_path):
    """A cell keeps run groups as numbers if one has several networks, and the time when it finished."""
    outcome = read_outcome(cells.write(tmp_path, cell, left(), {}))
    assert outcome.tests[0].group.tolist() == [0, 0, 1, 1, 2]
    assert outcome.finished.endswith("+00:00")
    alone = described("z", "toy", Scores(n=2, mse=0.0), [1, 2], [0.0, 1.0], [0.0, 1.0], np.array(["b", "a"]))
    assert "group" not in alone


def test_the_coverage_is_kept(cell, tmp_path):
    """A test of an older version has none."""
    content = left()
    assert read_outcome(cells.write(tmp_path, cell, content, {})).tests[0].coverage is None
    content["tests"][0]["coverage"] = 0.875
    assert read_outcome(cells.write(tmp_path, cell, content, {})).tests[0].coverage == 0.875


def test_cells_of_the_benchmarks_are_read():
    """Older cells without dates and run groups are read, with their baseline and machine."""
    folder = Path(__file__).parents[2] / "docs" / "benchmarks" / "inr-frequency" / "cells"
    outcome = read_outcome(sorted(folder.glob("*.json"))[0])
    assert (outcome.finished, outcome.tests[0].group) == (None, None)
    assert outcome.baseline.n == outcome.tests[0].scores.n
    assert outcome.machine == "Linux x86_64, 2 cores, cpu, 1 thread"


def test_values_are_single_precision_in_few_digits(cell):
    """True and predicted values are stored with as many digits as float32 has."""
    stored = described("z", "toy", Scores(n=1, mse=0, r2=None, tau=None), [1], [0.1], [1 / 3], np.array([5]))
    assert json.dumps(stored["true"] + stored["predicted"]) == "[0.1, 0.33333334]"


def test_a_cell_of_500_networks_is_small(cell, tmp_path):
    """The file of a cell stays small enough to commit."""
    assert cells.write(tmp_path, cell, left(500), {}).stat().st_size < 20_000


def test_a_file_holds_no_path(cell, tmp_path):
    """The file of a cell contains no path."""
    assert str(cell.zoo.path.parent) not in cells.write(tmp_path, cell, left(), {}).read_text()


def test_a_cell_is_found_whatever_it_was_called(cell, tmp_path):
    """A cell is found under the name of another recipe with the same configuration."""
    path = cells.write(tmp_path, cell, left(), {})
    assert cells.find(tmp_path, evolve(cell, recipe="other/name")) == path
    assert cells.find(tmp_path, changed(cell, "seed=4")) is None


def test_a_new_option_leaves_an_older_cell_valid(cell, tmp_path):
    """A cell from before `aggregator.pool` existed is found for the default value."""
    path = cells.write(tmp_path, cell, left(), {})
    data = json.loads(path.read_text())
    del data["config"]["aggregator"]["pool"]
    path.write_text(json.dumps(data))
    assert cells.find(tmp_path, cell) == path


def test_a_default_that_has_changed_makes_another_cell(cell, tmp_path):
    """A cell with another value is not found, even if the key is the same because a default changed."""
    path = cells.write(tmp_path, cell, left(), {})
    data = json.loads(path.read_text())
    data["config"]["aggregator"]["pool"] = "never"
    path.write_text(json.dumps(data))
    assert cells.find(tmp_path, cell) is None


def test_a_failure_is_read_as_one(cell, tmp_path):
    """A failed cell is read with its reason and without tests."""
    found = read_outcome(cells.write(tmp_path, cell, {"failed": "no memory"}, {}))
    assert (found.seed, found.failed) == (3, "no memory")
    assert found.test("z").failed == "no memory"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.update(format="other"), "not a sneframe.cell of version 1"),
        (lambda data: data.update(version=2), "not a sneframe.cell of version 1"),
        (lambda data: data.pop("size"), "size is missing"),
        (lambda data: data["tests"][0].update(true=[1.0]), "tests.0.true: must be a list of 5 numbers"),
        (lambda data: data["tests"][0].update(ids="none"), "tests.0.ids: must be a list of 5 numbers"),
        (
            lambda data: data["tests"][0]["scores"].update(mse="low"),
            "tests.0.scores.mse: must be a finite number",
        ),
    ],
)
def test_a_damaged_file_is_named(cell, tmp_path, change, said):
    """The error for a damaged cell names the file and the key in one line."""
    path = cells.write(tmp_path, cell, left(), {})
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(RunError, match=re_of(said)) as caught:
        read_outcome(path)
    assert str(caught.value).startswith(str(path))


def re_of(text):
    return text.replace(".", r"\.")
