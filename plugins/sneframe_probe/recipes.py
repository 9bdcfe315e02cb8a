"""Define the recipes ``probe/default`` and ``probe/fair``: probes alone, without any code of weights."""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_probe.aggregator import OutputValues
from sneframe_probe.layer_encoder import Outputs


def default() -> RunConfig:
    """Return the recipe of ProbeGen: the outputs at 64 learned inputs, and a perceptron that reads them."""
    return RunConfig(
        recipe="probe/default",
        normalise=use("normalise/none"),
        tokenizer=use("tokenizer/flat"),
        layer_encoder=use(Outputs, probes=64),
        aggregator=use(OutputValues, hidden=(128, 128)),
        head=use("head/linear"),
        train=TrainConfig(epochs=40, batch_size=32, lr=3e-3),
    )


def fair() -> RunConfig:
    """Return ``probe/default`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1."""
    return evolve(default(), recipe="probe/fair", aggregator=use(OutputValues, hidden=(355, 355)))
