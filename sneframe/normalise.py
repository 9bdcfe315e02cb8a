"""Normalise: batch in, batch out; fitted on the training networks only."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from sneframe.batch import Batch
from sneframe.part import Part


class Normalise(Part):
    """Rescales weights; its constants are buffers, saved with the model.

    It ``keeps`` the actions under which what it gives moves as the weights do: a constant for each weight breaks
    ``permute``, any centring breaks ``sign`` and ``scale``.
    """

    slot = "normalise"
    takes = (Batch,)

    @abstractmethod
    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn the constants from the training networks.

        Args:
            batches: each training network once, in batches small enough to be copied; a part that keeps none of
                them can be fitted to a zoo that does not fit into memory.

        Raises:
            PartError: these networks leave a constant undefined.
        """

    @abstractmethod
    def forward(self, batch: Batch) -> Batch:
        """Return the batch with rescaled weights.

        Raises:
            PartError: an architecture the constants say nothing about.
        """
