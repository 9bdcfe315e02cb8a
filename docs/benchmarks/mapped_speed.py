"""Trains on a zoo that takes more than the memory that weights may take, and on a part of it in memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

import sneframe
from sneframe import devices
from sneframe.architecture import Architecture
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
