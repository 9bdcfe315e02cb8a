"""Heads that are trained by gradients. One is a linear map, and one is a multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_head.head import LinearHead, MLPHead


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (LinearHead, MLPHead)
