from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from sneframe.report import projection
from sneframe.report.projection import Projection, project


def projected(values: np.ndarray) -> Projection:
    result = project(values)
    assert isinstance(result, Projection)
    return result


def test_pca_finds_the_axes_that_vary() -> None:
    """PCA finds the axes along which the embeddings vary."""
    # The data are rotated, so that no axis of the embedding is a principal axis.
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    latent = rng.normal(size=(60, 2)) * [5.0, 1.0]
    latent -= latent.mean(axis=0)
    found = projected(np.pad(latent, ((0, 0), (0, 4))) @ rotation + 3.0)
    # Singular values of the centred data, by hand.
    u, s, _ = np.linalg.svd(latent, full_matrices=False)
    np.testing.assert_allclose(np.abs(found.pca), np.abs(u * s), atol=1e-9)
    np.testing.assert_allclose(found.fractions, s**2 / (s**2).sum(), atol=1e-12)


def test_tsne_keeps_neighbours_together() -> None:
    """Clusters stay together in the t-SNE map."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(90, 8)) + 10 * rng.normal(size=(3, 8))[np.arange(90) % 3]
    assert trustworthiness(values, projected(values).tsne, n_neighbors=5) > 0.9


def test_the_same_embeddings_give_the_same_maps() -> None:
    """The projection is deterministic."""
    values = np.random.default_rng(2).normal(size=(40, 60))
    first, second = projected(values), projected(values)
    np.testing.assert_array_equal(first.tsne, second.tsne)
    np.testing.assert_array_equal(first.pca, second.pca)


def test_many_networks_are_sub_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there are more than 5000 networks, 5000 are shown."""
    monkeypatch.setattr(projection, "MOST_NETWORKS", 20)
    values = np.random.default_rng(3).normal(size=(50, 4))
    found = projected(values)
    assert len(found.rows) == len(found.pca) == len(found.tsne) == 20
    assert len(np.unique(found.rows)) == 20
    alone = projected(values[found.rows])
    np.testing.assert_allclose(found.pca, alone.pca)


@pytest.mark.parametrize("networks", [5, 6, 31, 200])
def test_the_perplexity_fits_the_number_of_networks(networks: int) -> None:
    """Few networks get a smaller perplexity."""
    found = projected(np.random.default_rng(4).normal(size=(networks, 3)))
    assert 1 < found.perplexity <= 30
    assert 3 * found.perplexity <= networks - 1
    assert np.isfinite(found.tsne).all()


def test_embeddings_on_a_line_can_be_mapped() -> None:
    """Embeddings on a line can be mapped."""
    found = projected(np.outer(np.arange(12.0), np.ones(4)))
    assert np.isfinite(found.tsne).all()
    assert found.fractions == pytest.approx((1.0, 0.0))


@pytest.mark.parametrize(
    ("shape", "reason"), [((4, 8), "4 networks of width 8"), ((9, 1), "9 networks of width 1")]
)
def test_too_little_to_map_gives_a_reason(shape: tuple[int, int], reason: str) -> None:
    """Too few networks or columns give a sentence instead of a map."""
    said = project(np.random.default_rng(5).normal(size=shape))
    assert isinstance(said, str)
    assert reason in said


def test_equal_embeddings_give_a_reason() -> None:
    """Equal embeddings give a sentence instead of a map."""
    assert project(np.full((9, 4), 0.3)) == "All embeddings are the same: there is nothing to map."
