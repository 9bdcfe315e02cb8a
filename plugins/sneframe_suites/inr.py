"""Define two suites that compare methods on sine INRs.

All methods with trainable weights have about the same model size. ``stats/boosting`` and ``stats/ridge`` have
no trainable weights. ``suites/inr-frequency`` uses all training networks (SNE, table 1).
``suites/inr-data-efficiency`` uses fractions of the training networks (SNE, figure 3).
"""

from __future__ import annotations

from sneframe.config.suite import Built, Row, Suite, Variation

SINE = Built(builder="zoos/sine", options={"networks": 3000, "widths": (32, 32), "seed": 1})
SPLIT = "zoo.sizes=[2000,500,500]"
RECIPES = (
    "sne/probe-fair",
    "probe/fair",
    "sne/message-fair",
    "sne/fair",
    "dwsnet/fair",
    "nfn/np-fair",
    "nfn/hnp-fair",
    "nfn/nft-fair",
    "mlp/fair",
    "deepsets/fair",
    "stats/boosting",
    "stats/ridge",
)
FRACTIONS = (0.1, 0.25, 0.5, 1.0)

FREQUENCY = Suite(
    name="suites/inr-frequency",
    title="Frequency of 3000 sine INRs, every method",
    rows=[Row(label=recipe, recipe=recipe) for recipe in RECIPES],
    zoo=SINE,
    property="frequency",
    overrides=(SPLIT,),
    seeds=3,
    budget=600,
)
DATA_EFFICIENCY = Suite(
    name="suites/inr-data-efficiency",
    title="Frequency of sine INRs from a fraction of the training networks",
    rows=[Row(label=recipe, recipe=recipe) for recipe in RECIPES],
    zoo=SINE,
    property="frequency",
    overrides=(SPLIT,),
    variations=[
        Variation(label=f"{fraction:.0%}", overrides=f"zoo.train_fraction={fraction}")
        for fraction in FRACTIONS
    ],
    seeds=1,
    budget=300,
)
