"""Define the recipes of ScaleGMN.

``default`` sends messages in both directions, and ``forward`` in one. ``permutation`` knows no scales and
signs. ``paper`` has the published size, and ``fair`` the model size at which methods are compared.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_scale_gmn.aggregator import ScaleReadout
from sneframe_scale_gmn.layer_encoder import ScaleLayers


def default() -> RunConfig:
    """Return ScaleGMN with messages in both directions, which reads all nodes.

    Weights are not normalised, because the constants of a layer would change what a scale of neurons is.
    """
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


def fair() -> RunConfig:
    """Return ``scale-gmn/default`` with about 150 000 trainable weights on sine INRs 1 → 32 → 32 → 1."""
    return evolve(
        default(),
        recipe="scale-gmn/fair",
        layer_encoder=use(ScaleLayers, width=34),
        train=TrainConfig(epochs=40, batch_size=32, lr=1e-3, weight_decay=1e-2),
    )


def paper() -> RunConfig:
    """Return ScaleGMN-B as published for INRs of MNIST, but without augmentations.

    The property decides the loss. For a class the loss is cross-entropy, as in the published runs.
    """
    return RunConfig(
        recipe="scale-gmn/paper",
        normalise=use("normalise/none"),
        tokenizer=use("tokenizer/flat"),
        layer_encoder=use(
            ScaleLayers, width=128, layers=4, ends="factor", vectors_in_messages=True, dropout=0.2
        ),
        aggregator=use(ScaleReadout, read="ends", width=128),
        head=use("head/linear"),
        train=TrainConfig(
            epochs=200,
            batch_size=128,
            lr=1e-3,
            schedule="constant",
            warmup=0.01,
            weight_decay=1e-2,
            clip=10.0,
        ),
    )
