"""Normalise: batch in, batch out; fitted on the training networks only."""

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
    """Rescales weights; its constants are buffers, saved with the model.

    It ``keeps`` the actions under which what it gives moves as the weights do: a constant for each weight breaks
    ``permute``, any centring breaks ``sign`` and ``scale``.

    A part that learns constants defines :meth:`learn`, and is called through :meth:`fit`. Whether it was fitted is a
    buffer of its own, so a state dict, a copy and a saved model say it too. The first forward of a part that learns
    constants and was never fitted warns, once.
    """

    slot = "normalise"
    takes = (Batch,)

    #: ``()`` bool: whether the constants were fitted.
    fitted: Tensor

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_buffer("fitted", torch.tensor(False))
        self._settled = False  # whether it was looked at, which on a GPU waits for all that was asked of it
        self.register_forward_pre_hook(_look)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "fit" in vars(cls):
            raise TypeError(
                f"{cls.__qualname__} defines fit, which is to note that it was called; define learn"
            )

    @final
    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn the constants from the training networks.

        Args:
            batches: each training network once, in batches small enough to be copied, as
                :meth:`sneframe.batch.Batch.blocks` gives them; they are read once and need not fit into memory together.

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
        """Set the constants; a part without any leaves this out. Called by :meth:`fit`, whose arguments it has."""

    def warn_unless_fitted(self) -> None:
        """Warn, once, where the constants are those that the part was made with.

        Warns:
            UserWarning: the part learns constants, and was never fitted.
        """
        if self._settled:
            return
        self._settled = True
        if type(self).learn is not Normalise.learn and not self.fitted:
            warnings.warn(
                f"normalise {self.name!r} was never fitted, so it does not rescale as a run does: give the training "
                f"networks to sneframe.encoder(NAME, networks), or call encoder.normalise.fit(batch.blocks())",
                stacklevel=2,
            )

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, *rest)
        self._settled = False  # the tensors may be those of a part that was never fitted

    @abstractmethod
    def forward(self, batch: Batch) -> Batch:
        """Return the batch with rescaled weights.

        Raises:
            PartError: an architecture the constants say nothing about.
        """


class _Counted:
    """Passes batches on, and counts their networks: an iterator that was read before gives none."""

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
    """Warn of an unfitted part before its forward; a function, so that a part with it can be pickled."""
    assert isinstance(part, Normalise)
    part.warn_unless_fitted()
