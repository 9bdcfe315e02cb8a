"""Networks that a run leaves out, and the line that counts them."""

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
    """Twenty networks: two are unhealthy, three have no loss, and four have an infinite one."""
    values = [0.5, 0.25, None, np.nan, None, np.inf, -np.inf, np.inf, np.inf, *np.linspace(0, 1, 11)]
    return make(tmp_path / "z.zarr", values, [False, False, *[True] * 18])


def test_left_out_networks_are_counted_in_one_line(mixed):
    """One line says how many networks are left out for each reason."""
    data, said = load(mixed)
    assert said == (
        "9 of 20 networks are left out: 2 unhealthy, 3 without 'loss', 4 with an infinite 'loss'\n"
    )
    assert data.batch.ids.tolist() == list(range(9, 20))


def test_only_matching_networks_are_counted(mixed):
    """Networks that zoo.where leaves out are not counted."""
    _, said = load(mixed, where="step >= 5")
    assert said == "4 of 15 networks are left out: 4 with an infinite 'loss'\n"


def test_nothing_is_printed_if_nothing_is_left_out(mixed):
    """Nothing is printed if every network is used."""
    assert load(mixed, where="step >= 9")[1] == ""


def test_an_expression_that_matches_nothing_is_named(mixed):
    """The error names a zoo.where that no network matches."""
    with pytest.raises(ZooError, match=r"z\.zarr: none of the 20 networks matches zoo\.where = 'step > 99'"):
        load(mixed, where="step > 99")


def test_a_zoo_without_healthy_networks(tmp_path):
    """The error says that no network of the zoo is healthy."""
    path = make(tmp_path / "z.zarr", [1.0, 2.0], [False, False])
    with pytest.raises(ZooError, match=r"z\.zarr: none of the 2 networks is healthy$"):
        load(path)


def test_a_selection_without_healthy_networks(mixed):
    """The error says that no network that matches zoo.where is healthy."""
    with pytest.raises(ZooError, match=r"none of the 2 networks that match zoo\.where is healthy"):
        load(mixed, where="step < 2")


def test_a_property_without_values_is_named(mixed):
    """The error names the property, and counts the networks that lack it for each reason."""
    with pytest.raises(
        ZooError,
        match="none of the 9 networks is healthy and has a finite value of 'loss': "
        "2 unhealthy, 3 without 'loss', 4",
    ):
        load(mixed, where="step < 9")
