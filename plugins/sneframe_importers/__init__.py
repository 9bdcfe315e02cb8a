"""The plugin of zoo importers, for folders of checkpoints and for the file formats of published zoos."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.hookspecs import hookimpl
from sneframe.zoo.importer import ZooImporter


@hookimpl
def sneframe_zoos() -> Sequence[ZooImporter]:
    """Return all zoo importers of this plugin."""
    from sneframe_importers import (
        dng_vit,
        dws_inr,
        files,
        hub,
        model_zoos,
        model_zoos_pt,
        nfn_siren,
        sane,
        small_cnn_zoo,
        transformer_nfn,
        wild_park,
    )

    return [
        files.IMPORTER,
        hub.HUB,
        hub.PEFT,
        small_cnn_zoo.IMPORTER,
        dws_inr.IMPORTER,
        nfn_siren.IMPORTER,
        model_zoos.IMPORTER,
        model_zoos_pt.IMPORTER,
        wild_park.IMPORTER,
        sane.IMPORTER,
        transformer_nfn.IMPORTER,
        dng_vit.IMPORTER,
    ]
