"""Every false architecture of many networks is refused, and no true one is."""

import itertools
from collections import Counter

import numpy as np
import pytest
from false import is_false, kinds, mistaken
from pool import described, made

from sneframe.errors import ArchitectureError, Unverifiable
from sneframe.symmetry import verify


def survivors(networks, count, seed):
    """Verify ``count`` false architectures; return those that were not refused, and the counts by kind."""
    rng = np.random.default_rng(seed)
    known = [(name, *described(make, example), example) for name, make, example in networks]
    tried, passed = Counter(), []
    for name, module, architecture, example in itertools.cycle(known):
        wrong = mistaken(architecture, rng)
        if wrong is None or not is_false(module, *wrong[:1], example, wrong[2], rng):
            continue
        tried[wrong[1]] += 1
        try:
            verify(module, wrong[0], example, seed=int(rng.integers(1000)))
            passed.append((name, *wrong[1:]))
        except Unverifiable as error:
            passed.append((name, *wrong[1:], str(error)))
        except ArchitectureError:
            pass
        if tried.total() == count:
            return passed, tried
    raise AssertionError


def test_false_architectures_are_refused():
    """Sixty architectures with one mistake each, for a tenth of the networks, are all refused."""
    passed, tried = survivors([*made()][::10], 60, seed=0)
    assert not passed
    assert tried.keys() == kinds().keys()


@pytest.mark.slow
def test_a_thousand_false_architectures_are_refused():
    """A thousand architectures with one mistake each, for a hundred networks, are all refused."""
    networks = [*made()][:100]
    assert len(networks) == 100
    passed, tried = survivors(networks, 1000, seed=1)
    print(dict(tried))  # noqa: T201  # the figures for a report
    assert not passed


@pytest.mark.slow
@pytest.mark.parametrize(("make", "example"), [row[1:] for row in made()], ids=[row[0] for row in made()])
def test_true_architectures_are_verified(make, example):
    """The architecture that is derived for a network is verified at every seed."""
    module, architecture = described(make, example)
    for seed in range(3):
        assert verify(module, architecture, example, seed=seed).error < 1e-10
