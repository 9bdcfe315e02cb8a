"""Define the recipes ``hyperrep/default``, ``hyperrep/fair`` and ``hyperrep/paper``.

In all of them the encoder is trained without any property, and ridge regression is then fitted to the
embeddings of the training networks.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_hyperrep.aggregator import Latent
from sneframe_hyperrep.layer_encoder import CompressionTransformer
from sneframe_hyperrep.loss import HyperRepLoss


def default() -> RunConfig:
    """Return the recipe of a small HyperRep. It trains like the other methods, in minutes on a CPU."""
    return RunConfig(
        recipe="hyperrep/default",
        normalise=use("normalise/parameter"),
        tokenizer=use("tokenizer/neurons"),
        layer_encoder=use(CompressionTransformer),
        aggregator=use(Latent),
        head=use("stats/ridge"),
        invariance=use(HyperRepLoss, erasing=0.5),
        train=TrainConfig(epochs=40, batch_size=32, lr=1e-3, task_weight=0),
    )


def fair() -> RunConfig:
    """Return ``hyperrep/default`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1.

    The decoder and the projection are not counted, because they do not take part in a prediction.
    """
    return evolve(
        default(),
        recipe="hyperrep/fair",
        layer_encoder=use(CompressionTransformer, blocks=4),
        aggregator=use(Latent, width=128),
        invariance=use(HyperRepLoss, erasing=0.5, blocks=4),
    )


def paper() -> RunConfig:
    """Return the recipe of HyperRep with the published sizes, loss and training.

    The published learning rate falls when the loss stops falling. Here it is constant. Permutations are drawn
    anew in each step, instead of from 25 000 that are drawn before the training.
    """
    return RunConfig(
        recipe="hyperrep/paper",
        normalise=use("normalise/parameter"),
        tokenizer=use("tokenizer/neurons"),
        layer_encoder=use(
            CompressionTransformer, width=512, heads=4, blocks=4, feed_forward=1000, dropout=0.1
        ),
        aggregator=use(Latent, width=1200),
        head=use("stats/ridge", smallest=1e-5, largest=1e3),
        invariance=use(
            HyperRepLoss,
            erasing=0.5,
            contrastive=0.85,
            reconstruction=0.15,
            projection=(400, 400, 400, 50),
            width=512,
            heads=4,
            blocks=4,
            feed_forward=1000,
            dropout=0.1,
        ),
        train=TrainConfig(
            epochs=25,
            batch_size=500,
            lr=1e-4,
            schedule="constant",
            warmup=0,
            weight_decay=1e-9,
            clip=None,
            task_weight=0,
        ),
    )
