"""Define the recipes ``deepsets/default`` and ``deepsets/fair``.

``deepsets/fair`` has the model size at which methods are compared.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_deepsets.aggregator import ParameterSet
from sneframe_deepsets.layer_encoder import WeightSet


def default() -> RunConfig:
    """Return the recipe of Deep Sets with codes and an embedding of width 64."""
    return RunConfig(
        recipe="deepsets/default",
        normalise=use("normalise/fan-in"),
        tokenizer=use("tokenizer/flat"),
        layer_encoder=use(WeightSet, width=64),
        aggregator=use(ParameterSet),
        head=use("head/mlp", hidden=(64,)),
        train=TrainConfig(epochs=40, batch_size=32, lr=1e-3),
    )


def fair() -> RunConfig:
    """Return ``deepsets/default`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1.

    Only the aggregator and the head are wider. The aggregator runs once for each parameter and the head once
    for each network, whereas φ runs once for each weight.
    """
    return evolve(
        default(),
        recipe="deepsets/fair",
        aggregator=use(ParameterSet, width=180),
        head=use("head/mlp", hidden=(180,)),
    )
