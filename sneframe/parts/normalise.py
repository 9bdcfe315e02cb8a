"""Define the abstract part Normalise, which rescales the weights of a batch.

The constants of a Normalise part are fitted to the training networks only.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch
from sneframe.errors import PartError
from sneframe.parts.part import Part, Spec


class Normalise(Part):
    """Rescales weights with constants. The constants are buffers, which are saved with the model.

    ``keeps`` names the actions under which the output moves as the weights do. If every weight has its own
    constant, the part does not keep ``permute``. If the part subtracts a mean, it does not keep ``sign`` and
    ``scale``.

    ``removes`` names the actions under which the output does not change at all, because the part brings
    networks to a form that such an action does not change. Later parts then need not keep these actions.

    A part that learns constants defines :meth:`learn`, and callers call :meth:`fit`. The buffer ``fitted``
    says whether the part was fitted. As a buffer, it is also in a state dict, in a copy and in a saved model.
    If a part that learns constants was never fitted, its first forward warns.

    A call of the part also gives its result the original weights of the networks, so ``forward`` need not.
    Parts that evaluate a network need them.
    """

    slot = "normalise"
    takes = (Batch,)
    removes: ClassVar[frozenset[str]] = frozenset()

    #: ``()`` bool: whether the constants were fitted.
    fitted: Tensor

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__(config, spec)
        self.register_buffer("fitted", torch.tensor(False))
        self._settled = False  # whether `fitted` was checked: a check on a GPU waits for all earlier work
        self.register_forward_pre_hook(_look)
        self.register_forward_hook(_keep)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "fit" in vars(cls):
            raise TypeError(
                f"{cls.__qualname__} must define learn instead of fit, because fit also sets "
                f"the buffer 'fitted'"
            )

    @final
    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn the constants from the training networks.

        Args:
            batches: batches that contain each training network once, such as those of
                :meth:`sneframe.batch.Batch.blocks`. Each batch must be small enough to be copied. The batches
                are read once, and need not fit into memory together.

        Raises:
            PartError: there is no network, or a constant cannot be computed from the networks.
        """
        found = _Counted(batches)
        self.learn(found)
        if found.ended and not found.networks:
            raise PartError(f"normalise {self.name!r} cannot be fitted to 0 networks")
        self.fitted.fill_(True)
        self._settled = True

    def learn(self, batches: Iterable[Batch]) -> None:
        """Compute the constants and store them. :meth:`fit` calls this method.

        A part without constants does not define this method.
        """

    def warn_unless_fitted(self) -> None:
        """Warn once if the part learns constants but was never fitted.

        Warns:
            UserWarning: the part learns constants but was never fitted.
        """
        if self._settled:
            return
        self._settled = True
        if type(self).learn is not Normalise.learn and not self.fitted:
            warnings.warn(
                f"normalise {self.name!r} was never fitted, so it does not rescale weights as a run does: "
                f"pass the training networks to sneframe.encoder(NAME, networks), "
                f"or call encoder.normalise.fit(batch.blocks())",
                stacklevel=2,
            )

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, *rest)
        self._settled = False  # the part of the state dict may never have been fitted

    @abstractmethod
    def forward(self, batch: Batch) -> Batch:
        """Return the batch with rescaled weights.

        Raises:
            PartError: the part has no constants for an architecture of the batch.
        """

    def leaves_out(self, architecture: Architecture) -> str | None:
        """Say if networks have a linear symmetry that the part does not remove."""
        if "linear" in self.removes or not any("linear" in group.actions for group in architecture.groups):
            return None
        return (
            "low-rank adapters as they are stored, although other factors make the same update; "
            "normalise.part=normalise/canonical-adapter removes this freedom"
        )

    def undo(self, batch: Batch) -> Batch:  # noqa: ARG002  # for parts that can
        """Return the networks whose rescaled weights a batch holds, such as those that a decoder returned.

        Raises:
            PartError: the part cannot undo its rescaling, or has no constants for an architecture.
        """
        raise PartError(f"normalise {self.name!r} cannot undo its rescaling")


class _Counted:
    """Passes on batches and counts their networks.

    ``networks`` is the number of networks so far, and ``ended`` is true after the last batch.
    """

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
    """Warn if a part was never fitted. This hook runs before the forward of the part.

    The hook is a function of the module, so that the part can be pickled.
    """
    assert isinstance(part, Normalise)
    part.warn_unless_fitted()


def _keep(_part: nn.Module, given: tuple[Any, ...], result: Any) -> Any:
    """Give the result of a part the original weights of its networks. This hook runs after the forward.

    A result that is not a batch of the same architectures is left as it is; the encoder refuses it.
    """
    (batch,) = given
    if isinstance(result, Batch) and result.architectures == batch.architectures:
        return result.normalised_from(batch)
    return result
