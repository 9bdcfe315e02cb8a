"""Measures what sampled chunks cost in accuracy, and what they save in time.

``python docs/benchmarks/chunk_sampling.py ZOO.zarr … [--budget 180]`` trains plain SNE on each zoo, with at
most 8, 32 and 128 chunks of each parameter and with all of them, for the same time. It writes one file for
each run to docs/benchmarks/sne-curves, and trains no run again whose file exists. ``curve.py`` draws them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

import sneframe
from sneframe.freed_memory import keep_freed_memory

CURVES = Path(__file__).parent / "sne-curves"
CHUNKS = ("8", "32", "128", "none")
OVERRIDES = (
    "invariance.part=none",
    "zoo.property=test_accuracy",
    "zoo.where=final",
    "zoo.sizes=[0.4,0.1,0.5]",
    "train.epochs=100000",
)


def measure(zoo: Path, chunks: str, budget: float) -> None:
    """Train one run, and write its scores over time."""
    file = CURVES / f"chunks-{zoo.stem}-{chunks}.json"
    if file.exists():
        return
    overrides = [*OVERRIDES, f"tokenizer.max_chunks={chunks}", f"train.budget={budget:g}"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        config = sneframe.recipe("sne", *overrides, f"zoo.path={zoo}")
        sneframe.run(config, out, report=False)
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        lines = (out / "history.jsonl").read_text(encoding="utf-8").splitlines()
    history = [json.loads(line) for line in lines]
    best = min(history, key=lambda epoch: epoch["val"]["mse"])
    test = {name: round(metrics["test"][name], 4) for name in ("mse", "r2", "tau")}
    found = {
        "recipe": "sne/default",
        "overrides": overrides,
        "seed": 0,
        "zoo": f"{zoo.stem}, {len(sneframe.open_zoo(zoo).where('final'))} runs",
        "unit": "seconds of training with one thread",
        "chunks": chunks,
        "steps": history[-1]["step"],
        "best": {"epoch": best["epoch"], "seconds": round(best["seconds"], 1)},
        "test": test,
    }
    rows = [
        json.dumps(
            {
                "epoch": epoch["epoch"],
                "seconds": round(epoch["seconds"], 1),
                "mse": round(epoch["val"]["mse"], 4),
                "tau": round(epoch["val"]["tau"], 4),
            }
        )
        for epoch in history
    ]
    body = json.dumps(found, indent=2).removesuffix("\n}")
    file.write_text(body + ',\n  "epochs": [\n    ' + ",\n    ".join(rows) + "\n  ]\n}\n", encoding="utf-8")
    print(f"chunks: {found['zoo']}, {words(found)}", flush=True)


def table() -> None:
    """Print the committed scores, and how many times as many steps a sample allows."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(CURVES.glob("chunks-*.json"))]
    whole = {each["zoo"]: each["steps"] for each in found if each["chunks"] == "none"}
    for each in found:
        ratio = each["steps"] / whole[each["zoo"]]
        print(f"chunks: {each['zoo']}, {words(each)}, {ratio:.1f} times the steps of all chunks")


def words(found: dict[str, Any]) -> str:
    """Return what is printed about one run."""
    test, best = found["test"], found["best"]["seconds"]
    scores = f"test τ {test['tau']:.3f}, MSE {test['mse']:.4f}, best after {best:.0f} s"
    return f"at most {found['chunks']} chunks: {found['steps']} steps, {scores}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoos", nargs="+", type=Path)
    parser.add_argument("--budget", type=float, default=180.0)
    parser.add_argument("--chunks", nargs="*", default=CHUNKS, choices=CHUNKS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    for zoo in given.zoos:
        for chunks in given.chunks:
            measure(zoo, chunks, given.budget)


if __name__ == "__main__":
    main()
