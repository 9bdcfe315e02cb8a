"""train_fraction: nested parts of the training networks, whole run groups, the same for every seed."""

from itertools import pairwise

import numpy as np
import pytest
from attrs import evolve

import sneframe
from sneframe.errors import ConfigError, ZooError
from sneframe.progress import Reporter
from sneframe.testing import mlp
from sneframe.train.data import load_data, load_whole
from sneframe.zoo import create, splits


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Return a zoo of 60 networks in run groups of one, two and three, with two stored splits."""
    path, generator = tmp_path_factory.mktemp("zoo") / "grouped.zarr", np.random.default_rng(0)
    architecture = mlp(1, 3, 1)
    group = np.repeat(np.arange(30), np.tile([1, 2, 3], 10))
    with create(path, name="grouped") as writer:
        writer.append(
            architecture,
            {p.name: generator.standard_normal((60, *p.shape)) for p in architecture.parameters},
            {"scale": generator.uniform(size=60)},
            group=group,
        )
    return path


def split_of(path, fraction, **zoo):
    config = sneframe.recipe("stats", f"zoo.path={path}").zoo
    return load_data(evolve(config, train_fraction=fraction, **zoo), Reporter())


def test_a_smaller_fraction_lies_within_a_larger_one(grouped):
    """The networks of a smaller train_fraction are among those of a larger one."""
    drawn = [set(split_of(grouped, fraction).split.train) for fraction in (0.1, 0.25, 0.5, 1.0)]
    assert all(small < large for small, large in pairwise(drawn))
    whole = len(drawn[-1])
    assert [len(each) for each in drawn] == pytest.approx(
        [0.1 * whole, 0.25 * whole, 0.5 * whole, whole], abs=1.5
    )


def test_groups_stay_whole(grouped):
    """No run group has networks both inside and outside of the fraction."""
    part, whole = split_of(grouped, 0.3), split_of(grouped, 1.0)
    inside = set(part.zoo.group[part.split.train])
    outside = set(whole.zoo.group[np.setdiff1d(whole.split.train, part.split.train)])
    assert inside
    assert outside
    assert not inside & outside


def test_validation_and_test_stay(grouped):
    """train_fraction leaves validation and test networks as they are."""
    part, whole = split_of(grouped, 0.3).split, split_of(grouped, 1.0).split
    assert np.array_equal(part.val, whole.val)
    assert np.array_equal(part.test, whole.test)


def test_another_split_seed_draws_others(grouped):
    """Another split seed draws other training networks."""
    assert set(split_of(grouped, 0.3).split.train) != set(split_of(grouped, 0.3, split_seed=1).split.train)


def test_the_draw_depends_on_labels_alone():
    """The draw depends on the labels of the run groups, not on their order."""
    group = np.array([5, 1, 1, 9, 9, 9, 2, 7])
    shuffled = np.random.default_rng(1).permutation(len(group))
    whole, moved = (splits.draw_fraction(each, fraction=0.5, seed=3) for each in (group, group[shuffled]))
    assert set(group[whole]) == set(group[shuffled][moved])


def test_a_fraction_that_leaves_nothing_is_refused():
    """A train_fraction that leaves no training network is an error."""
    with pytest.raises(ZooError, match=r"a fraction of 0\.1 leaves none of the 2 groups"):
        splits.draw_fraction([1, 1, 1, 2, 2, 2], fraction=0.1, seed=0)


@pytest.mark.parametrize("value", ["0", "1.5", "-1"])
def test_a_fraction_lies_in_0_to_1(value):
    """train_fraction must lie in (0, 1]."""
    with pytest.raises(ConfigError, match="train_fraction"):
        sneframe.recipe("stats", f"zoo.train_fraction={value}")


# -- a zoo that nothing is trained on ------------------------------------------------------------------------


def stored(tmp_path, *names):
    path = tmp_path / "stored.zarr"
    architecture, assignment = mlp(1, 3, 1), np.array([0, 0, 1, 2, 2, -1])
    with create(path, name="stored") as writer:
        writer.append(
            architecture,
            {p.name: np.ones((6, *p.shape)) for p in architecture.parameters},
            {"scale": np.arange(6.0)},
        )
        for name in names:
            writer.split(name, assignment)
    return path


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        ((), "random", [0, 1, 2, 3, 4, 5]),
        (("published",), "random", [3, 4]),
        (("published", "other"), "random", [0, 1, 2, 3, 4, 5]),
        (("published", "other"), "other", [3, 4]),
        (("published",), "elsewhere", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_test_networks_of_a_zoo_without_training(tmp_path, names, split, expected):
    """A zoo that is only tested on gives the test networks of its stored split, or all networks."""
    config = sneframe.recipe("stats", f"zoo.path={stored(tmp_path, *names)}", f"zoo.split={split}").zoo
    assert load_whole(config, Reporter()).split.test.tolist() == expected
