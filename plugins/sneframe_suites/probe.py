"""Define two suites that show what each part of ``sne/probe`` adds, on sine INRs and on small CNNs.

The parts are messages, statistics and probes. A row reads one of them, two of them, or all. *Messages* are
the views of the codes after the messages. They start from the values of the neurons at the probes only in
rows that have probes. *Probes* are the views of what the networks compute.
"""

from __future__ import annotations

from sneframe.config.suite import Row, Suite
from sneframe_suites.classifier import ACCURACY
from sneframe_suites.inr import SINE, SPLIT

#: The views of each part. ``probes`` are values of single outputs, which are not read of classifiers.
VIEWS = {
    "messages": ("output", "groups"),
    "statistics": ("statistics",),
    "probes": ("probes", "answers", "layers"),
}
PARTS = (
    ("messages",),
    ("statistics",),
    ("probes",),
    ("messages", "statistics"),
    ("messages", "probes"),
    ("statistics", "probes"),
    ("messages", "statistics", "probes"),
)


def _row(parts: tuple[str, ...], without: tuple[str, ...] = ()) -> Row:
    """Return the row of some parts, without some of their views."""
    views = [view for part in parts for view in VIEWS[part] if view not in without]
    quoted = ",".join(f'"{view}"' for view in views)
    overrides = [f"layer_encoder.views=[{quoted}]"]
    if "probes" not in parts:
        overrides.append("layer_encoder.neuron_values=false")
    return Row(label=" + ".join(parts), recipe="sne/probe", overrides=overrides)


ABLATION = Suite(
    name="suites/probe-ablation",
    title="What messages, statistics and probes add, on sine INRs",
    rows=[_row(parts) for parts in PARTS],
    zoo=SINE,
    property="frequency",
    overrides=(SPLIT, "train.epochs=20"),
    seeds=3,
    budget=300,
)
CLASSIFIERS = Suite(
    name="suites/cnn-probe-ablation",
    title="What messages, statistics and probes add, on small CNNs",
    rows=[_row(parts, without=("probes",)) for parts in PARTS],
    zoo=ACCURACY.zoo,
    property=ACCURACY.property,
    overrides=ACCURACY.overrides,
    seeds=3,
    budget=300,
    metric="tau",
)
