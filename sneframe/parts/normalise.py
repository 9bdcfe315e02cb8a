"""Normalise: rescales the weights of a batch; fitted to the training networks only."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from sneframe.batch import Batch
from sneframe.errors import PartError
from sneframe.parts.part import Part, Spec


class Normalise(Part):
    """Rescales weights. Its constants are buffers, which are saved with the model.

    It ``keeps`` the actions under which its output moves as the weights do: a constant for each weight breaks
    ``permute``, and any centring breaks ``sign`` and ``scale``.

    A part that learns constants defines :meth:`learn`; callers use :meth:`fit`. Whether the part was fitted
    is a buffer too, so a state dict, a copy and a saved model know it. If a part that learns constants was
    never fitted, its first forward warns, once.
    """

    slot = "normalise"
    takes = (Batch,)

    #: ``()`` bool: whether the constants were fitted.
    fitted: Tensor

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_buffer("fitted", torch.tensor(False))
        self._settled = False  # whether `fitted` was checked; reading it on a GPU waits for all earlier work
        self.register_forward_pre_hook(_look)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "fit" in vars(cls):
            raise TypeError(f"{cls.__qualname__} must define learn, not fit: fit notes that it was called")

    @final
    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn the constants from the training networks.

        Args:
            batches: each training network once, in batches that are small enough to be copied, such as those
                of :meth:`sneframe.batch.Batch.blocks`. They are read once, and need not fit into memory
                together.

        Raises:
            PartError: there is no network, or these networks leave a constant undefined.
        """
        found = _Counted(batches)
        self.learn(found)
        if found.ended and not found.networks:
            raise PartError(f"normalise {self.name!r} cannot be fitted, it was given no network")
        self.fitted.fill_(True)
        self._settled = True

    def learn(self, batches: Iterable[Batch]) -> None:
        """Set the constants; :meth:`fit` calls this. A part without constants leaves it out."""

    def warn_unless_fitted(self) -> None:
        """Warn, once, if the constants are still those that the part was built with.

        Warns:
            UserWarning: the part learns constants, and was never fitted.
        """
        if self._settled:
            return
        self._settled = True
        if type(self).learn is not Normalise.learn and not self.fitted:
            warnings.warn(
                f"normalise {self.name!r} was never fitted, so it does not rescale as a run does: "
                f"give the training networks to sneframe.encoder(NAME, networks), "
                f"or call encoder.normalise.fit(batch.blocks())",
                stacklevel=2,
            )

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, *rest)
        self._settled = False  # the state dict may be that of a part that was never fitted

    @abstractmethod
    def forward(self, batch: Batch) -> Batch:
        """Return the batch with rescaled weights.

        Raises:
            PartError: there are no constants for an architecture.
        """


class _Counted:
    """Passes batches on and counts their networks; an iterator that was read before has none."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = batches
        self.networks = 0
        self.ended = False

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            self.networks += len(batch)
            yield batch
        self.ended = True


def _look(part: nn.Module, _given: object) -> None:
    """Warn of an unfitted part before its forward. This is a function so that the part can be pickled."""
    assert isinstance(part, Normalise)
    part.warn_unless_fitted()
