"""Suites that follow the SNE paper.

They compare methods, amounts of training data, ablations of SNE and chunk sizes, on sine INRs. One more suite
compares methods that predict the accuracy of CNNs.
"""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.config.suite import Suite
from sneframe.hookspecs import hookimpl


@hookimpl
def sneframe_suites() -> Sequence[Suite]:
    from sneframe_suites.classifier import ACCURACY
    from sneframe_suites.inr import DATA_EFFICIENCY, FREQUENCY
    from sneframe_suites.sne import ABLATION, CHUNK_SIZE

    return [FREQUENCY, DATA_EFFICIENCY, ABLATION, CHUNK_SIZE, ACCURACY]
