"""Define a prediction for one network: its values, the run's test error, and the doubts about the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.predict.doubt import Doubt, doubtful, worst
from sneframe.predict.interval import PredictionInterval
from sneframe.predict.tested import Tested


class DoubtWarning(UserWarning):
    """A warning that a prediction should not be trusted, with the reason."""


@frozen(kw_only=True, eq=False)
class Prediction:
    """The prediction of a run for one network.

    Every network gets values. ``doubtful`` says whether the values should not be used, and ``doubts`` says
    why.

    Args:
        source: the name of the network's file, or the kind of object it was.
        values: a number in the property's unit, or a label, by property.
        intervals: for each property the limits between which its true value lies, or the reason why there are
            none. A doubtful network has none.
        tested: the run's error on its test networks by property. The error does not apply to a doubtful
            network. It is missing for a property without test networks, and if the run has not finished.
        embedding: the embedding ``(E,)``, float32.
        distance: the distance to the nearest training networks. 1 is the distance within which 99 % of the
            training networks have their own neighbours. None if the run kept no embeddings of its training
            networks.
        doubts: how the network differs from all training networks, the worst difference first.
        unseen: types of parameters, such as ``conv2d.weight``, that no training network has.
        symmetry: where the knowledge about the neurons of the network comes from, see
            :class:`~sneframe.architecture.Architecture`.
        sampled: whether only a sample of the weights was read, because the network is very large.
    """

    source: str
    values: Mapping[str, Any]
    intervals: Mapping[str, PredictionInterval]
    tested: Mapping[str, Tested]
    embedding: np.ndarray
    distance: float | None
    doubts: tuple[Doubt, ...]
    unseen: tuple[str, ...]
    symmetry: str
    sampled: bool = False

    @property
    def far(self) -> bool:
        """Whether the embedding is far from the embeddings of all training networks."""
        return self.distance is not None and self.distance > 1

    @property
    def doubtful(self) -> bool:
        """Whether a doubt is more than mild, so that the values are guesses or meaningless."""
        return doubtful(self.doubts)

    @property
    def verdict(self) -> str:
        """The worst doubt in a word: ``like-training`` (none), ``mild``, ``doubtful``, ``meaningless``."""
        grade = worst(self.doubts)
        return {None: "like-training", "serious": "doubtful"}.get(grade, str(grade))
