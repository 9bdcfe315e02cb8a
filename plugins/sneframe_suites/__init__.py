"""Suites that compare methods, and a suite for each table and figure of the SNE paper.

On sine INRs they compare methods, amounts of training data, ablations of SNE and of ``sne/probe``, and chunk
sizes. On INRs of images they compare methods that classify the image. On CNNs they compare methods that
predict the accuracy or the hyper-parameters of the training, and ablations of ``sne/probe``. On low-rank
adapters they compare methods with and without the canonical form of the factors.
"""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.config.suite import Suite
from sneframe.hookspecs import hookimpl


@hookimpl
def sneframe_suites() -> Sequence[Suite]:
    from sneframe_suites.adapters import ADAPTER_ACCURACY, ADAPTER_CLASSES
    from sneframe_suites.classifier import ACCURACY, TRAINING
    from sneframe_suites.inr import DATA_EFFICIENCY, FREQUENCY, IMAGES
    from sneframe_suites.paper import SUITES
    from sneframe_suites.probe import ABLATION as PROBE_ABLATION
    from sneframe_suites.probe import CLASSIFIERS
    from sneframe_suites.sne import ABLATION, CHUNK_SIZE

    return [
        FREQUENCY,
        DATA_EFFICIENCY,
        IMAGES,
        ABLATION,
        CHUNK_SIZE,
        PROBE_ABLATION,
        ACCURACY,
        TRAINING,
        CLASSIFIERS,
        ADAPTER_ACCURACY,
        ADAPTER_CLASSES,
        *SUITES,
    ]
