"""What the tests of the bench share: recipes that train in milliseconds, and cells that run in this process."""

import tempfile

import pytest

from sneframe.bench import compare, worker
from sneframe.suite import Row, Suite
from sneframe.testing import toy_zoo

SMALL = {
    "stats": ("head.trees=2",),
    "sne": (
        "layer_encoder.width=8",
        "layer_encoder.heads=2",
        "layer_encoder.points=2",
        "aggregator.heads=2",
    ),
    "dwsnet": ("layer_encoder.width=4", "layer_encoder.hidden_layers=1"),
}


def row(recipe, *words, label=None):
    plugin = recipe.partition("/")[0]
    return Row(label=label or recipe, recipe=recipe, overrides=(*SMALL.get(plugin, ()), *words))


@pytest.fixture(scope="session")
def other_zoo_path(tmp_path_factory):
    """20 networks of another architecture."""
    return toy_zoo(tmp_path_factory.mktemp("zoo") / "other.zarr", hidden=((5, 5),), networks=20, seed=1)


@pytest.fixture
def suite(toy_zoo_path):
    """Stats and a small SNE, two seeds, one epoch."""
    return Suite(
        name="toys/two",
        title="Two methods",
        rows=[row("stats/default"), row("sne/default")],
        zoo=str(toy_zoo_path),
        property="scale",
        overrides=("train.epochs=1",),
        seeds=2,
    )


@pytest.fixture
def ran(monkeypatch):
    """Run cells in this process; the list of those that were run."""
    found = []

    def run(cell, note):
        found.append(cell)
        with tempfile.TemporaryDirectory() as folder:
            try:
                return worker.work(worker.job_of(cell, folder), note)
            except Exception as error:
                return {"failed": worker.said(error)}

    monkeypatch.setattr(compare, "run_cell", run)
    return found
