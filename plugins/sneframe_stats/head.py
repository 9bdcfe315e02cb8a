"""``stats/boosting``, ``stats/ridge`` and ``stats/mean`` are heads that are fitted to embeddings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from attrs import frozen
from attrs.validators import and_, ge, gt, le, lt
from torch import Tensor

from sneframe.config.schema import option
from sneframe.config.validators import finite
from sneframe.errors import PartError
from sneframe.parts.head import FittedHead
from sneframe.parts.part import ANY_ACTION, Spec

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)


@final
class Boosting(FittedHead):
    """Predicts by histogram-based gradient boosting from scikit-learn. Each value has its own trees.

    Unterthiner et al. (arXiv 2002.11448) use LightGBM, which implements the same algorithm. The trees are
    fitted to the training networks only, without early stopping.
    """

    name = "stats/boosting"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """Options."""

        trees: int = option(500, "number of boosting rounds", check=ge(1))
        lr: float = option(
            0.05,
            "learning rate: the factor by which the values of every tree shrink",
            check=and_(gt(0), finite),
        )
        leaves: int = option(31, "largest number of leaves of a tree", check=ge(2))
        min_leaf: int = option(20, "smallest number of training networks in a leaf", check=ge(1))
        features: float = option(
            0.5, "fraction of the features drawn for every split", check=and_(gt(0), le(1))
        )
        l2: float = option(0.0, "L2 penalty on the values of leaves", check=and_(ge(0), finite))
        seed: int = option(0, "seed for drawing features", check=and_(ge(0), lt(2**32)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.regressors: list[HistGradientBoostingRegressor] = []

    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit to embeddings ``(N, E)`` and targets ``(N, T)``, and store both.

        If there are too few networks for a single split, the head predicts a constant and warns. It raises no
        error, because first trials use small zoos, and the scores of such a run show that it predicts no
        better than the mean.

        Raises:
            PartError: the targets do not have the shape ``(N, T)``.
        """
        inputs, columns = self.keep(embeddings, targets)
        needed, count = 2 * self.config.min_leaf, len(embeddings)
        if count < needed:
            logger.warning(
                "head %r predicts a constant: two leaves with head.min_leaf = %d need %d training networks, "
                "but got %d; lower head.min_leaf to %d or less",
                *(self.name, self.config.min_leaf, needed, count, max(1, count // 2)),
            )
        self.regressors = [self._regressor().fit(inputs, column) for column in columns.T]

    def forward(self, embedding: Tensor) -> Tensor:
        """Return predictions ``(B, T)`` for embeddings ``(B, E)``.

        Raises:
            PartError: the head is not fitted.
        """
        inputs = self.inputs(embedding)
        columns = [torch.from_numpy(regressor.predict(inputs)) for regressor in self.regressors]
        return torch.stack(columns, dim=1).to(embedding)

    def _regressor(self) -> HistGradientBoostingRegressor:
        config = self.config
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(
            max_iter=config.trees,
            learning_rate=config.lr,
            max_leaf_nodes=config.leaves,
            min_samples_leaf=config.min_leaf,
            max_features=config.features,
            l2_regularization=config.l2,
            early_stopping=False,
            random_state=config.seed,
        )


@final
class Mean(FittedHead):
    """Predicts the mean of the training targets for every network. Any method must beat this baseline."""

    name = "stats/mean"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.mean: np.ndarray | None = None

    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit to targets ``(N, T)``, and store the targets and the embeddings ``(N, E)``.

        Raises:
            PartError: the targets do not have the shape ``(N, T)``.
        """
        self.mean = self.keep(embeddings, targets)[1].mean(axis=0)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return predictions ``(B, T)``. All rows are equal.

        Raises:
            PartError: the head is not fitted.
        """
        rows = len(self.inputs(embedding))
        assert self.mean is not None
        return torch.from_numpy(np.tile(self.mean, (rows, 1))).to(embedding)


@final
class Ridge(FittedHead):
    """Predicts by ridge regression from scikit-learn. Leave-one-out cross-validation chooses the penalty.

    Each feature is standardised to mean 0 and standard deviation 1 over the training networks. A feature that
    is constant over these networks has no effect. For each penalty of a grid, each training network is
    predicted from all others, which has a closed form. The penalty with the smallest squared error is chosen,
    for each value separately. HyperRep and SANE predict from their statistics and embeddings in this way
    (Schürholt et al., arXiv 2110.15288).
    """

    name = "stats/ridge"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """Options."""

        smallest: float = option(
            1e-3, "smallest penalty of the grid, on standardised features", check=and_(gt(0), finite)
        )
        largest: float = option(1e5, "largest penalty of the grid", check=and_(gt(0), finite))
        penalties: int = option(
            25, "number of penalties in the grid, equally spaced in their logarithm", check=ge(1)
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.smallest > config.largest:
            raise PartError(
                f"{self.slot} {self.name!r}: the option 'smallest' ({config.smallest:g}) must not exceed "
                f"'largest' ({config.largest:g})"
            )
        self.regressor: Pipeline | None = None

    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit to embeddings ``(N, E)`` and targets ``(N, T)``, and store both.

        Raises:
            PartError: the targets do not have the shape ``(N, T)``, or there are fewer than two networks.
        """
        inputs, columns = self.keep(embeddings, targets)
        if len(inputs) < 2:
            raise PartError(
                f"head {self.name!r} needs at least two training networks, to leave one out, "
                f"but got {len(inputs)}"
            )
        config = self.config
        grid = np.geomspace(config.smallest, config.largest, config.penalties)
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.regressor = make_pipeline(StandardScaler(), RidgeCV(grid, alpha_per_target=True))
        self.regressor.fit(inputs, columns)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return predictions ``(B, T)`` for embeddings ``(B, E)``.

        Raises:
            PartError: the head is not fitted.
        """
        inputs = self.inputs(embedding)
        assert self.regressor is not None
        predicted = np.reshape(self.regressor.predict(inputs), (len(inputs), self.values))
        return torch.from_numpy(predicted).to(embedding)

    @property
    def penalty(self) -> np.ndarray:
        """The chosen penalty of each value, ``(T,)``.

        Raises:
            PartError: the head is not fitted.
        """
        if self.regressor is None:
            raise PartError(f"head {self.name!r} is not fitted, so it has no penalty yet")
        return np.atleast_1d(self.regressor[-1].alpha_)
