"""Measures what the pages say about speed, and prints each ratio.

``python docs/benchmarks/speed.py [PART …]`` runs the parts that are named, or all. ``step`` compares a
training step of ``sne/default`` with its equations. ``large`` embeds files of many weights. ``compare`` runs
twelve cells one after the other, and two at a time. ``mapped`` trains on a zoo that takes more than the
memory that weights may take, and on a part of it in memory. ``--weights 1e9`` sets the size of the file,
``--zoo-gb 20`` that of the zoo, and ``--folder`` where files are written.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
from sneframe import devices
from sneframe.architecture import Architecture
from sneframe.batch import Batch, join
from sneframe.freed_memory import keep_freed_memory
from sneframe.model import build_model
from sneframe.progress import Reporter
from sneframe.tasks import Tasks, make_task
from sneframe.train.clock import Clock
from sneframe.train.data import Data, load_data
from sneframe.train.loop import Loop, train_step
from sneframe.train.objective import Objective
from sneframe.train.weight_average import WeightAverage
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

#: Trains on a zoo, and then prints the seconds, and the anonymous memory in MB before the run and at most.
#: Pages of mapped files are not anonymous: the system takes them back when it needs memory.
TRAINED = """
import sys, threading, time
from pathlib import Path
import sneframe
from sneframe.freed_memory import keep_freed_memory

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon"))

def watch():
    while True:
        seen.append(anonymous())
        time.sleep(0.02)

keep_freed_memory()
out, recipe, *words = sys.argv[1:]
config = sneframe.recipe(recipe, *words)
seen = [anonymous()]
threading.Thread(target=watch, daemon=True).start()
begun = time.perf_counter()
sneframe.run(config, out, report=False)
print(time.perf_counter() - begun, seen[0], max(seen))
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


def without_page_cache(folder: Path, data: Data) -> None:
    """Drop the decoded files from the page cache, as if the machine had too little memory for them."""
    for networks in data.batch.networks if data.ahead else ():  # pages that are mapped would stay
        start = networks.weights.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
        length = networks.weights.data_ptr() + networks.weights.nbytes - start
        given = ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_DONTNEED
        assert ctypes.CDLL(None).madvise(*given) == 0
    for path in (path for path in folder.rglob("*.npy")):
        with path.open("rb") as file:
            os.fsync(file.fileno())  # what is not on the disk yet would stay, too
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_speed(folder: Path) -> float:
    """Return how many bytes per second one thread reads from a decoded file."""
    path, buffer, read = next(folder.rglob("*.npy")), bytearray(1 << 24), 0
    begun = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while read < 2e9 and (size := file.readinto(buffer)):
            read += size
    return read / (time.perf_counter() - begun)


def prepared(recipe: str, words: Sequence[str]) -> Loop:
    """Return a training that is ready for its first step."""
    config = sneframe.recipe(recipe, *words)
    data, accelerator = load_data(config.zoo, Reporter()), devices.prepare("cpu", "no")
    task = make_task("scale", data.training("scale"), kind="auto", fitted=False)
    tasks = Tasks(each=[task])
    torch.manual_seed(0)
    model = build_model(config, data.training_architectures(), tasks.width)
    model.encoder.normalise.fit([data.batch.select(data.split.train[:10_000])])
    objective = Objective(model, tasks, None, task_weight=1.0, processes=1)
    return Loop(
        objective=objective.train(),
        stepper=objective,
        optimiser=torch.optim.AdamW(objective.parameters(), lr=1e-3, fused=True),
        accelerator=accelerator,
        data=data,
        targets=torch.from_numpy(tasks.targets(data.columns)).float(),
        config=config,
        clock=Clock(None, 0.0),
        sums=torch.zeros(3),
        average=WeightAverage(model, 0.0),
    )


def rate(loop: Loop, epoch: int, buffers: int) -> tuple[float, float]:
    """Return how many networks are trained on in a second, and in a second of CPU time.

    The first buffer of the epoch is not counted: only it is read while nothing is computed.
    """
    batches = loop.data.epoch_batches(loop.config.train, seed=0, epoch=epoch)[: buffers + 1]
    begun = spent = 0.0
    with loop.data.announced(batches):
        for number, some in enumerate(batches):
            if number == 1:
                begun, spent = time.perf_counter(), time.process_time()
            for step, positions in enumerate(some):
                train_step(loop, positions, step)
    networks = sum(len(positions) for some in batches[1:] for positions in some)
    return networks / (time.perf_counter() - begun), networks / (time.process_time() - spent)


def mapped(folder: Path, gigabytes: float, method: Sequence[str], memory: str, rounds: int) -> None:
    """Train on a zoo beyond ``memory``, and in memory on a part of it, with the same sampler and in turn."""
    path, cache = folder / "cnns.zarr", folder / "cache"
    os.environ["XDG_CACHE_HOME"] = str(cache)
    begun = time.perf_counter()
    count = len(open_zoo(path)) if path.exists() else small_cnns(path, gigabytes)
    zoo = open_zoo(path)
    print(f"mapped: {count:,} CNNs, {zoo.size / 1e9:.1f} GB of weights, one thread", flush=True)
    print(f"  written in {time.perf_counter() - begun:.0f} s", flush=True)
    begun = time.perf_counter()
    zoo.load(memory=0)
    print(f"  decoded in {time.perf_counter() - begun:.0f} s", flush=True)
    torch.set_num_threads(1)
    keep_freed_memory()
    fitting = min(count, int(1e9 / (zoo.size / count)))
    sampler = ("train.shuffle=blocks", "train.block=53", "train.buffer=100MB")
    recipe, *options = method
    words = (*options, f"zoo.path={path}", "zoo.property=scale", "zoo.sizes=[0.98,0.01,0.01]", *sampler)
    inside = prepared(recipe, [*words, f"zoo.where=number < {fitting}", "zoo.memory=2GB"])
    outside = prepared(recipe, [*words, f"zoo.memory={memory}"])
    assert inside.data.ahead is None
    assert outside.data.ahead is not None
    walls, spent, disk = [], [], []
    for epoch in range(rounds):
        without_page_cache(cache, outside.data)
        disk.append(read_speed(cache))
        without_page_cache(cache, outside.data)
        pair = rate(inside, epoch, buffers=4), rate(outside, epoch, buffers=4)
        (ours, ours_cpu), (theirs, theirs_cpu) = pair
        walls.append(theirs / ours)
        spent.append(theirs_cpu / ours_cpu)
        cpu = f"in a second of CPU time {ours_cpu:.0f} and {theirs_cpu:.0f}"
        line = f"in memory {ours:.0f} networks/s, mapped {theirs:.0f}; {cpu}"
        print(f"  {line}; the disk reads {disk[-1] / 1e6:.0f} MB/s", flush=True)
    ratios = f"{statistics.median(walls):.2f}, of CPU time {statistics.median(spent):.2f}"
    print(f"  mapped to in memory, median ratio of {rounds}: {ratios}", flush=True)
    del inside, outside
    out = folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    more = ("train.budget=20", "train.epochs=1", "device=cpu", f"zoo.memory={memory}")
    command = [sys.executable, "-c", TRAINED, str(out), recipe, *words, *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, before, most = map(float, done.stdout.split()[-3:])
    anonymous = f"anonymous memory {before:.0f} MB before and at most {most:.0f} MB"
    print(f"  a run with --memory {memory}: {seconds:.0f} s, 20 s of them training, {anonymous}")


def main() -> None:
    parts = {"step", "large", "compare", "mapped"}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(sorted(parts))}")
    parser.add_argument("--weights", type=float, nargs="*", default=[1e4, 1e5, 1e6, 1e7, 1e8, 1e9])
    parser.add_argument("--zoo-gb", type=float, default=20.0)
    parser.add_argument("--method", nargs="+", default=CHEAP, help="recipe and options in the part mapped")
    parser.add_argument("--memory", default="1GB", help="memory for weights in the part mapped")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of measurements in the part mapped")
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
            mapped(folder, given.zoo_gb, given.method, given.memory, given.rounds)
    print(f"peak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
