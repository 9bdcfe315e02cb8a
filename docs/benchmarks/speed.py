"""Measures what the pages say about speed, and prints each ratio.

``python docs/benchmarks/speed.py [PART …]`` runs the parts that are named, or all:

- ``step``: a training step of ``sne/default`` against its equations
- ``profile``: where the time of such a step goes
- ``chunks``: what sampled chunks cost and save, from the committed curves of ``chunk_sampling.py``
- ``large``: files of many weights, all of them and a sample; ``--weights 1e9`` sets the sizes
- ``zoo``: networks trained together against one by one; ``--data`` names the images
- ``compare``: twelve cells one after the other, two at a time, and by two commands
- ``mapped``: a zoo beyond memory; ``--zoo-gb 20`` sets its size

``--folder`` says where files are written. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from cells_speed import cells
from chunk_sampling import table
from large_files import SIZES, large
from mapped_speed import CHEAP, mapped
from step_profile import profiled
from step_speed import step
from zoo_speed import DESIGNS, compare, ways

from sneframe.freed_memory import keep_freed_memory


def zoo(data: list[str]) -> None:
    """Compare training together with training one by one, for every design."""
    torch.set_num_threads(1)
    keep_freed_memory()
    for images in data:
        for design in DESIGNS:
            ways(design, images)
            compare(design, images)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="the parts to run, or all")
    parser.add_argument("--weights", type=float, nargs="*", default=SIZES)
    parser.add_argument("--data", nargs="*", default=["digits"])
    parser.add_argument("--zoo-gb", type=float, default=20.0)
    parser.add_argument("--method", nargs="+", default=CHEAP, help="recipe and options in the part mapped")
    parser.add_argument("--memory", default="1GB", help="memory for weights in the part mapped")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of measurements in the part mapped")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        parts: dict[str, Callable[[], None]] = {
            "step": step,
            "profile": profiled,
            "chunks": table,
            "large": partial(large, folder, given.weights),
            "zoo": partial(zoo, given.data),
            "compare": partial(cells, folder),
            "mapped": partial(mapped, folder, given.zoo_gb, given.method, given.memory, given.rounds),
        }
        if unknown := set(given.parts) - set(parts):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; parts are {', '.join(parts)}")
        for name, run in parts.items():
            if name in (given.parts or parts):
                run()
    print(f"peak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
