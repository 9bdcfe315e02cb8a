"""Recipes that train in milliseconds, and cells that run in this process."""

import tempfile

import pytest

from sneframe.bench import pages, schedule, worker
from sneframe.config.suite import Row, Suite
from sneframe.testing import toy_zoo

SMALL = {
    "stats/default": ("head.trees=2",),
    "sne/default": (
        "layer_encoder.width=8",
        "layer_encoder.heads=2",
        "layer_encoder.points=2",
        "aggregator.heads=2",
    ),
    "dwsnet/default": ("layer_encoder.width=8", "layer_encoder.hidden_layers=1"),
}


def small(recipe, *words, label=None):
    """Return a row with a recipe whose parts are made small."""
    return Row(label=label or recipe, recipe=recipe, overrides=(*SMALL.get(recipe, ()), *words))


@pytest.fixture(scope="session")
def other_zoo_path(tmp_path_factory):
    """Return a zoo of 20 networks of another architecture."""
    return toy_zoo(tmp_path_factory.mktemp("zoo") / "other.zarr", hidden=((5, 5),), networks=20, seed=1)


@pytest.fixture
def row():
    return small


@pytest.fixture
def suite(toy_zoo_path):
    """Return a suite of stats and a small SNE, with two seeds and one epoch."""
    return Suite(
        name="toys/two",
        title="Two methods",
        rows=[small("stats/default"), small("sne/default")],
        zoo=str(toy_zoo_path),
        property="scale",
        overrides=("train.epochs=1",),
        seeds=2,
    )


@pytest.fixture
def ran(monkeypatch):
    """Run cells in this process, and return the list of those that were run."""
    found = []

    def run(cell, note, *, threads):
        found.append(cell)
        with tempfile.TemporaryDirectory() as folder:
            try:
                return worker.work(worker.job_of(cell, folder), note)
            except Exception as error:  # noqa: BLE001  # as the worker does
                return {"failed": worker.said(error)}

    monkeypatch.setattr(schedule, "run_cell", run)
    # Charts take seconds, and test_pages tests them.
    monkeypatch.setattr(pages, "figures", lambda *_: None)
    monkeypatch.setattr(pages, "overview", lambda _: None)
    return found
