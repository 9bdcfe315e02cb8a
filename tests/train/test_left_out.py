"""Which networks a run leaves out, and what it says of them."""

import io

import numpy as np
import pytest
from rich.console import Console

from sneframe.config.schema import ZooConfig
from sneframe.errors import ZooError
from sneframe.progress import Reporter
from sneframe.testing import mlp
from sneframe.train.data import load_data
from sneframe.zoo import create


def make(path, values, healthy):
    architecture, generator = mlp(1, 3, 1), np.random.default_rng(0)
    n = len(values)
    weights = {p.name: generator.standard_normal((n, *p.shape)) for p in architecture.parameters}
    with create(path, name="z") as zoo:
        zoo.append(
            architecture, weights, {"loss": values, "step": np.arange(n)}, healthy=np.array(healthy, bool)
        )
    return str(path)


def load(path, **options):
    said = io.StringIO()
    data = load_data(ZooConfig(path=path, **options), Reporter(Console(file=said, width=200)))
    return data, said.getvalue()


@pytest.fixture
def mixed(tmp_path):
    """Twenty networks, of which two are not healthy, three have no loss and four an infinite one."""
    values = [0.5, 0.25, None, np.nan, None, np.inf, -np.inf, np.inf, np.inf, *np.linspace(0, 1, 11)]
    return make(tmp_path / "z.zarr", values, [False, False, *[True] * 18])


def test_a_run_says_in_one_line_how_many_networks_are_left_out_and_why(mixed):
    data, said = load(mixed)
    assert said == ("networks left out, of 20: 2 not healthy, 3 without 'loss', 4 with an infinite 'loss'\n")
    assert data.batch.ids.tolist() == list(range(9, 20))


def test_only_networks_that_were_asked_for_are_counted(mixed):
    _, said = load(mixed, where="step >= 5")
    assert said == "networks left out, of 15: 4 with an infinite 'loss'\n"


def test_nothing_is_said_where_nothing_is_left_out(mixed):
    assert load(mixed, where="step >= 9")[1] == ""


def test_an_expression_that_matches_nothing_is_named(mixed):
    with pytest.raises(ZooError, match=r"z\.zarr: no network matches zoo\.where = 'step > 99', of 20"):
        load(mixed, where="step > 99")


def test_a_zoo_without_healthy_networks_is_called_that(tmp_path):
    path = make(tmp_path / "z.zarr", [1.0, 2.0], [False, False])
    with pytest.raises(ZooError, match=r"z\.zarr: no network is healthy, of 2$"):
        load(path)


def test_a_selection_without_healthy_networks_is_called_that(mixed):
    with pytest.raises(ZooError, match=r"no network is healthy, of 2 that match zoo\.where"):
        load(mixed, where="step < 2")


def test_a_property_that_no_network_has_is_named_with_the_reasons(mixed):
    with pytest.raises(
        ZooError,
        match=r"no network has a value of 'loss' to learn from, of 9: 2 not healthy, 3 without 'loss', 4 with an inf",
    ):
        load(mixed, where="step < 9")
