"""Define two suites that show what each source of ``sne/probe`` adds, on sine INRs and on small CNNs.

``sne/probe`` reads three sources: messages, statistics and probes. A row reads one of them, two of them, or
all. *Messages* are the views of the codes after the messages. In rows with probes, the messages start from
the values of the neurons at the probes. *Probes* are the views of what the networks compute.
"""

from __future__ import annotations

from sneframe.config.suite import Row, Suite
from sneframe_suites import classifier
from sneframe_suites.classifier import ACCURACY
from sneframe_suites.inr import SINE, SPLIT

#: The views of each source. ``probes`` are values of single outputs, which are not read of classifiers.
VIEWS = {
    "messages": ("output", "groups"),
    "statistics": ("statistics",),
    "probes": ("probes", "answers", "layers"),
}
SOURCES = (
    ("messages",),
    ("statistics",),
    ("probes",),
    ("messages", "statistics"),
    ("messages", "probes"),
    ("statistics", "probes"),
    ("messages", "statistics", "probes"),
)


def _row(sources: tuple[str, ...], without: tuple[str, ...] = ()) -> Row:
    """Return the row of some sources, without some of their views."""
    views = [view for source in sources for view in VIEWS[source] if view not in without]
    quoted = ",".join(f'"{view}"' for view in views)
    overrides = [f"layer_encoder.views=[{quoted}]"]
    if "probes" not in sources:
        overrides.append("layer_encoder.neuron_values=false")
    return Row(label=" + ".join(sources), recipe="sne/probe", overrides=overrides)


ABLATION = Suite(
    name="suites/probe-ablation",
    title="What messages, statistics and probes add, on sine INRs",
    rows=[_row(sources) for sources in SOURCES],
    zoo=SINE,
    property="frequency",
    overrides=(SPLIT, "train.epochs=20"),
    seeds=3,
    budget=300,
)
CLASSIFIERS = Suite(
    name="suites/cnn-probe-ablation",
    title="What messages, statistics and probes add, on small CNNs",
    rows=[_row(sources, without=("probes",)) for sources in SOURCES],
    zoo=ACCURACY.zoo,
    property=ACCURACY.property,
    overrides=classifier.SPLIT,
    seeds=3,
    budget=300,
    metric="tau",
)
