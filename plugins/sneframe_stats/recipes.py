"""Recipes: ``stats/boosting``, the default, ``stats/ridge`` and ``stats/mlp``: StatNN with three heads; ``stats/fair``.

Two are for reference beside others: ``stats/pooled``, which takes any architecture, and ``stats/mean``.

StatNN reads raw statistics. Here ``normalise/fan-in`` rescales the weights first. Trees on a zoo of one
architecture do not notice; where widths differ it makes a statistic mean the same in all of them, and a
perceptron needs it, because raw statistics differ by orders of magnitude.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_stats.aggregator import Features
from sneframe_stats.head import Boosting, Mean, Ridge
from sneframe_stats.layer_encoder import Identity
from sneframe_stats.tokenizer import Statistics


def boosting() -> RunConfig:
    """StatNN with boosted trees (Unterthiner et al., arXiv 2002.11448); nothing is trained by gradients."""
    return RunConfig(
        recipe="stats/boosting",
        normalise=use("normalise/fan-in"),
        tokenizer=use(Statistics),
        layer_encoder=use(Identity),
        aggregator=use(Features),
        head=use(Boosting),
    )


def default() -> RunConfig:
    """The same as ``stats/boosting``."""
    return evolve(boosting(), recipe="stats/default")


def fair() -> RunConfig:
    """The same as ``stats/boosting``: with nothing to train there is no size to match and no budget to share."""
    return evolve(boosting(), recipe="stats/fair")


def pooled() -> RunConfig:
    """StatNN with boosted trees on pooled statistics: what it is fitted on one architecture predicts any other."""
    return evolve(boosting(), recipe="stats/pooled", aggregator=use(Features, pool="always"))


def mean() -> RunConfig:
    """The mean of the training targets."""
    return evolve(pooled(), recipe="stats/mean", head=use(Mean))


def ridge() -> RunConfig:
    """StatNN with ridge regression."""
    return evolve(boosting(), recipe="stats/ridge", head=use(Ridge))


def mlp() -> RunConfig:
    """StatNN with a perceptron of NFN's widths (StatNet, arXiv 2302.14040)."""
    return evolve(
        boosting(),
        recipe="stats/mlp",
        head=use("head/mlp", hidden=(1000, 1000)),
        train=TrainConfig(epochs=80, batch_size=64, lr=1e-3),
    )
