"""Suites on SNE itself: what each of its parts is worth (SNE, table 6), and its chunk size (table 7).

Chunks of 24 cut across the neurons of the zoo's networks, so that invariance is something to be learned; at 32 every chunk
is a row of the weight matrix. What the paper removes under each name is not said in numbers that can be read; here
it is what stands in each row.
"""

from __future__ import annotations

from sneframe.config.suite import Row, Suite
from sneframe_suites.inr import SINE, SPLIT

WITHOUT = {
    "all of it": (),
    "without level encoding": ("layer_encoder.level_encoding=false",),
    "without type encoding": ("layer_encoder.type_encoding=false",),
    "without level and type encoding": (
        "layer_encoder.level_encoding=false",
        "layer_encoder.type_encoding=false",
    ),
    "without set functions": ("layer_encoder.set_functions=false", "aggregator.set_functions=false"),
    "without invariance loss": ("invariance.part=none",),
}
CHUNK_SIZES = (4, 8, 16, 24, 32, 64, 128)

ABLATION = Suite(
    name="suites/sne-ablation",
    title="SNE without one of its parts, on sine INRs",
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
