"""Zoos of networks that were trained elsewhere: folders of checkpoints, and the layouts of published zoos."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.hookspecs import hookimpl
from sneframe.zoo.importer import ZooImporter


@hookimpl
def sneframe_zoos() -> Sequence[ZooImporter]:
    """Offer all importers."""
    from sneframe_importers.files import FILES

    return [FILES]
