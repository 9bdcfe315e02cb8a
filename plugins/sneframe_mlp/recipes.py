"""Define the recipes ``mlp/default``, ``mlp/fair`` and ``mlp/paper``.

``mlp/fair`` has the model size at which methods are compared.
"""

from __future__ import annotations

from attrs import evolve

from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe_mlp.aggregator import Perceptron
from sneframe_mlp.layer_encoder import Columns


def default() -> RunConfig:
    """Return the recipe of a perceptron with two hidden layers. It trains like the other methods."""
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
    """Return ``mlp/default`` with about 150 000 trainable weights on networks 1 → 32 → 32 → 1."""
    return evolve(
        default(),
        recipe="mlp/fair",
        layer_encoder=use(Columns, width=118),
        aggregator=use(Perceptron, hidden=(118,)),
    )


def paper() -> RunConfig:
    """Return the recipe of the perceptron with which the code of Navon et al. (2023) compares DWSNet.

    The perceptron has three hidden layers of 256 units, and trains like DWSNet. The initialisation and the
    AMSGrad of Navon et al. are left out. The original normalises each weight by its own mean and standard
    deviation. Here each parameter has one mean and one standard deviation, as for the other methods.
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
