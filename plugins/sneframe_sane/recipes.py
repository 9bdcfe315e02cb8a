"""Define the recipes ``sane/default``, ``sane/fair`` and ``sane/paper``.

In all of them the encoder is trained without any property, and ridge regression is then fitted to the
embeddings of the training networks.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_sane.aggregator import TokenMean
from sneframe_sane.layer_encoder import TokenTransformer
from sneframe_sane.loss import SANELoss


def default() -> RunConfig:
    """Return the recipe of a small SANE. It trains like the other methods, in minutes on a CPU."""
    return RunConfig(
        recipe="sane/default",
        normalise=use("normalise/fan-in"),
        tokenizer=use("tokenizer/neurons", token_size=32),
        layer_encoder=use(TokenTransformer),
        aggregator=use(TokenMean),
        head=use("stats/ridge"),
        invariance=use(SANELoss, noise=0.1),
        train=TrainConfig(epochs=40, batch_size=32, lr=1e-3, task_weight=0),
    )


def fair() -> RunConfig:
    """Return ``sane/default`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1.

    The decoder and the projection are not counted, because they do not take part in a prediction.
    """
    return evolve(
        default(),
        recipe="sane/fair",
        layer_encoder=use(TokenTransformer, blocks=4),
        invariance=use(SANELoss, noise=0.1, blocks=4),
    )


def paper() -> RunConfig:
    """Return the recipe of SANE with the published sizes for small CNNs, loss and training.

    The published weights are standardised layer by layer, weights and biases together. Here
    ``normalise/fan-in`` rescales them, because it knows networks of unseen architectures too. Permutations
    are drawn anew in each step, instead of from 200 for each network.
    """
    return RunConfig(
        recipe="sane/paper",
        normalise=use("normalise/fan-in"),
        tokenizer=use("tokenizer/neurons", token_size=289),
        layer_encoder=use(
            TokenTransformer, width=1024, heads=8, blocks=8, feed_forward=4096, latent=128, dropout=0.1
        ),
        aggregator=use(TokenMean),
        head=use("stats/ridge"),
        invariance=use(
            SANELoss,
            noise=0.1,
            contrastive=0.05,
            reconstruction=0.95,
            window=64,
            projection=(128, 30),
            width=1024,
            heads=8,
            blocks=8,
            feed_forward=4096,
            dropout=0.1,
        ),
        train=TrainConfig(
            epochs=50, batch_size=32, lr=1e-4, warmup=0.3, weight_decay=3e-9, clip=None, task_weight=0
        ),
    )
