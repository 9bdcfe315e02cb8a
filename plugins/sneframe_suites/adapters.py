"""Define two suites on low-rank adapters: their accuracy, and the classes that they were trained on.

Each method has two rows: one reads the factors as they are stored, and one reads their canonical form.
"""

from __future__ import annotations

from sneframe.config.suite import Built, Row, Suite

RECIPES = ("sne/message-statistics", "sne/probe", "sne/default", "stats/boosting", "stats/spectral")
CANONICAL = "normalise.part=normalise/canonical-adapter"
CPU = "train.budget_clock=cpu"  #: other work on the machine then costs no method its steps
ROWS = [
    Row(label=f"{recipe}{ending}", recipe=recipe, overrides=overrides)
    for recipe in RECIPES
    for ending, overrides in (("", ()), (" canonical", (CANONICAL,)))
]
ZOO = Built(builder="zoos/lora", options={"networks": 640, "seed": 7})

ADAPTER_ACCURACY = Suite(
    name="suites/adapter-accuracy",
    title="Accuracy of 640 low-rank adapters, with and without their canonical form",
    rows=ROWS,
    zoo=ZOO,
    property="accuracy",
    overrides=(CPU,),
    seeds=3,
    budget=120,
    metric="tau",
)
ADAPTER_CLASSES = Suite(
    name="suites/adapter-classes",
    title="Classes that 640 low-rank adapters were trained on, with and without their canonical form",
    rows=ROWS,
    zoo=ZOO,
    property="classes",
    overrides=("zoo.task=category", "train.select=tau", CPU),  # of a category, `tau` is the accuracy
    seeds=3,
    budget=120,
    metric="accuracy",
)
