"""Define the suite that predicts the test accuracy of CNNs.

The suite uses one data set. With ``--train`` and ``--test`` it predicts across data sets (SNE, tables 2, 5, 8
and 9).
"""

from __future__ import annotations

from sneframe.config.suite import Built, Row, Suite

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
    "stats/boosting": ("stats/boosting",),
    "stats/pooled": ("stats/pooled",),
    "stats/mean": ("stats/mean",),
}

ACCURACY = Suite(
    name="suites/cnn-accuracy",
    title="Test accuracy of small CNNs",
    rows=[Row(label=label, recipe=recipe, overrides=words) for label, (recipe, *words) in ROWS.items()],
    zoo=Built(builder="zoos/cnn", options={"networks": 1000, "epochs": (1, 20), "seed": 1}),
    property="test_accuracy",
    overrides=("zoo.where=final", "zoo.sizes=[0.4,0.1,0.5]"),
    seeds=3,
    budget=300,
    metric="tau",
)
