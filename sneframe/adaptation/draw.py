"""Draw the labelled networks to which a run is adapted.

The networks of all other run groups are the test networks.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from sneframe.errors import ZooError, counted
from sneframe.run_folder.training_networks import weight_hashes
from sneframe.zoo import Zoo, open_zoo

FEWEST = 3  #: with fewer run groups, too few are left to fit a slope when one is left out


def remaining(
    zoo: Zoo, had: Set[str], *, networks: int, labelled: str | None, memory: int | None = None
) -> np.ndarray:
    """Return a mask ``(n,)`` of the networks of a selection that the training did not have.

    All networks of a run group are left out if the training had one of them.

    Args:
        zoo: the selection of a zoo. All its networks have the property.
        had: the weight hashes of the networks that the training had.
        networks: how many networks are to be drawn.
        labelled: an expression that names the labelled networks, or None if they are to be drawn.
        memory: bytes that the weights of the whole zoo may take; by default, half of the free memory.

    Raises:
        ZooError: there are too few networks, the training had one that ``labelled`` names, or no network is
            left to test on.
    """
    group = zoo.group
    known = np.isin(group, _known_groups(zoo, had, memory))
    left_out = int(known.sum())
    why = f", without {counted(left_out, 'network')} of run groups that the training had" if left_out else ""
    there = len(np.unique(group[~known]))
    if labelled is None:
        found, needed = min(there, networks), max(FEWEST, networks)
        words = counted(networks, "network")
    else:
        mine = np.isin(zoo.ids, zoo.where(labelled).ids)
        if count := int((known & mine).sum()):
            raise ZooError(
                f"{zoo.path}: a run cannot be adapted to networks that its training had, but {count} of the "
                f"{counted(int(mine.sum()), 'network')} where {labelled} are from run groups that the "
                f"training had"
            )
        found, needed = len(np.unique(group[mine])), FEWEST
        words = counted(int(mine.sum()), "network")
    if found < needed:
        raise ZooError(
            f"{zoo.path}: adapting needs {needed} labelled networks of different run groups, but got "
            f"{found}{why}"
        )
    if found == there:
        raise ZooError(
            f"{zoo.path}: with {words} to adapt to, no labelled network of another run group is left to test "
            f"on{why}; adapt to fewer networks"
        )
    return np.asarray(~known)


def draw(
    zoo: Zoo, predicted: np.ndarray, *, networks: int, labelled: str | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the labelled networks and of the test networks.

    Networks are drawn by :func:`drawn`, so they spread over the predicted values.

    Args:
        zoo: the networks from which to draw, more run groups than ``networks``.
        predicted: the values ``(n,)`` that the run predicts.
        networks: how many networks to draw.
        labelled: an expression that names the labelled networks; see :meth:`sneframe.zoo.Zoo.where`. Then
            nothing is drawn.
        seed: seed of the draw.

    Returns:
        Positions of the labelled networks, and of all networks of other run groups.
    """
    group = zoo.group
    if labelled is None:
        mine = drawn(group, predicted, networks, seed)
    else:
        mine = np.flatnonzero(np.isin(zoo.ids, zoo.where(labelled).ids))
    return mine, np.flatnonzero(~np.isin(group, group[mine]))


def drawn(group: np.ndarray, predicted: np.ndarray, networks: int, seed: int) -> np.ndarray:
    """Return ascending positions of networks of different run groups that spread over the predicted values.

    One random network of each run group is a candidate. The candidates are sorted by their predicted values
    and divided into equal parts, and one network of each part is drawn. No label is read for this.

    Args:
        group: the run group of each network, ``(n,)``.
        predicted: the values ``(n,)`` that the run predicts.
        networks: how many networks to draw, at most the number of run groups.
        seed: seed of the draw.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(group))
    _, first = np.unique(group[shuffled], return_index=True)
    candidates = generator.permutation(shuffled[first])  # equal predictions in random order
    parts = np.array_split(candidates[np.argsort(predicted[candidates], kind="stable")], networks)
    return np.sort([generator.choice(part) for part in parts])


def _known_groups(zoo: Zoo, had: Set[str], memory: int | None) -> np.ndarray:
    """Return the labels of the run groups that hold a network of the training.

    Not only the selection is searched: the training may have had another checkpoint of the same run.
    """
    whole = open_zoo(zoo.path)
    ids = [number for number, found in weight_hashes(whole.load(memory=memory).blocks()) if found in had]
    return np.unique(whole.group[np.isin(whole.ids, ids)])
