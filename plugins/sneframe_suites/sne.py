"""Define two suites on SNE itself: ablations (SNE, table 6), and chunk sizes (SNE, table 7).

The ablation uses chunks of 24 weights. Such chunks cut across the neurons of the zoo's networks, so that the
model must learn invariance. A chunk of 32 weights would be exactly one row of a weight matrix. The paper
names the components that its ablations remove, but does not define them exactly. Here the overrides of each
row define what is removed.
"""

from __future__ import annotations

from sneframe.config.suite import Row, Suite
from sneframe_suites.inr import SINE, SPLIT

WITHOUT = {
    "full model": (),
    "without level encoding": ("layer_encoder.level_encoding=false",),
    "without type encoding": ("layer_encoder.type_encoding=false",),
    "without level and type encoding": (
        "layer_encoder.level_encoding=false",
        "layer_encoder.type_encoding=false",
    ),
    "without scale encoding": ("layer_encoder.scale_encoding=false",),
    "without set functions": ("layer_encoder.set_functions=false", "aggregator.set_functions=false"),
    "without invariance loss": ("invariance.part=none",),
}
CHUNK_SIZES = (4, 8, 16, 24, 32, 64, 128)

ABLATION = Suite(
    name="suites/sne-ablation",
    title="Ablations of SNE, on sine INRs",
    rows=[Row(label=label, recipe="sne/default", overrides=words) for label, words in WITHOUT.items()],
    zoo=SINE,
    property="frequency",
    overrides=(SPLIT, "tokenizer.chunk_size=24"),
    seeds=1,
    budget=300,
)
CHUNK_SIZE = Suite(
    name="suites/sne-chunk-size",
    title="SNE with chunks of several sizes, on sine INRs",
    rows=[
        Row(label=f"C = {size}", recipe="sne/default", overrides=f"tokenizer.chunk_size={size}")
        for size in CHUNK_SIZES
    ],
    zoo=SINE,
    property="frequency",
    overrides=(SPLIT,),
    seeds=1,
    budget=300,
)
