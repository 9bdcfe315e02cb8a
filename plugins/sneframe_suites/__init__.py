"""Suites that follow the SNE paper: methods, amounts of data, ablations, chunk sizes, accuracies."""

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
