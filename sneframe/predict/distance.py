"""Measure how far an embedding lies from the embeddings of the training networks."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 5  #: k: a distance is measured to the k-th nearest training network
#: A network is far if its distance exceeds this quantile of the distances of the training networks.
LEVEL = 0.99
SMALL = 1e-6  #: a standard deviation below this fraction of a column's largest value is rounding error


@frozen(kw_only=True, eq=False)
class Reference:
    """The embeddings of training networks, each column divided by its standard deviation.

    Args:
        points: the scaled embeddings, ``(n, E')``, of the ``E'`` columns that vary.
        columns: a mask ``(E,)`` of the columns that vary.
        scale: the standard deviations ``(E',)``.
        usual: the distance within which 99 % of the training networks have their k-th neighbour.
    """

    points: np.ndarray
    columns: np.ndarray
    scale: np.ndarray
    usual: float

    @classmethod
    def of(cls, embeddings: np.ndarray) -> Reference | None:
        """Return the reference for ``(n, E)`` embeddings, or None if they are too few or too alike."""
        if len(embeddings) <= NEIGHBOURS:
            return None
        std = embeddings.std(0)
        columns = std > SMALL * np.abs(embeddings).max(0)
        if not columns.any():
            return None
        points = embeddings[:, columns] / std[columns]
        # Each point is its own nearest neighbour, hence the + 1.
        _, own = nearest(points, points, NEIGHBOURS + 1)
        usual = float(np.quantile(own[:, -1], LEVEL))
        return cls(points=points, columns=columns, scale=std[columns], usual=usual) if usual > 0 else None

    def distance(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the distance of each embedding to its k-th nearest training network, in units of ``usual``.

        The embeddings are ``(n, E)``, the distances ``(n,)``.
        """
        _, found = nearest(self.points, embeddings[:, self.columns] / self.scale, NEIGHBOURS)
        return np.asarray(found[:, -1] / self.usual)


def nearest(points: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest points of each query, the nearest first.

    Points at the same distance keep their order in ``points``.

    Args:
        points: the points ``(n, E)`` that are searched; n is at least k.
        queries: the points ``(m, E)`` whose neighbours are wanted.
        k: the number of neighbours.

    Returns:
        ``(m, k)`` positions in ``points``, and ``(m, k)`` Euclidean distances.
    """
    search = NearestNeighbors(n_neighbors=k).fit(points)
    positions = np.sort(search.kneighbors(queries, return_distance=False), axis=1)
    # scikit-learn computes |a|² − 2ab + |b|², in which digits cancel: a point is not at distance 0 from
    # itself.
    found = np.stack([np.linalg.norm(points[column] - queries, axis=1) for column in positions.T], axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    return np.take_along_axis(positions, order, axis=1), np.take_along_axis(found, order, axis=1)
