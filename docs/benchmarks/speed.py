"""Measures what the pages say about speed, and prints each ratio.

``python docs/benchmarks/speed.py [PART …]`` runs the parts that are named, or all. ``step`` compares a
training step of ``sne/default`` with its equations. ``large`` embeds files of many weights. ``compare`` runs
twelve cells one after the other, and two at a time. ``mapped`` trains on a zoo that takes more than the
memory that weights may take, and on a part of it in memory. ``--weights 1e9`` sets the size of the file,
``--zoo-gb 20`` that of the zoo, and ``--folder`` where files are written.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import save_file
from sneframe_sne.scalar_attention import ScalarSAB
from sneframe_sne.set_attention import ISAB, MAB, PMA
from torch import Tensor, nn

import sneframe
from sneframe.architecture import Architecture
from sneframe.batch import Batch, join
from sneframe.freed_memory import keep_freed_memory
from sneframe.zoo import create, open_zoo

NETWORKS, ROUNDS = 64, 15


# -- a training step, and the same by the equations ----------------------------------------------------------


def attention(block: nn.Module, x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """Return MAB(x, y) by its equation, with torch's attention."""
    query = block.query(x)
    q, k, v = (
        rearrange(t, "s c (h d) -> s h c d", h=block.heads) for t in (query, block.key(y), block.value(y))
    )
    allowed = None if mask is None else rearrange(mask, "s c -> s 1 1 c")
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    hidden = block.norm1(query + rearrange(attended, "s h c d -> s c (h d)"))
    return block.norm2(hidden + F.relu(block.output(hidden)))


@contextmanager
def by_the_equations() -> Iterator[None]:
    """Compute every set function of SNE by its equation inside a ``with`` block."""

    def pooled(self: PMA, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return attention(self, self.seed.expand(len(x), 1, -1), x, mask)[:, 0]

    def induced(self: ISAB, x: Tensor, mask: Tensor | None = None) -> Tensor:
        points = attention(self.gather, self.points.expand(len(x), -1, -1), x, mask)
        return attention(self.scatter, x, points, None)

    def scalars(self: ScalarSAB, x: Tensor, mask: Tensor | None, pool: PMA, added: Tensor) -> Tensor:
        elements = rearrange(x, "s c -> s c 1")
        return pooled(pool, attention(self, elements, elements, mask) + added[:, None], mask)

    with (
        patch.object(ScalarSAB, "pooled", scalars),
        patch.object(PMA, "forward", pooled),
        patch.object(ISAB, "forward", induced),
        patch.object(MAB, "forward", attention),
    ):
        yield


class Sine(nn.Module):
    """The activation of the networks."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * x)


def networks() -> tuple[Architecture, Batch]:
    """Return 64 networks 1 → 32 → 32 → 1 with random weights."""
    layers = [nn.Linear(1, 32), Sine(), nn.Linear(32, 32), Sine(), nn.Linear(32, 1)]
    architecture = Architecture.from_module(nn.Sequential(*layers), torch.zeros(2, 1))
    weights = 0.2 * torch.randn(NETWORKS, architecture.num_weights)
    return architecture, join({architecture: weights}, {architecture: range(NETWORKS)})


def seconds(action: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


def step() -> None:
    """Compare a step of ``sne/default`` with the same step by the equations, one thread, in turn."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    keep_freed_memory()
    architecture, batch = networks()
    encoder = sneframe.encoder("sne/default", [architecture])
    encoder.normalise.fit([batch])

    def training() -> Tensor:
        encoder.zero_grad()
        embedding: Tensor = encoder(batch)
        embedding.square().sum().backward()
        return torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])

    def literal() -> Tensor:
        with by_the_equations():
            return training()

    def inference() -> Tensor:
        with torch.no_grad():
            embedding: Tensor = encoder(batch)
            return embedding

    def literal_inference() -> Tensor:
        with by_the_equations():
            return inference()

    difference = float((inference() - literal_inference()).norm() / inference().norm())
    gradients = float((training() - literal()).norm() / literal().norm())
    print(f"step: 64 networks 1-32-32-1, one thread, CPU time, medians of {ROUNDS}")
    print(f"  embeddings differ by {difference:.1e} of their size, gradients by {gradients:.1e}")
    for name, fast, slow in (
        ("forward and backward", training, literal),
        ("forward only", inference, literal_inference),
    ):
        pairs = [(seconds(fast), seconds(slow)) for _ in range(ROUNDS)]
        ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(slow / fast for fast, slow in pairs)
        line = f"{1000 * ours:.0f} ms, by the equations {1000 * theirs:.0f} ms, ratio {ratio:.2f}"
        print(f"  {name}: {line}; products of matrices alone {1000 * products(name):.0f} ms")


def products(name: str) -> float:
    """Return the CPU time of the products of matrices of one step in the fast form, and of nothing else.

    Chunks: 37 of 32 weights for each network. Sets of one parameter: one of 32 chunks, and five of one.
    """
    chunks, size, width, heads, points = 37 * NETWORKS, 32, 64, 4, 16
    rows = 6 * NETWORKS * points
    shapes = [
        (chunks * size, heads + 2, width),  # before the first LayerNorm
        *[(chunks * size, heads + 3, width)] * 2,  # after it, and its projection
        *[(chunks * size, width, heads)] * 2,  # scores of the pooling, and pooled elements
        *[(chunks * size * heads, size, 3)],  # moments of the attention of scalars
        *[(chunks, width, width)] * (2 * 4 + 3),  # of chunks: in two induced blocks, and pooled
        *[(rows, width, width)] * (2 * 3),  # of their points
    ]
    passes = 3 if "backward" in name else 1  # a product has one gradient for each of its factors
    total = 0.0
    for a, b, c in shapes:
        left, right = torch.randn(min(a, 4096), b), torch.randn(b, c)
        torch.mm(left, right)
        best = min(seconds(lambda left=left, right=right: torch.mm(left, right)) for _ in range(5))
        total += passes * best * a / len(left)
    return total


# -- a large file -----------------------------------------------------------------------------------------

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
    words = 32_000 if weights > 5e7 else 500
    width = 64 * max(1, round((weights / (12 * 24)) ** 0.5 / 64))
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


def large(folder: Path, sizes: list[float]) -> None:
    """Embed files of several sizes, a sample of them and all weights, by commands of their own."""
    run = folder / "run"
    if not run.exists():
        words = ["--set", "train.epochs=1", "--set", "invariance.part=none", "--no-report", "--out", str(run)]
        subprocess.run([sys.executable, "-m", "sneframe", "run", "--plugin", "sne", *words], check=True)
    for weights in sizes:
        for kind in (torch.float32, torch.float16) if weights >= 1e9 else (torch.float32,):
            path = folder / "large.safetensors"
            count = checkpoint(path, weights, kind)
            for how in ("", "--all-weights"):
                if how == "" and count <= 50_000_000:
                    continue
                words = ["embed", str(run), str(path), "--out", str(folder / "e.npz"), *how.split()]
                begun = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True
                )
                spent = time.perf_counter() - begun
                peak = done.stdout.split()[-3]
                what = "all weights" if how or count <= 50_000_000 else "a sample"
                print(f"large: {count:,} weights, {kind}, {what}: {spent:.1f} s, {peak} MiB", flush=True)
            path.unlink()


# -- cells at a time --------------------------------------------------------------------------------------


def cells(folder: Path) -> None:
    """Run twelve cells one after the other, two at a time, and with two commands on one folder."""
    word = [sys.executable, "-m", "sneframe", "compare", "--recipes", "sne/message,stats/mlp,deepsets,probe"]
    word += ["--seeds", "3", "--set", "train.epochs=4", "--quiet", "--out"]
    spent = {}
    for name, how in (("serial", []), ("process", ["--engine", "process", "--workers", "2"])):
        out = folder / name
        shutil.rmtree(out, ignore_errors=True)
        begun = time.perf_counter()
        subprocess.run([*word, str(out), *how], check=True)
        spent[name] = time.perf_counter() - begun
    shutil.rmtree(folder / "shared", ignore_errors=True)
    begun = time.perf_counter()
    both = [subprocess.Popen([*word, str(folder / "shared")]) for _ in range(2)]
    assert [command.wait() for command in both] == [0, 0]
    spent["two commands"] = time.perf_counter() - begun
    for name, time_ in spent.items():
        print(f"compare: 12 cells, {name}: {time_:.0f} s, ratio to serial {time_ / spent['serial']:.2f}")


# -- a zoo beyond memory ----------------------------------------------------------------------------------

#: Trains one recipe on a zoo, and then prints what was measured as JSON. The largest anonymous memory is that
#: of the process itself, without pages of mapped files, which the system takes back when it needs memory.
TRAINED = """
import ctypes, json, mmap, os, sys, threading, time
import sneframe
from sneframe.freed_memory import keep_freed_memory
from sneframe.progress import Reporter
from sneframe.train import loop, run

out, recipe, *words = sys.argv[1:]
keep_freed_memory()

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))

peak = [0]
def watch():
    while True:
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.01)

def fit(objective, data, *rest, **more):
    # A zoo that is larger than the memory of the machine is read from the disk in each epoch. So nothing of
    # it may be in the page cache, but the constants of the normalisation were fitted just now.
    for networks in data.batch.networks if data.ahead else ():
        page = networks.weights.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
        size = networks.weights.data_ptr() + networks.weights.nbytes - page
        given = ctypes.c_void_p(page), ctypes.c_size_t(size), mmap.MADV_DONTNEED
        assert ctypes.CDLL(None).madvise(*given) == 0
    dropped()
    return fitted(objective, data, *rest, **more)

def dropped():
    for folder, _, names in os.walk(os.environ["XDG_CACHE_HOME"]):
        for name in names:
            file = os.open(os.path.join(folder, name), os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)

fitted, run.fit = run.fit, fit
config = sneframe.recipe(recipe, *words)
before = anonymous()
threading.Thread(target=watch, daemon=True).start()
metrics = sneframe.run(config, out, report=False).metrics
networks = metrics["steps"] * config.train.batch_size
seconds = metrics["seconds"]
print(json.dumps({
    "rate": networks / (seconds["step"] * metrics["steps"]), "steps": metrics["steps"],
    "total": seconds["total"], "before": before, "peak": peak[0],
}))
"""


#: A method that computes little, so that reading matters as much as it can.
CHEAP = ("mlp", "layer_encoder.width=16", "train.batch_size=256")


def small_cnns(path: Path, gigabytes: float) -> int:
    """Write a zoo of CNNs whose weights take so many GB in single precision, and return their number.

    The weights are random half-precision numbers, and their scale is the property to predict.
    """
    layers = [
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
    ]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    architecture = Architecture.from_module(nn.Sequential(*layers), torch.zeros(2, 1, 28, 28))
    count, some = int(gigabytes * 1e9) // (4 * architecture.num_weights), 2048
    generator = np.random.default_rng(0)
    drawn = {
        p.name: generator.standard_normal((some, *p.shape)).astype(np.float16)
        for p in architecture.parameters
    }
    with create(path, name="small-cnns") as writer:
        for start in range(0, count, some):
            n = min(some, count - start)
            scale = generator.uniform(0.5, 2.0, n).astype(np.float16)
            weights = {name: (values[:n].T * scale).T for name, values in drawn.items()}
            properties = {"scale": scale.astype(np.float64), "number": np.arange(start, start + n)}
            writer.append(architecture, weights, properties)
    return count


def read_speed(folder: Path) -> float:
    """Return how many bytes per second one thread reads from files that are not in the page cache."""
    read, begun, buffer = 0, time.perf_counter(), bytearray(1 << 24)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while read < 4e9 and (size := file.readinto(buffer)):
                read += size
    return read / (time.perf_counter() - begun)


def mapped(folder: Path, gigabytes: float, memory: str, rounds: int) -> None:
    """Train on a zoo beyond ``memory``, and in memory on a part of it, with the same sampler and in turn."""
    path, cache = folder / "cnns.zarr", folder / "cache"
    begun = time.perf_counter()
    count = len(open_zoo(path)) if path.exists() else small_cnns(path, gigabytes)
    zoo = open_zoo(path)
    print(f"mapped: {count:,} CNNs, {zoo.size / 1e9:.1f} GB of weights", flush=True)
    print(f"  written in {time.perf_counter() - begun:.0f} s", flush=True)
    begun = time.perf_counter()
    with patch.dict(os.environ, {"XDG_CACHE_HOME": str(cache)}):
        zoo.load(memory=0)
    print(f"  decoded in {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"  the disk reads {read_speed(cache) / 1e6:.0f} MB/s in one thread", flush=True)
    fitting = min(count, int(2e9 / (zoo.size / count)))
    words = [*CHEAP, f"zoo.path={path}", "zoo.property=scale", "train.budget=30", "train.epochs=1"]
    words += ["device=cpu", "train.shuffle=blocks", "train.block=53", "train.buffer=300MB"]
    ways = {
        "in memory": [f"zoo.sizes=[{fitting - 2000},1000,1000]", f"zoo.where=number < {fitting}"],
        f"mapped, --memory {memory}": [f"zoo.sizes=[{count - 2000},1000,1000]", f"zoo.memory={memory}"],
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, more in ways.items():
            out = folder / "run"
            shutil.rmtree(out, ignore_errors=True)
            done = subprocess.run(
                [sys.executable, "-c", TRAINED, str(out), *words, *more],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env={**os.environ, "XDG_CACHE_HOME": str(cache)},
            )
            found = json.loads(done.stdout.splitlines()[-1])
            rates[name].append(found["rate"])
            anonymous = f"{found['before'] / 1e6:.0f} MB before, at most {found['peak'] / 1e6:.0f} MB"
            print(
                f"  {name}: {found['rate']:.0f} networks/s over {found['steps']} steps, "
                f"{found['total']:.0f} s in all, anonymous memory {anonymous}",
                flush=True,
            )
    ours, theirs = rates.values()
    ratio = statistics.median(own / other for other, own in zip(ours, theirs, strict=True))
    print(f"  ratio of mapped to in memory, median of {rounds}: {ratio:.2f}")


def main() -> None:
    parts = {"step", "large", "compare", "mapped"}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(sorted(parts))}")
    parser.add_argument("--weights", type=float, nargs="*", default=[1e4, 1e5, 1e6, 1e7, 1e8, 1e9])
    parser.add_argument("--zoo-gb", type=float, default=20.0)
    parser.add_argument("--memory", default="1GB", help="memory for weights in the part mapped")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of trainings in the part mapped")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if unknown := set(given.parts) - parts:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    wanted = set(given.parts) or parts
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if "step" in wanted:
            step()
        if "large" in wanted:
            large(folder, given.weights)
        if "compare" in wanted:
            cells(folder)
        if "mapped" in wanted:
            mapped(folder, given.zoo_gb, given.memory, given.rounds)
    print(f"peak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
