"""``stats/boosting``, ``stats/ridge`` and ``stats/mean``: boosted trees, ridge regression, and the mean."""

from __future__ import annotations

import logging
from typing import final

import numpy as np
import torch
from attrs import frozen
from attrs.validators import and_, ge, gt, le, lt
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from sneframe.config.schema import option
from sneframe.config.validators import finite
from sneframe.errors import PartError
from sneframe.parts.head import FittedHead
from sneframe.parts.part import ANY_ACTION, Spec

logger = logging.getLogger(__name__)


@final
class Boosting(FittedHead):
    """scikit-learn's histogram gradient boosting, one regressor per value.

    In the place of the LightGBM of Unterthiner et al. (arXiv 2002.11448), whose algorithm it shares. It is
    fitted on the training networks alone, without early stopping.
    """

    name = "stats/boosting"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """Options."""

        trees: int = option(500, "boosting rounds", check=ge(1))
        lr: float = option(0.05, "shrinkage of every tree", check=and_(gt(0), finite))
        leaves: int = option(31, "largest number of leaves of a tree", check=ge(2))
        min_leaf: int = option(20, "smallest number of networks in a leaf", check=ge(1))
        features: float = option(
            0.5, "fraction of the features drawn for every split", check=and_(gt(0), le(1))
        )
        l2: float = option(0.0, "L2 penalty of the leaves' values", check=and_(ge(0), finite))
        seed: int = option(0, "of the draws of features", check=and_(ge(0), lt(2**32)))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.regressors: list[HistGradientBoostingRegressor] = []

    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit to ``(N, E)`` embeddings and ``(N, T)`` targets, and keep both.

        Too few networks for one split make a constant, and a warning: how one tries things out is on a small zoo,
        and scores that are no better than the mean are what such a run has to say.

        Raises:
            PartError: targets of another shape.
        """
        inputs, columns = self.keep(embeddings, targets)
        least, given = 2 * self.config.min_leaf, len(embeddings)
        if given < least:
            logger.warning(
                "head %r predicts one constant: two leaves of head.min_leaf = %d need %d training networks, there are %d; "
                "lower head.min_leaf to %d or less",
                *(self.name, self.config.min_leaf, least, given, max(1, given // 2)),
            )
        self.regressors = [self._regressor().fit(inputs, column) for column in columns.T]

    def forward(self, embedding: Tensor) -> Tensor:
        """Return ``(B, T)`` for ``(B, E)`` embeddings.

        Raises:
            PartError: the head is not fitted.
        """
        inputs = self.inputs(embedding)
        columns = [torch.from_numpy(regressor.predict(inputs)) for regressor in self.regressors]
        return torch.stack(columns, dim=1).to(embedding)

    def _regressor(self) -> HistGradientBoostingRegressor:
        config = self.config
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
    """The mean of the training targets, whatever is asked: what a method must beat to have learnt anything."""

    name = "stats/mean"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.mean: np.ndarray | None = None

    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit to ``(N, T)`` targets, and keep them with their ``(N, E)`` embeddings.

        Raises:
            PartError: targets of another shape.
        """
        self.mean = self.keep(embeddings, targets)[1].mean(axis=0)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return ``(B, T)``, all rows alike.

        Raises:
            PartError: the head is not fitted.
        """
        rows = len(self.inputs(embedding))
        assert self.mean is not None
        return torch.from_numpy(np.tile(self.mean, (rows, 1))).to(embedding)


@final
class Ridge(FittedHead):
    """scikit-learn's ridge regression, with the penalty that predicts best what was left out.

    Every feature is brought to mean 0 and deviation 1 over the training networks; one that is constant there is left out
    of account. The penalty is taken from a grid, for each value by itself: the one with the smallest squared error on each
    training network when the others are fitted (leave one out, in closed form). As HyperRep and SANE have it behind
    their statistics and embeddings (Schürholt et al., arXiv 2110.15288).
    """

    name = "stats/ridge"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """Options."""

        smallest: float = option(
            1e-3, "the smallest penalty of the grid, on standardised features", check=and_(gt(0), finite)
        )
        largest: float = option(1e5, "the largest", check=and_(gt(0), finite))
        penalties: int = option(25, "how many, equally spaced in their logarithm", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if config.smallest > config.largest:
            raise PartError(
                f"{self.slot} {self.name!r}: smallest must not be above largest, got smallest = {config.smallest:g} and "
                f"largest = {config.largest:g}"
            )
        self.regressor: Pipeline | None = None

    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit to ``(N, E)`` embeddings and ``(N, T)`` targets, and keep both.

        Raises:
            PartError: targets of another shape, or fewer than two networks.
        """
        inputs, columns = self.keep(embeddings, targets)
        if len(inputs) < 2:
            raise PartError(
                f"head {self.name!r} leaves one network out, so it needs two to fit, got {len(inputs)}"
            )
        config = self.config
        grid = np.geomspace(config.smallest, config.largest, config.penalties)
        self.regressor = make_pipeline(StandardScaler(), RidgeCV(grid, alpha_per_target=True))
        self.regressor.fit(inputs, columns)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return ``(B, T)`` for ``(B, E)`` embeddings.

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
            raise PartError(f"head {self.name!r} has a penalty after it was fitted, it was not")
        return np.atleast_1d(self.regressor[-1].alpha_)
