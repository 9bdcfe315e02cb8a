"""Recipes: ``mlp/default``, ``mlp/fair``, of equal size, and ``mlp/paper``."""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_mlp.aggregator import Perceptron
from sneframe_mlp.layer_encoder import Columns


def default() -> RunConfig:
    """A perceptron of two hidden layers, trained like the other methods."""
    return RunConfig(
        recipe="mlp/default",
        normalise=use("normalise/parameter"),
        tokenizer=use("tokenizer/flat"),
        layer_encoder=use(Columns, width=256),
        aggregator=use(Perceptron, hidden=(256,)),
        head=use("head/linear"),
        train=TrainConfig(epochs=40, batch_size=32, lr=1e-3),
    )


def fair() -> RunConfig:
    """The same with 150 000 parameters on networks 1 → 32 → 32 → 1."""
    return evolve(
        default(),
        recipe="mlp/fair",
        layer_encoder=use(Columns, width=118),
        aggregator=use(Perceptron, hidden=(118,)),
    )


def paper() -> RunConfig:
    """The perceptron that DWSNet is compared with (Navon et al. 2023, in their code), trained as DWSNet is.

    Three hidden layers of 256. The original normalises every weight by its own mean and deviation; here each parameter
    has one mean and deviation, as for the other methods.
    """
    return evolve(
        default(),
        recipe="mlp/paper",
        layer_encoder=use(Columns, width=256),
        aggregator=use(Perceptron, hidden=(256, 256)),
        train=TrainConfig(
            epochs=100, batch_size=512, lr=5e-3, schedule="constant", warmup=0, weight_decay=5e-4, clip=None
        ),
    )
