"""``stats/boosting``: gradient-boosted trees on embeddings."""

from __future__ import annotations

import logging
from typing import final

import torch
from attrs import frozen
from attrs.validators import and_, ge, gt, le, lt
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor

from sneframe.checks import finite
from sneframe.config import option
from sneframe.errors import PartError
from sneframe.head import FittedHead
from sneframe.part import ANY_ACTION, Spec

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
        self.values = spec.values
        self.regressors: list[HistGradientBoostingRegressor] = []

    def fit(self, embeddings: Tensor, targets: Tensor) -> None:
        """Fit to ``(N, E)`` embeddings and ``(N, T)`` targets, and keep both.

        Too few networks for one split make a constant, and a warning: how one tries things out is on a small zoo,
        and scores that are no better than the mean are what such a run has to say.

        Raises:
            PartError: targets of another shape.
        """
        if targets.shape != (len(embeddings), self.values):
            raise PartError(
                f"head {self.name!r} is to be fitted to targets {(len(embeddings), self.values)}, "
                f"got {tuple(targets.shape)}"
            )
        least, given = 2 * self.config.min_leaf, len(embeddings)
        if given < least:
            logger.warning(
                "head %r predicts one constant: two leaves of head.min_leaf = %d need %d training networks, there are %d; "
                "lower head.min_leaf to %d or less",
                *(self.name, self.config.min_leaf, least, given, max(1, given // 2)),
            )
        self.embeddings, self.targets = embeddings, targets
        inputs = embeddings.detach().double().cpu().numpy()
        self.regressors = [
            self._regressor().fit(inputs, column.double().cpu().numpy()) for column in targets.T
        ]

    def forward(self, embedding: Tensor) -> Tensor:
        """Return ``(B, T)`` for ``(B, E)`` embeddings.

        Raises:
            PartError: the head is not fitted.
        """
        if not self.regressors:
            raise PartError(f"head {self.name!r} predicts after it was fitted, it was not")
        inputs = embedding.detach().double().cpu().numpy()
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
