"""Measures time and memory of embedding files of 10⁴ to 10⁹ weights.

``python docs/benchmarks/large_files.py [--weights 1e4 1e5 …] [--folder FOLDER] [--skip-exact]`` writes files
of random weights, and embeds each by a command of its own: all weights, and a sample of them where that is
the default. It says by how much both embeddings differ, and writes docs/benchmarks/large-files.json, which
``size_chart.py`` draws.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

FOUND = Path(__file__).parent / "large-files.json"
SIZES = (1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
LARGE = 50_000_000  #: above so many weights, a sample is encoded by default
KINDS = {"float32": torch.float32, "float16": torch.float16}

#: Runs the command line in this process, and then says the largest resident set, in MiB.
MEASURED = """
import sys
from sneframe.bench.worker import peak_memory
from sneframe.cli import main
try:
    main(sys.argv[1:])
except SystemExit as done:
    print("peak", peak_memory() >> 20, "rc", done.code)
"""


def checkpoint(path: Path, weights: float, kind: torch.dtype) -> int:
    """Write a transformer with about so many random weights, and return their number."""
    words = 32_000 if weights > LARGE else max(16, int(weights / 10_000))
    width = 64 * max(1, round((weights / (12 * 24)) ** 0.5 / 64))
    if weights < 1e5:
        width = 8 * max(1, round((weights / 12) ** 0.5 / 8))
    blocks = max(1, round((weights - words * width) / (12 * width**2)))
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=generator) * shape[-1] ** -0.5).to(kind)

    state = {"embedding.weight": draw(words, width)}
    for block in range(blocks):
        stem = f"blocks.{block}"
        state |= {f"{stem}.{name}.weight": draw(width, width) for name in ("query", "key", "value", "out")}
        state |= {f"{stem}.up.weight": draw(4 * width, width), f"{stem}.down.weight": draw(width, 4 * width)}
        state |= {f"{stem}.norm.weight": torch.ones(width, dtype=kind)}
    save_file(state, path)
    return sum(value.numel() for value in state.values())


def embed(run: Path, path: Path, out: Path, *words: str) -> tuple[dict[str, float], np.ndarray]:
    """Embed a file by a command.

    Returns:
        its seconds, seconds of CPU time, and largest memory in MiB; and the embedding
    """
    command = [sys.executable, "-c", MEASURED, "embed", str(run), str(path), "--out", str(out), *words]
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    spent, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with np.load(out) as arrays:
        embedding = next(arrays[name] for name in arrays.files if arrays[name].ndim == 2)[0]
    peak = int(done.stdout.split()[-3])
    return {"seconds": round(spent, 1), "cpu": round(cpu, 1), "mib": peak}, embedding


def measure(run: Path, folder: Path, weights: float, kind: str, *, exactly: bool) -> dict[str, Any]:
    """Measure one file, and return what was found."""
    path = folder / "large.safetensors"
    count = checkpoint(path, weights, KINDS[kind])
    found: dict[str, Any] = {"weights": count, "type": kind, "bytes": path.stat().st_size}
    embeddings = {}
    forms = {"sampled": ()} if count > LARGE else {}
    for form, words in (forms | ({"exact": ("--all-weights",)} if exactly else {})).items():
        found[form], embeddings[form] = embed(run, path, folder / "e.npz", *words)
        seconds, cpu, peak = found[form].values()
        said = f"{seconds} s, {cpu} s of CPU time, {peak} MiB"
        print(f"large files: {count:,} weights, {kind}, {form}: {said}", flush=True)
    path.unlink()
    if len(embeddings) == 2:
        exact, sampled = embeddings["exact"], embeddings["sampled"]
        found["error"] = float(f"{np.linalg.norm(sampled - exact) / np.linalg.norm(exact):.2g}")
        print(f"large files: the embedding of the sample differs by {found['error']} of its size", flush=True)
    return found


def large(folder: Path, sizes: list[float], *, exactly: bool = True) -> None:
    """Measure files of several sizes; of the largest, also one in half precision, sampled."""
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / "run"
    if not run.exists():
        words = ["--set", "train.epochs=1", "--set", "invariance.part=none", "--no-report", "--out", str(run)]
        subprocess.run([sys.executable, "-m", "sneframe", "run", "--plugin", "sne", *words], check=True)
    known = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else []
    files = {(each["weights"], each["type"]): each for each in known}
    for weights in sizes:
        for kind in ("float32", "float16") if weights >= 1e9 else ("float32",):
            found = measure(run, folder, weights, kind, exactly=exactly and kind == "float32")
            key = found["weights"], kind
            files[key] = files.get(key, {}) | found
            lines = [json.dumps(files[key]) for key in sorted(files)]
            FOUND.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n", encoding="utf-8")
    exact = [(each["weights"], each["exact"]["cpu"]) for each in files.values() if "exact" in each]
    streamed = [(weights, cpu) for weights, cpu in exact if weights > 5e6]  # less is the start of Python
    if len(streamed) > 1:
        (few, short), (many, long) = min(streamed), max(streamed)
        power = math.log(long / short) / math.log(many / few)
        print(f"large files: exact, from {few:,} to {many:,} weights the seconds grow with power {power:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=float, nargs="*", default=SIZES)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--skip-exact", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        large(given.folder or Path(temporary), list(given.weights), exactly=not given.skip_exact)


if __name__ == "__main__":
    main()
