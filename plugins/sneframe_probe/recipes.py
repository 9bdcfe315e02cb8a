"""Define the recipes of probes alone, without any code of weights.

``probe/default`` reads outputs in their order. ``probe/classifier`` does not depend on the order of classes.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_probe.aggregator import OutputValues
from sneframe_probe.layer_encoder import NetworkOutputs


def default() -> RunConfig:
    """Return the recipe of ProbeGen: the outputs at 64 learned inputs, and a perceptron that reads them."""
    return RunConfig(
        recipe="probe/default",
        normalise=use("normalise/none"),
        tokenizer=use("tokenizer/flat"),
        layer_encoder=use(NetworkOutputs, probes=64),
        aggregator=use(OutputValues, hidden=(128, 128)),
        head=use("head/linear"),
        train=TrainConfig(epochs=30, batch_size=32, lr=1e-2),
    )


def classifier() -> RunConfig:
    """Return ``probe/default`` for classifiers: what is read does not depend on which class is which."""
    return evolve(
        default(),
        recipe="probe/classifier",
        aggregator=use(OutputValues, order="pooled", hidden=(256, 128), dropout=0.2),
        train=TrainConfig(epochs=40, batch_size=32, lr=3e-3),
    )


def fair() -> RunConfig:
    """Return ``probe/default`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1."""
    return evolve(
        default(),
        recipe="probe/fair",
        aggregator=use(OutputValues, hidden=(354, 354)),
        train=TrainConfig(epochs=40, batch_size=32, lr=1e-2),
    )
