"""Define suites that compare methods on INRs: two on sine waves, and one on images.

All methods with trainable weights have about the same model size. ``stats/boosting`` and ``stats/ridge`` have
no trainable weights. ``suites/inr-frequency`` uses all training networks (SNE, table 1).
``suites/inr-data-efficiency`` uses fractions of the training networks (SNE, figure 3).
``suites/inr-images`` classifies the images that INRs represent, as DWSNets (arXiv 2301.12780) and NFN (arXiv
2302.14040) do.
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
    "neural-graph/fair",
    "neural-graph/plain-fair",
    "neural-graph/transformer-fair",
    "scale-gmn/fair",
    "dwsnet/fair",
    "nfn/np-fair",
    "nfn/hnp-fair",
    "nfn/nft-fair",
    "hyperrep/fair",
    "sane/fair",
    "mlp/fair",
    "deepsets/fair",
    "stats/boosting",
    "stats/ridge",
)
CPU = "train.budget_clock=cpu"  #: other work on the machine then costs no method its steps
FRACTIONS = (0.1, 0.25, 0.5, 1.0)

FREQUENCY = Suite(
    name="suites/inr-frequency",
    title="Frequency of 3000 sine INRs, every method",
    rows=[Row(label=recipe, recipe=recipe) for recipe in RECIPES],
    zoo=SINE,
    property="frequency",
    overrides=(SPLIT, CPU),
    seeds=3,
    budget=600,
)
DATA_EFFICIENCY = Suite(
    name="suites/inr-data-efficiency",
    title="Frequency of sine INRs from a fraction of the training networks",
    rows=[Row(label=recipe, recipe=recipe) for recipe in RECIPES],
    zoo=SINE,
    property="frequency",
    overrides=(SPLIT, CPU),
    variations=[
        Variation(label=f"{fraction:.0%}", overrides=f"zoo.train_fraction={fraction}")
        for fraction in FRACTIONS
    ],
    seeds=1,
    budget=300,
)

#: The methods that classify images, and the settings that this needs. A method that is added here gets two
#: rows: one without augmentation, and one with it.
CLASSIFIERS = {
    # The three outputs of an INR of a colour image are no classes, so their order must be seen.
    "sne/probe-fair": ("layer_encoder.order=given",),
    "probe/fair": (),
    "sne/message-fair": (),
    "sne/fair": (),
    "neural-graph/fair": (),
    "neural-graph/plain-fair": (),
    "scale-gmn/fair": (),
    "dwsnet/fair": (),
    "nfn/np-fair": (),
    "nfn/hnp-fair": (),
    "nfn/nft-fair": (),
    "deepsets/fair": (),
    "mlp/fair": (),
}
#: Methods that are fitted have no steps in which networks could be augmented.
FITTED = ("stats/boosting", "stats/ridge")
PLAIN = "augmentation=[]"
MOVED = 'augmentation=[{part="augmentation/symmetry",actions=["permute","sign"]}]'

IMAGES = Suite(
    name="suites/inr-images",
    title="Class of the image that an INR represents, every method with and without augmentation",
    rows=[
        *(
            Row(label=f"{recipe}{ending}", recipe=recipe, overrides=(*words, setting))
            for recipe, words in CLASSIFIERS.items()
            for ending, setting in (("", PLAIN), (" + symmetry", MOVED))
        ),
        *(Row(label=recipe, recipe=recipe) for recipe in FITTED),
    ],
    # The weights of an INR hardly leave the initial weights of SIREN, and no method that reads weights then
    # learns to tell the classes in minutes. With those of DWSNets, they do.
    zoo=Built(
        builder="zoos/images",
        options={"networks": 5391, "views": 3, "init": "dwsnets", "steps": (100, 300), "seed": 1},
    ),
    property="label",
    # The labels are whole numbers, which would be regressed. Of a category, `tau` is the accuracy.
    overrides=("zoo.task=category", "train.select=tau", CPU),
    seeds=3,
    budget=300,
    metric="accuracy",
)
