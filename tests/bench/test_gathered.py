"""The table of finished cells, made from their files alone."""

import json
import shutil

import pytest
from attrs import evolve

from sneframe.bench import compare
from sneframe.bench.gathered import gather
from sneframe.config.suite import Variation
from sneframe.errors import RunError


@pytest.fixture
def fitted(suite, row):
    """Return a suite of two methods that are fitted in milliseconds."""
    rows = [row("stats/pooled", "head.trees=2"), row("stats/mean")]
    return evolve(suite, rows=rows, overrides=(), seeds=2)


def scores(lines):
    return {(line.row, line.column, line.done): line.scores["mse"].mean for line in lines}


def test_the_table_is_that_of_the_comparison(fitted, ran, toy_zoo_path, tmp_path):
    """Rows, scores and seeds are those of the comparison that ran the cells, although its zoo is gone."""
    gone = shutil.copytree(toy_zoo_path, tmp_path / "gone.zarr")
    result = compare(evolve(fitted, zoo=str(gone)), tmp_path / "out")
    shutil.rmtree(gone)
    table = gather(tmp_path / "out", fitted)
    assert scores(table.lines) == scores(result.lines)
    assert [line.scores["mse"].interval for line in table.lines] == [
        line.scores["mse"].interval for line in result.lines
    ]
    assert (table.property, table.metric) == ("scale", "mse")
    facts = dict(table.header.facts)
    assert facts["Zoo"].startswith("gone, digest ")
    assert table.header.command is None
    assert table.header.lacks == ("The command is not known: the table was gathered from finished cells.",)


def test_without_a_suite_each_recipe_with_its_settings_is_a_row(fitted, ran, row, tmp_path):
    """Settings that all cells share are not in the label of a row."""
    rows = [row("stats/pooled", f"head.trees={trees}", label=f"{trees}") for trees in (2, 3)]
    compare(evolve(fitted, rows=rows, overrides=("zoo.split_seed=1",)), tmp_path / "out")
    labels = {line.row: line.done for line in gather(tmp_path / "out").lines}
    assert labels == {"stats/pooled, head.trees=2": 2, "stats/pooled, head.trees=3": 2}


def test_variations_and_pairs_of_zoos_are_columns(fitted, ran, toy_zoo_path, other_zoo_path, tmp_path):
    """A gathered table has the columns of the comparison, also those from zoo to zoo."""
    variations = [Variation(label=f"{f:.0%}", overrides=f"zoo.train_fraction={f}") for f in (0.5, 1.0)]
    crossed = evolve(fitted, variations=variations, seeds=1)
    places = [other_zoo_path, toy_zoo_path]
    result = compare(crossed, tmp_path / "out", train=places, test=places)
    table = gather(tmp_path / "out", crossed)
    assert scores(table.lines) == scores(result.lines)
    assert len(table.columns) == 8
    assert [matrix.sources for matrix in table.matrices] == [("other", "toy")] * 4


def test_other_cells_of_the_folder_are_left_out(fitted, ran, row, tmp_path):
    """A suite shows its own rows and settings only, and rows without cells are missing."""
    compare(evolve(fitted, overrides=("zoo.split_seed=1",)), tmp_path / "out")
    compare(fitted, tmp_path / "out")
    more = evolve(fitted, rows=[*fitted.rows, row("stats/ridge")])
    assert scores(gather(tmp_path / "out", more).lines) == scores(gather(tmp_path / "out", fitted).lines)
    other = evolve(fitted, overrides=("zoo.split_seed=2",))
    with pytest.raises(RunError, match="none of its 8 cells belongs to suite 'toys/two'"):
        gather(tmp_path / "out", other)


def test_a_failed_cell_has_a_row(fitted, ran, row, tmp_path):
    """The reason of a failure is shown."""
    compare(evolve(fitted, rows=[row("stats/mean"), row("stats/pooled", "head.trees=2")]), tmp_path / "out")
    path = sorted((tmp_path / "out" / "cells").glob("stats-mean-*.json"))[0]
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"failed": "no memory"}))
    (line,) = (line for line in gather(tmp_path / "out", fitted).lines if line.row == "stats/mean")
    assert (line.done, line.failed) == (1, ("no memory",))


def test_cells_with_another_budget_are_left_out(fitted, ran, tmp_path):
    """A suite shows only the cells of its budget; without a suite, two budgets are refused."""
    compare(evolve(fitted, seeds=1), tmp_path / "out")
    compare(evolve(fitted, seeds=2, budget=60), tmp_path / "out")
    one = gather(tmp_path / "out", fitted)
    assert ({line.done for line in one.lines}, one.budget) == ({1}, None)
    two = gather(tmp_path / "out", evolve(fitted, budget=60))
    assert ({line.done for line in two.lines}, two.budget, two.cpu_budget) == ({2}, 60, False)
    with pytest.raises(RunError, match="its cells have more than one budget; name a suite"):
        gather(tmp_path / "out")


def test_a_budget_in_cpu_time_is_named(fitted, ran, tmp_path):
    """The page of a comparison and the gathered table say that a budget counts CPU time."""
    suite = evolve(fitted, seeds=1, budget=60, overrides="train.budget_clock=cpu")
    text = compare(suite, tmp_path / "out").markdown.read_text()
    table = gather(tmp_path / "out", suite)
    assert "- Budget: 1 min 0 s of CPU time a run\n" in text
    assert "Each run trains for 1 min 0 s of CPU time at most." in text
    assert dict(table.header.facts)["Budget"] == "1 min 0 s of CPU time a run"


def test_two_cells_of_one_seed_are_refused(fitted, ran, tmp_path):
    """Two cells of one row and seed are not averaged."""
    compare(evolve(fitted, seeds=1), tmp_path / "out")
    path = sorted((tmp_path / "out" / "cells").glob("stats-pooled-*.json"))[0]
    shutil.copy(path, path.with_name(path.name.replace(".json", "0.json")))
    with pytest.raises(RunError, match="second cell of 'stats/pooled' with seed 0, beside stats-pooled"):
        gather(tmp_path / "out", fitted)


def test_a_folder_without_cells_is_refused(tmp_path):
    """A folder that holds no cell says so."""
    with pytest.raises(RunError, match="holds no finished cells"):
        gather(tmp_path)
