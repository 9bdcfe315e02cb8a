"""Define two suites on CNNs: one predicts the test accuracy, the other how the CNNs were trained.

The suites use one data set. With ``--train`` and ``--test``, the first predicts across data sets (SNE, tables
2, 5, 8 and 9).
"""

from __future__ import annotations

from sneframe.config.suite import Built, Row, Suite, Variation

ROWS = {
    "sne/probe": ("sne/probe",),
    "probe/classifier": ("probe/classifier",),
    "sne/default, λ = 0": ("sne/default", "invariance.part=none"),
    "sne/default": ("sne/default",),
    "sne/message": ("sne/message",),
    "sne/message-statistics": ("sne/message-statistics",),
    "sne/message-chunk-set": ("sne/message-chunk-set",),
    "deepsets/default": ("deepsets/default",),
    "nfn/hnp-paper": ("nfn/hnp-paper",),
    "dwsnet/fair": ("dwsnet/fair",),
    "neural-graph/default": ("neural-graph/default",),
    "neural-graph/plain": ("neural-graph/plain",),
    "scale-gmn/default": ("scale-gmn/default",),
    "hyperrep/default": ("hyperrep/default",),
    "sane/default": ("sane/default",),
    "stats/boosting": ("stats/boosting",),
    "stats/spectral": ("stats/spectral",),
    "stats/pooled": ("stats/pooled",),
    "stats/spectral-pooled": ("stats/spectral-pooled",),
    "stats/mean": ("stats/mean",),
}

SPLIT = ("zoo.where=final", "zoo.sizes=[0.4,0.1,0.5]")

ACCURACY = Suite(
    name="suites/cnn-accuracy",
    title="Test accuracy of small CNNs",
    rows=[Row(label=label, recipe=recipe, overrides=words) for label, (recipe, *words) in ROWS.items()],
    zoo=Built(builder="zoos/cnn", options={"networks": 1000, "epochs": (1, 20), "seed": 1}),
    property="test_accuracy",
    # Other work on the machine then costs no method its steps.
    overrides=(*SPLIT, "train.budget_clock=cpu"),
    seeds=3,
    budget=300,
    metric="tau",
)

#: The hyper-parameters that are numbers, and the settings of the column of each. Those that were drawn over
#: orders of magnitude are learned as logarithms.
HYPERPARAMETERS = {
    "learning rate": ("zoo.property=lr", "zoo.task=log"),
    "L2": ("zoo.property=l2", "zoo.task=log"),
    # Only these initial kernels have a standard deviation that is drawn.
    "initial scale": (
        "zoo.property=init_std",
        "zoo.task=log",
        "zoo.where=final and init in ('normal', 'truncated_normal')",
    ),
    "fraction of the data": ("zoo.property=train_fraction",),
    "epochs": ("zoo.property=epochs",),
}

TRAINING = Suite(
    name="suites/cnn-hyperparameters",
    title="How small CNNs were trained",
    rows=ACCURACY.rows,
    zoo=ACCURACY.zoo,
    property="lr",
    # The squared error of a factor is that of its largest values, so the best epoch is chosen by τ.
    overrides=(*ACCURACY.overrides, "train.select=tau"),
    variations=[Variation(label=label, overrides=overrides) for label, overrides in HYPERPARAMETERS.items()],
    seeds=3,
    budget=300,
    metric="tau",
)
