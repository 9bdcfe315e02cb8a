"""What a run says of one network: values, their error, and in what the network differs from those of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.predict.doubt import GRADES, Doubt, worst
from sneframe.predict.tested import Tested


class DoubtWarning(UserWarning):
    """Why a prediction is not to be trusted."""


@frozen(kw_only=True, eq=False)
class Prediction:
    """What a run says of one network.

    A value is given whatever the network is; ``doubtful`` says whether it may be used, ``doubts`` why it may not.

    Args:
        source: the file, or what else it was.
        values: by property, in its unit: a number, or a label.
        tested: by property, the run's error on its test networks. It says nothing of a network that is doubtful. A property
            without test networks, and a run that has not finished, have none.
        embedding: ``(E,)`` float32.
        distance: to its nearest training networks, 1 where 99 % of these are nearer to each other; None for a run that kept
            no embeddings of its training networks.
        doubts: in what the network differs from all training networks, the worst first.
        unseen: types of parameters, such as ``conv2d.weight``, that no training network has.
        symmetry: where what is known of its neurons comes from, see :class:`~sneframe.architecture.Architecture`.
    """

    source: str
    values: Mapping[str, Any]
    tested: Mapping[str, Tested]
    embedding: np.ndarray
    distance: float | None
    doubts: tuple[Doubt, ...]
    unseen: tuple[str, ...]
    symmetry: str

    @property
    def far(self) -> bool:
        """Whether its embedding is unlike those of all training networks."""
        return self.distance is not None and self.distance > 1

    @property
    def doubtful(self) -> bool:
        """Whether its values are guesses, or meaningless: whether there is more than a mild doubt."""
        return worst(self.doubts) in GRADES[1:]

    @property
    def verdict(self) -> str:
        """One word: ``like-training``, ``mild`` (it lies between training networks), ``doubtful`` or ``meaningless``."""
        grade = worst(self.doubts)
        return {None: "like-training", "serious": "doubtful"}.get(grade, str(grade))
