"""StatNN (Unterthiner et al., arXiv 2002.11448): predict a property from statistics of every parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_stats import recipes
from sneframe_stats.aggregator import StatFeatures
from sneframe_stats.head import Boosting, Mean, Ridge
from sneframe_stats.layer_encoder import PassThrough
from sneframe_stats.spectral_tokenizer import SpectralStatistics
from sneframe_stats.tokenizer import Statistics


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (Statistics, SpectralStatistics, PassThrough, StatFeatures, Boosting, Ridge, Mean)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {
        "stats/default": recipes.default,
        "stats/fair": recipes.fair,
        "stats/boosting": recipes.boosting,
        "stats/spectral": recipes.spectral,
        "stats/spectral-pooled": recipes.spectral_pooled,
        "stats/pooled": recipes.pooled,
        "stats/mean": recipes.mean,
        "stats/ridge": recipes.ridge,
        "stats/mlp": recipes.mlp,
    }
