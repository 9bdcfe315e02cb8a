"""Draw the labelled networks to which a run is adapted. All others are the test networks."""

from __future__ import annotations

from collections.abc import Set

import numpy as np
from attrs import frozen

from sneframe.errors import ZooError, counted
from sneframe.run_folder.training_networks import weight_hashes
from sneframe.zoo import Zoo, open_zoo

FEWEST = 3  #: with fewer run groups nothing can be left out and a slope still be fitted


@frozen(kw_only=True, eq=False)
class LabelledSplit:
    """Positions of networks in a selection of a zoo.

    Args:
        labelled: positions of the networks to adapt to.
        test: positions of the test networks. No run group has networks in both.
        left_out: number of networks of the selection that are in neither because the training had networks
            of their run groups.
    """

    labelled: np.ndarray
    test: np.ndarray
    left_out: int


def draw(zoo: Zoo, had: Set[str], *, networks: int, labelled: str | None, seed: int) -> LabelledSplit:
    """Draw the networks to adapt to: one network of each of several run groups, or those that are named.

    Args:
        zoo: the selection of a zoo. All its networks have the property.
        had: the weight hashes of the networks that the training had. All networks of their run groups are
            left out.
        networks: how many networks to draw. With the same seed, the networks of a smaller draw are among
            those of a larger one.
        labelled: an expression that names the networks to adapt to; see :meth:`sneframe.zoo.Zoo.where`. Then
            nothing is drawn.
        seed: seed of the draw.

    Raises:
        ZooError: there are too few networks, the training had one that ``labelled`` names, or no network is
            left to test on.
    """
    group = zoo.group
    known = np.isin(group, _known_groups(zoo, had))
    left_out = int(known.sum())
    why = f", without {counted(left_out, 'network')} of run groups that the training had" if left_out else ""
    if labelled is None:
        mine, needed = _one_of_each(np.flatnonzero(~known), group, networks, seed), max(FEWEST, networks)
    else:
        mine, needed = np.flatnonzero(np.isin(zoo.ids, zoo.where(labelled).ids)), FEWEST
        if count := int(known[mine].sum()):
            raise ZooError(
                f"{zoo.path}: a run cannot be adapted to networks that its training had, but {count} of the "
                f"{counted(len(mine), 'network')} where {labelled} are from run groups that the training had"
            )
    if (found := len(np.unique(group[mine]))) < needed:
        raise ZooError(
            f"{zoo.path}: adapting needs {needed} labelled networks of different run groups, but got "
            f"{found}{why}"
        )
    test = np.flatnonzero(~np.isin(group, group[mine]) & ~known)
    if not len(test):
        raise ZooError(
            f"{zoo.path}: with {counted(len(mine), 'network')} to adapt to, no labelled network of another "
            f"run group is left to test on{why}; adapt to fewer networks"
        )
    return LabelledSplit(labelled=mine, test=test, left_out=left_out)


def _one_of_each(rows: np.ndarray, group: np.ndarray, networks: int, seed: int) -> np.ndarray:
    """Draw a network of each of ``networks`` run groups, or of all if there are fewer."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(rows)
    _, first = np.unique(group[shuffled], return_index=True)  # one random network of each run group
    return np.sort(generator.permutation(shuffled[first])[:networks])


def _known_groups(zoo: Zoo, had: Set[str]) -> np.ndarray:
    """Return the labels of the run groups that hold a network of the training.

    Not only the selection is searched: the training may have had another checkpoint of the same run.
    """
    whole = open_zoo(zoo.path)
    ids = [number for number, found in weight_hashes(whole.load().blocks()) if found in had]
    return np.unique(whole.group[np.isin(whole.ids, ids)])
