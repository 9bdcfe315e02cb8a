"""Project embeddings to two maps: PCA, which is linear, and t-SNE, which keeps neighbours together."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

SEED = 0
MOST_NETWORKS = 5000
MOST_WIDTH = 50
FEWEST_NETWORKS = 5
DIGITS = 5  #: decimals of a coordinate that is written to a file


@frozen(kw_only=True, eq=False)
class Projection:
    """Positions of networks on both maps.

    Args:
        rows: ``(n,)`` indices of the embeddings that are shown.
        pca: ``(n, 2)`` coordinates.
        fractions: fraction of the variance along each axis of ``pca``.
        tsne: ``(n, 2)`` coordinates.
        perplexity: perplexity of ``tsne``.
    """

    rows: np.ndarray
    pca: np.ndarray
    fractions: tuple[float, float]
    tsne: np.ndarray
    perplexity: float


def project(values: np.ndarray) -> Projection | str:
    """Project ``(N, E)`` embeddings, or return a sentence that says why there is no map.

    If there are more than 5000 networks, 5000 of them are drawn at random.
    t-SNE uses at most 50 principal components.
    """
    if len(values) < FEWEST_NETWORKS or values.shape[1] < 2:
        return (
            f"A map needs at least {FEWEST_NETWORKS} networks and an embedding width of 2; "
            f"there are {len(values)} networks of width {values.shape[1]}."
        )
    if np.ptp(values, axis=0).max() == 0:
        return "All embeddings are the same: there is nothing to map."
    rows = np.arange(len(values))
    if len(rows) > MOST_NETWORKS:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, MOST_NETWORKS, replace=False))
    pca = PCA(n_components=min(MOST_WIDTH, len(rows), values.shape[1]), random_state=SEED)
    components = pca.fit_transform(values[rows])
    # t-SNE looks at 3 × perplexity neighbours of a network, which must be fewer than the networks.
    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = TSNE(init="pca", perplexity=perplexity, random_state=SEED).fit_transform(components)
    first, second = pca.explained_variance_ratio_[:2]
    return Projection(
        rows=rows,
        pca=components[:, :2],
        fractions=(float(first), float(second)),
        tsne=tsne,
        perplexity=perplexity,
    )


def unit(points: np.ndarray) -> list[list[float]]:
    """Return ``(n, 2)`` points scaled to [0, 1] along each axis, so that a map fills its box."""
    low, span = points.min(0), np.ptp(points, axis=0)
    scaled = np.where(span > 1e-12, (points - low) / np.maximum(span, 1e-12), 0.5)
    return [[float(x), float(y)] for x, y in np.round(scaled, DIGITS)]
