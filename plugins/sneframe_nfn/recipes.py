"""Define the recipes for NP layers, HNP layers and the transformer.

Each of the three has a recipe for a laptop, a recipe with the model size at which methods are compared
(``-fair``), and a recipe with the published settings (``-paper``). The ``-fair`` recipes have about 150 000
trainable weights on sine INRs 1 → 32 → 32 → 1. The property decides the loss. For an accuracy the loss is
binary cross-entropy, as in the published runs on small CNNs.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_nfn.aggregator import HNPPool
from sneframe_nfn.layer_encoder import AttentionBlocks, HNPLayers, NPLayers
from sneframe_nfn.tokenizer import NFNChannels

LAPTOP = TrainConfig(epochs=40, batch_size=32, lr=2e-3)
#: The published training for the accuracy of small CNNs: Adam, a constant rate, and the best epoch by τ.
PUBLISHED = TrainConfig(
    epochs=50,
    batch_size=8,
    lr=1e-3,
    schedule="constant",
    warmup=0,
    weight_decay=0,
    clip=None,
    select="tau",
)


def hnp() -> RunConfig:
    """Return the recipe of HNP layers, which have separate weights for each input and output."""
    return RunConfig(
        recipe="nfn/hnp",
        normalise=use("normalise/parameter"),
        tokenizer=use(NFNChannels),
        layer_encoder=use(HNPLayers, widths=(32, 32, 16)),
        aggregator=use(HNPPool),
        head=use("head/mlp", hidden=(128, 128)),
        train=LAPTOP,
    )


def default() -> RunConfig:
    """Return ``nfn/hnp`` as ``nfn/default``, which ``--plugin nfn`` selects."""
    return evolve(hnp(), recipe="nfn/default")


def hnp_fair() -> RunConfig:
    """Return ``nfn/hnp`` as ``nfn/hnp-fair``. It already has the size at which methods are compared."""
    return evolve(hnp(), recipe="nfn/hnp-fair")


def hnp_paper() -> RunConfig:
    """Return the recipe of HNP layers as published for the accuracy of small CNNs.

    The paper is arXiv 2302.14040, section 4.1.
    """
    return RunConfig(
        recipe="nfn/hnp-paper",
        normalise=use("normalise/none"),
        tokenizer=use(NFNChannels),
        layer_encoder=use(HNPLayers, widths=(16, 16, 5)),
        aggregator=use(HNPPool),
        head=use("head/mlp", hidden=(1000, 1000)),
        train=PUBLISHED,
    )


def np_layers() -> RunConfig:
    """Return the recipe of NP layers with learned embeddings of inputs and outputs."""
    return evolve(hnp(), recipe="nfn/np", layer_encoder=use(NPLayers, widths=(36, 36, 18)))


def np_fair() -> RunConfig:
    """Return ``nfn/np`` as ``nfn/np-fair``. It already has the size at which methods are compared."""
    return evolve(np_layers(), recipe="nfn/np-fair")


def np_paper() -> RunConfig:
    """Return the recipe of NP-PosEmb as published for the accuracy of small CNNs, with the pool of HNP.

    The original normalises each weight by its own mean and standard deviation. Such constants differ between
    hidden neurons, so they break the symmetry that the layers keep. Here each parameter has one mean and one
    standard deviation.
    """
    return evolve(
        hnp_paper(),
        recipe="nfn/np-paper",
        normalise=use("normalise/parameter"),
        layer_encoder=use(NPLayers, widths=(16, 16, 5)),
    )


def nft() -> RunConfig:
    """Return the recipe of weight-space attention on Fourier features of the weights."""
    return evolve(
        hnp(),
        recipe="nfn/nft",
        tokenizer=use(NFNChannels, frequencies=18, scale=0.5),
        layer_encoder=use(AttentionBlocks, width=36, blocks=2, heads=4),
        head=use("head/mlp", hidden=(96, 96)),
        train=evolve(LAPTOP, lr=1e-3),
    )


def nft_fair() -> RunConfig:
    """Return ``nfn/nft`` as ``nfn/nft-fair``. It already has the size at which methods are compared."""
    return evolve(nft(), recipe="nfn/nft-fair")


def nft_paper() -> RunConfig:
    """Return the recipe of the encoder of INR2Array, followed by the pool and the head of HNP.

    INR2Array is published in arXiv 2305.13546, section 4.1.

    The original is an autoencoder of images, in which learned latents attend to all weights. Here the pool
    takes the place of the latents, and the model is trained to predict a property.
    """
    return RunConfig(
        recipe="nfn/nft-paper",
        normalise=use("normalise/none"),
        tokenizer=use(NFNChannels, frequencies=128, scale=3.0),
        layer_encoder=use(AttentionBlocks, width=256, blocks=6, heads=4, factor=4, shared_projections=True),
        aggregator=use(HNPPool),
        head=use("head/mlp", hidden=(1000, 1000)),
        train=TrainConfig(epochs=200, batch_size=64, lr=1e-4, warmup=0.05, weight_decay=0.01, clip=None),
    )
