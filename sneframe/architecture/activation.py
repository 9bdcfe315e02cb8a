"""Read an activation as a user states it: a name, and for a sine the factor inside, such as ``sine:30``."""

from __future__ import annotations

import math

from attrs import frozen

from sneframe.architecture.operations import KNOWN_ACTIVATIONS
from sneframe.errors import ArchitectureError, choices

#: Activations of which the factor must be known: sin(30 z) is another function than sin(z).
PERIODIC = ("sine", "cosine")


@frozen(kw_only=True)
class StatedActivation:
    """An activation that a user states for the hidden layers of a network.

    Args:
        name: one of the known activations.
        factor: the number that multiplies the input of the activation. None if it is not known. For an
            activation that is not periodic, None means 1.
    """

    name: str
    factor: float | None = None

    @property
    def attributes(self) -> dict[str, float]:
        """The attributes of a layer that this activation follows."""
        return {} if self.factor is None else {"factor": self.factor}


def stated_activation(text: str | None) -> StatedActivation | None:
    """Read ``NAME`` or ``NAME:FACTOR``. None stays None.

    Raises:
        ArchitectureError: the name is not known, or the factor is not a finite number other than 0.
    """
    if text is None:
        return None
    name, colon, number = text.partition(":")
    if name not in KNOWN_ACTIVATIONS:
        raise ArchitectureError(f"there is no activation {name!r}, {choices(name, KNOWN_ACTIVATIONS)}")
    if not colon:
        return StatedActivation(name=name)
    try:
        factor = float(number)
    except ValueError:
        factor = math.nan
    if name not in PERIODIC or not math.isfinite(factor) or factor == 0:
        raise ArchitectureError(
            f"an activation must be NAME, or sine:FACTOR or cosine:FACTOR with a number other than 0, but "
            f"got {text!r}"
        )
    return StatedActivation(name=name, factor=factor)
