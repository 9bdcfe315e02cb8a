"""Define the recipes ``dwsnet/default``, ``dwsnet/fair`` and ``dwsnet/paper``.

``dwsnet/fair`` has the model size at which methods are compared.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_dwsnet.aggregator import InvariantPooling
from sneframe_dwsnet.layer_encoder import DWSLayers
from sneframe_dwsnet.tokenizer import DWSChannels


def default() -> RunConfig:
    """Return the recipe of DWSNet with the published size, but with the batch size of the other methods.

    The learning rate is also as published. The published batches of 512 networks are too large for a zoo of a
    few thousand networks.
    """
    return RunConfig(
        recipe="dwsnet/default",
        normalise=use("normalise/parameter"),
        tokenizer=use(DWSChannels),
        layer_encoder=use(DWSLayers),
        aggregator=use(InvariantPooling),
        head=use("head/linear"),
        train=TrainConfig(epochs=40, batch_size=32, lr=5e-3, weight_decay=5e-4),
    )


def fair() -> RunConfig:
    """Return ``dwsnet/default`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1.

    It has fewer channels and fewer heads. Each head has 4 channels, as published.
    """
    return evolve(default(), recipe="dwsnet/fair", layer_encoder=use(DWSLayers, width=20, heads=5))


def paper() -> RunConfig:
    """Return the recipe of DWSNet as published for MNIST INRs, but without augmentations and AMSGrad.

    The property decides the loss. For a class the loss is cross-entropy, as in the published runs.

    The original normalises each weight by its own mean and standard deviation. Such constants differ between
    hidden neurons, so they break the symmetry that the layers keep. Here each parameter has one mean and one
    standard deviation.
    """
    return RunConfig(
        recipe="dwsnet/paper",
        normalise=use("normalise/parameter"),
        tokenizer=use(DWSChannels),
        layer_encoder=use(DWSLayers, width=32, hidden_layers=4, set_layer="sab", heads=8, reduction="max"),
        aggregator=use(InvariantPooling, reduction="max"),
        head=use("head/linear"),
        train=TrainConfig(
            epochs=100, batch_size=512, lr=5e-3, schedule="constant", warmup=0, weight_decay=5e-4, clip=None
        ),
    )
