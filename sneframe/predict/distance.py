"""Embeddings of training networks, by which another network is near or far."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 5  #: k
LEVEL = 0.99  #: of the training networks' own distances, what is far
SMALL = 1e-6  #: of a column's largest value, a deviation below which is rounding


@frozen(kw_only=True, eq=False)
class Reference:
    """Training networks in the space of embeddings, each column divided by its deviation.

    Args:
        points: ``(n, E')`` of the columns that vary.
        columns: ``(E,)`` bool, which these are.
        scale: ``(E',)``.
        usual: the distance to the k-th neighbour that 99 % of the training networks do not exceed.
    """

    points: np.ndarray
    columns: np.ndarray
    scale: np.ndarray
    usual: float

    @classmethod
    def of(cls, embeddings: np.ndarray) -> Reference | None:
        """Return that of ``(n, E)`` embeddings; None where they are too few or all the same."""
        if len(embeddings) <= NEIGHBOURS:
            return None
        deviation = embeddings.std(0)
        columns = deviation > SMALL * np.abs(embeddings).max(0)
        if not columns.any():
            return None
        points = embeddings[:, columns] / deviation[columns]
        # Each is its own nearest neighbour.
        _, own = nearest(points, points, NEIGHBOURS + 1)
        usual = float(np.quantile(own[:, -1], LEVEL))
        return (
            cls(points=points, columns=columns, scale=deviation[columns], usual=usual) if usual > 0 else None
        )

    def distance(self, embeddings: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` distances of ``(n, E)`` embeddings to their k-th neighbour, in units of what is usual."""
        _, found = nearest(self.points, embeddings[:, self.columns] / self.scale, NEIGHBOURS)
        return np.asarray(found[:, -1] / self.usual)


def nearest(points: np.ndarray, asked: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each of ``(m, E)`` what of ``(n, E)`` points is nearest to it, the nearest first.

    Of points at the same distance the one that comes first in ``points`` is first.

    Args:
        points: that are searched; at least k.
        asked: whose neighbours are wanted.
        k: how many.

    Returns:
        ``(m, k)`` positions in ``points``, and ``(m, k)`` Euclidean distances.
    """
    search = NearestNeighbors(n_neighbors=k).fit(points)
    places = np.sort(search.kneighbors(asked, return_distance=False), axis=1)
    # scikit-learn takes |a|² − 2ab + |b|², in which digits cancel: a point is not at distance 0 from itself.
    found = np.stack([np.linalg.norm(points[column] - asked, axis=1) for column in places.T], axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(found, order, axis=1)
