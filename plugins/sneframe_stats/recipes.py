"""Define the recipes of StatNN with boosted trees (the default), ridge regression or a perceptron.

``stats/spectral`` adds numbers of the spectrum of each parameter. There are two baselines: ``stats/pooled``,
which predicts for any architecture, and ``stats/mean``.

The original StatNN computes statistics of raw weights. Here ``normalise/fan-in`` rescales the weights first.
In a zoo of one architecture this makes no difference to trees. If widths differ, the normalisation makes
statistics of different widths comparable. A perceptron needs the normalisation, because raw statistics differ
by orders of magnitude.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_stats.aggregator import StatFeatures
from sneframe_stats.head import Boosting, Mean, Ridge
from sneframe_stats.layer_encoder import PassThrough
from sneframe_stats.spectral_tokenizer import SpectralStatistics
from sneframe_stats.tokenizer import Statistics


def boosting() -> RunConfig:
    """Return the recipe of StatNN with boosted trees (Unterthiner et al., arXiv 2002.11448).

    Nothing is trained by gradients.
    """
    return RunConfig(
        recipe="stats/boosting",
        normalise=use("normalise/fan-in"),
        tokenizer=use(Statistics),
        layer_encoder=use(PassThrough),
        aggregator=use(StatFeatures),
        head=use(Boosting),
    )


def default() -> RunConfig:
    """Return ``stats/boosting`` as ``stats/default``, which ``--plugin stats`` selects."""
    return evolve(boosting(), recipe="stats/default")


def fair() -> RunConfig:
    """Return ``stats/boosting`` as ``stats/fair``. Trees have no trainable weights, so no size is matched."""
    return evolve(boosting(), recipe="stats/fair")


def pooled() -> RunConfig:
    """Return the recipe of StatNN on pooled statistics, which can predict for unseen architectures."""
    return evolve(boosting(), recipe="stats/pooled", aggregator=use(StatFeatures, pool="always"))


def spectral() -> RunConfig:
    """Return ``stats/boosting`` on the spectra of parameters, beside the statistics of their weights."""
    return evolve(boosting(), recipe="stats/spectral", tokenizer=use(SpectralStatistics))


def spectral_pooled() -> RunConfig:
    """Return ``stats/spectral`` on pooled statistics, which can predict for unseen architectures."""
    return evolve(pooled(), recipe="stats/spectral-pooled", tokenizer=use(SpectralStatistics))


def mean() -> RunConfig:
    """Return the recipe of the baseline that predicts the mean of the training targets."""
    return evolve(pooled(), recipe="stats/mean", head=use(Mean))


def ridge() -> RunConfig:
    """Return the recipe of StatNN with ridge regression."""
    return evolve(boosting(), recipe="stats/ridge", head=use(Ridge))


def mlp() -> RunConfig:
    """Return the recipe of StatNN with a perceptron as wide as in NFN's StatNet (arXiv 2302.14040)."""
    return evolve(
        boosting(),
        recipe="stats/mlp",
        head=use("head/mlp", hidden=(1000, 1000)),
        train=TrainConfig(epochs=80, batch_size=64, lr=1e-3),
    )
