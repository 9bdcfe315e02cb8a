"""Recipes: ``dwsnet/default``, trained like other methods, ``dwsnet/fair``, of equal size, and ``dwsnet/paper``."""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_dwsnet.aggregator import InvariantPooling
from sneframe_dwsnet.layer_encoder import DWSLayers
from sneframe_dwsnet.tokenizer import WeightChannels


def default() -> RunConfig:
    """DWSNet of the published size and learning rate, in batches as small as a zoo of a few thousand networks needs."""
    return RunConfig(
        recipe="dwsnet/default",
        normalise=use("normalise/parameter"),
        tokenizer=use(WeightChannels),
        layer_encoder=use(DWSLayers),
        aggregator=use(InvariantPooling),
        head=use("head/linear"),
        train=TrainConfig(epochs=40, batch_size=32, lr=5e-3, weight_decay=5e-4),
    )


def fair() -> RunConfig:
    """The same with 150 000 parameters on networks 1 → 32 → 32 → 1; as wide heads as published, fewer of them."""
    return evolve(default(), recipe="dwsnet/fair", layer_encoder=use(DWSLayers, width=20, heads=5))


def paper() -> RunConfig:
    """Return DWSNet as trained on the MNIST INRs, without its augmentations and without AMSGrad.

    The loss follows the property, whatever it was in the published runs.

    The original normalises every weight by its own mean and deviation, which tells hidden neurons apart and
    so breaks the symmetry that the layers keep; here each parameter has one mean and deviation.
    """
    return RunConfig(
        recipe="dwsnet/paper",
        normalise=use("normalise/parameter"),
        tokenizer=use(WeightChannels),
        layer_encoder=use(DWSLayers, width=32, hidden_layers=4, set_layer="sab", heads=8, reduction="max"),
        aggregator=use(InvariantPooling, reduction="max"),
        head=use("head/linear"),
        train=TrainConfig(
            epochs=100, batch_size=512, lr=5e-3, schedule="constant", warmup=0, weight_decay=5e-4, clip=None
        ),
    )
