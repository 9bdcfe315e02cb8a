"""The plugin of zoo builders: INRs of sine waves and of images, the demo zoo, and image classifiers."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.hookspecs import hookimpl
from sneframe.zoo.builder import ZooBuilder


@hookimpl
def sneframe_zoos() -> Sequence[ZooBuilder]:
    """Return all zoo builders of this plugin."""
    from sneframe_zoos.classifiers.build import BUILDERS
    from sneframe_zoos.image_inrs import IMAGES
    from sneframe_zoos.lora.build import LORA
    from sneframe_zoos.sine import DEMO, SINE

    return [SINE, DEMO, IMAGES, *BUILDERS, LORA]
