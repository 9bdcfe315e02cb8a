"""Zoos that can be built here: sine INRs, and the demo zoo."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.hookspecs import hookimpl
from sneframe.zoo.builder import ZooBuilder


@hookimpl
def sneframe_zoos() -> Sequence[ZooBuilder]:
    """Offer the sine zoos."""
    from sneframe_zoos.sine import DEMO, SINE

    return [SINE, DEMO]
