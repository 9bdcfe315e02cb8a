"""Define the recipes of ScaleGMN."""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_scale_gmn.aggregator import ScaleReadout
from sneframe_scale_gmn.layer_encoder import ScaleLayers


def default() -> RunConfig:
    """Return ScaleGMN with messages in both directions, which reads all nodes."""
    return RunConfig(
        recipe="scale-gmn/default",
        normalise=use("normalise/none"),
        tokenizer=use("tokenizer/flat"),
        layer_encoder=use(ScaleLayers),
        aggregator=use(ScaleReadout),
        head=use("head/linear"),
        train=TrainConfig(epochs=30, batch_size=32, lr=1e-3, weight_decay=1e-2),
    )


def forward() -> RunConfig:
    """Return ScaleGMN with messages from the inputs to the outputs only."""
    return evolve(
        default(),
        recipe="scale-gmn/forward",
        layer_encoder=use(ScaleLayers, back=False),
        aggregator=use(ScaleReadout, read="outputs"),
    )


def permutation() -> RunConfig:
    """Return the same without scales and signs, which the paper calls GMN."""
    return evolve(
        forward(),
        recipe="scale-gmn/permutation",
        layer_encoder=use(ScaleLayers, symmetry="permutation", back=False),
    )
