"""Which networks are drawn, which are left out, and which draws are refused."""

import numpy as np
import pytest

from sneframe.adaptation.draw import draw
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


def test_one_network_of_each_of_several_run_groups_is_drawn(zoo):
    """No run group is in both parts, and the test has all networks of the other run groups."""
    drawn = draw(zoo, NONE, networks=4, labelled=None, seed=0)
    mine, other = zoo.group[drawn.labelled], zoo.group[drawn.test]
    assert len(mine) == len(set(mine.tolist())) == 4
    assert not set(mine.tolist()) & set(other.tolist())
    assert len(other) == 18
    assert drawn.left_out == 0


def test_a_larger_draw_contains_the_smaller_one(zoo):
    """Five networks are three networks and two more; another seed draws others."""
    three, five, other = (
        set(draw(zoo, NONE, networks=number, labelled=None, seed=seed).labelled.tolist())
        for number, seed in ((3, 0), (5, 0), (5, 1))
    )
    assert three < five
    assert five != other


def test_run_groups_of_the_training_are_left_out(zoo):
    """A run group with one network that the training had is in no part."""
    drawn = draw(zoo, had(zoo, 0, 29), networks=3, labelled=None, seed=0)
    used = set(zoo.group[np.concatenate([drawn.labelled, drawn.test])].tolist())
    assert used == set(range(1, 9))
    assert drawn.left_out == 6


def test_a_checkpoint_outside_of_the_selection_counts(zoo):
    """The training had the first network of a run group, and the last ones are selected."""
    drawn = draw(zoo.where("step == 2"), had(zoo, 0), networks=3, labelled=None, seed=0)
    assert drawn.left_out == 1
    assert 0 not in np.concatenate([drawn.labelled, drawn.test])


def test_the_named_networks_are_used(zoo):
    """All networks of a named run group are labelled, and the others are for the test."""
    drawn = draw(zoo, NONE, networks=99, labelled="group in (2, 5, 7) and step > 0", seed=0)
    assert drawn.labelled.tolist() == [7, 8, 16, 17, 22, 23]
    assert len(drawn.test) == 21


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
        draw(zoo, had(zoo, *seen), **{"networks": 3, "labelled": None, "seed": 0, **options})
