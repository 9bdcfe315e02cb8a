"""``zoo.show``: columns that only colour the maps of the report."""

import json

import numpy as np
import pytest

import sneframe
from sneframe.errors import RunError, ZooError
from sneframe.run_folder.shown import read_shown
from sneframe.testing import mlp
from sneframe.zoo import create


@pytest.fixture
def zoo(tmp_path):
    architecture, generator = mlp(1, 4, 4, 1), np.random.default_rng(0)
    with create(tmp_path / "zoo.zarr", name="zoo") as writer:
        weights = {p.name: generator.standard_normal((60, *p.shape)) for p in architecture.parameters}
        properties = {
            "scale": generator.uniform(size=60),
            "dataset": ["mnist", None, "cifar"] * 20,
            "lr": [0.1, None, float("inf")] * 20,
        }
        writer.append(architecture, weights, properties)
    return tmp_path / "zoo.zarr"


def run(zoo, tmp_path, *words, report=False):
    config = sneframe.recipe(
        "stats", f"zoo.path={zoo}", "zoo.property=scale", "head.trees=2", "head.min_leaf=2", *words
    )
    return sneframe.run(config, tmp_path / "run", report=report)


def test_maps_are_coloured_by_shown_columns(zoo, tmp_path):
    """The report has a map coloured by each column that zoo.show names."""
    folder = run(zoo, tmp_path, 'zoo.show=["dataset","lr"]', report=True).folder
    shown = json.loads((folder / "shown.json").read_text())
    opened = sneframe.open_zoo(zoo)
    assert shown["columns"]["dataset"] == [opened.column("dataset")[i] for i in shown["ids"]]
    assert set(shown["columns"]["lr"]) == {0.1, None}  # missing, and infinite
    page = (folder / "report.html").read_text()
    for name in ("scale", "dataset", "lr"):
        assert f"coloured by {name}." in page
    assert "mnist" in page
    assert "missing" in page


def test_without_zoo_show_there_is_no_shown_json(zoo, tmp_path):
    """A run without zoo.show writes no shown.json."""
    assert not (run(zoo, tmp_path).folder / "shown.json").exists()


def test_an_unknown_column_ends_the_run_before_it_begins(zoo, tmp_path):
    """zoo.show must name columns of the zoo; the error suggests one."""
    with pytest.raises(ZooError, match=r"'datasat'.*'dataset'"):
        run(zoo, tmp_path, 'zoo.show=["datasat"]')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"ids": [1, 2], "columns": {}}, "ids: must be the test networks"),
        ({"ids": [1, 2, 3]}, "columns"),
        ({"ids": [1, 2, 3], "columns": {"a": [1]}}, "columns.a: must be a list of 3 values"),
        (
            {"ids": [1, 2, 3], "columns": {"a": [1, "x", None]}},
            "columns.a: must hold only numbers or only labels",
        ),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, content, message):
    """A damaged shown.json is an error of one line with the problem."""
    (tmp_path / "shown.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=message):
        read_shown(tmp_path / "shown.json", np.array([1, 2, 3]))
