"""Which networks are drawn, which are left out, and which draws are refused."""

import numpy as np
import pytest

from sneframe.adaptation.draw import draw, remaining
from sneframe.errors import ZooError
from sneframe.run_folder.training_networks import weight_hashes
from sneframe.zoo import open_zoo

NONE = frozenset()


@pytest.fixture
def zoo(zoo_of):
    """Thirty networks of ten run groups with three networks each, numbered from 0 to 2 in each group."""
    return open_zoo(zoo_of(networks=30, groups=np.repeat(np.arange(10), 3), step=np.tile(np.arange(3), 10)))


def had(zoo, *ids):
    """Return the weight hashes of networks of a zoo."""
    found = dict(weight_hashes(zoo.load().blocks()))
    return frozenset(found[number] for number in ids)


def ask(zoo, seen=NONE, **options):
    """Return the positions of the labelled and the test networks; the run predicts the ids of networks."""
    options = {"networks": 3, "labelled": None, **options}
    chosen = {name: options[name] for name in ("networks", "labelled")}
    left = zoo.select(remaining(zoo, seen, **chosen))
    mine, test = draw(left, left.ids.astype(float), **chosen, seed=options.get("seed", 0))
    return left.ids[mine].tolist(), left.ids[test].tolist()


def groups_of(ids):
    return [number // 3 for number in ids]


def test_one_network_of_each_of_several_run_groups_is_drawn(zoo):
    """No run group is in both parts, and the test has all networks of the other run groups."""
    mine, test = ask(zoo, networks=4)
    assert len(mine) == len(set(groups_of(mine))) == 4
    assert not set(groups_of(mine)) & set(groups_of(test))
    assert len(test) == 18


@pytest.mark.parametrize("seed", range(5))
def test_labelled_networks_spread_over_the_predicted_values(zoo, seed):
    """Of ten run groups in the order of their predictions, each of five draws is from one pair."""
    mine, _ = ask(zoo, networks=5, seed=seed)
    assert [number // 2 for number in groups_of(mine)] == [0, 1, 2, 3, 4]


def test_the_seed_decides(zoo):
    """The same seed draws the same networks, and some other seed draws others."""
    assert ask(zoo, networks=5, seed=1) == ask(zoo, networks=5, seed=1)
    assert len({tuple(ask(zoo, networks=5, seed=seed)[0]) for seed in range(4)}) > 1


def test_run_groups_of_the_training_are_left_out(zoo):
    """A run group with one network that the training had is in no part."""
    mine, test = ask(zoo, had(zoo, 0, 29))
    assert set(groups_of(mine + test)) == set(range(1, 9))


def test_a_checkpoint_outside_of_the_selection_counts(zoo):
    """The training had the first network of a run group, and the last ones are selected."""
    mine, test = ask(zoo.where("step == 2"), had(zoo, 0))
    assert set(groups_of(mine + test)) == set(range(1, 10))


def test_the_named_networks_are_used(zoo):
    """The networks of the same run groups that are not named are in no part."""
    mine, test = ask(zoo, networks=99, labelled="group in (2, 5, 7) and step > 0")
    assert mine == [7, 8, 16, 17, 22, 23]
    assert len(test) == 21


@pytest.mark.parametrize(
    ("options", "seen", "said"),
    [
        ({"networks": 11}, (), "needs 11 labelled networks of different run groups, but got 10$"),
        ({"networks": 9}, (0, 4, 5), "needs 9 .* but got 8, without 6 networks of run groups that"),
        ({"networks": 10}, (), "with 10 networks to adapt to, no labelled network of another run group"),
        ({"labelled": "group < 2"}, (), "needs 3 labelled networks of different run groups, but got 2"),
        ({"labelled": "group < 0"}, (), "needs 3 .* but got 0"),
        ({"labelled": "step == 0"}, (), "with 10 networks to adapt to, no labelled network of another"),
        ({"labelled": "group < 4"}, (4,), "networks that its training had, but 3 of the 12 networks"),
        ({"labelled": "colour == 1"}, (), "colour"),
        ({}, tuple(range(30)), "needs 3 .* but got 0, without 30 networks"),
    ],
)
def test_too_few_networks_are_refused(zoo, options, seen, said):
    """One line says what is needed, what was found, and what was left out."""
    with pytest.raises(ZooError, match=said):
        ask(zoo, had(zoo, *seen), **options)
