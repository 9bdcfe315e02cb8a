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
        own = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(points).kneighbors(points)[0][:, -1]
        usual = float(np.quantile(own, LEVEL))
        return (
            cls(points=points, columns=columns, scale=deviation[columns], usual=usual) if usual > 0 else None
        )

    def distance(self, embeddings: np.ndarray) -> np.ndarray:
        """Return ``(n,)`` distances of ``(n, E)`` embeddings to their k-th neighbour, in units of what is usual."""
        search = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(self.points)
        return np.asarray(search.kneighbors(embeddings[:, self.columns] / self.scale)[0][:, -1] / self.usual)
