"""A transformer of a hundred million weights, embedded by a command of its own whose memory is measured."""

import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

WIDTH, HIDDEN, BLOCKS, WORDS = 768, 3072, 12, 20_000
#: Runs the command line in this process, and then says the largest resident set that it ever had, in MiB.
MEASURED = """
import sys
from sneframe.bench.worker import peak_memory
from sneframe.cli import main
try:
    main(sys.argv[1:])
except SystemExit as done:
    print("peak", peak_memory() >> 20, "rc", done.code)
"""


def checkpoint(path, blocks):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator) * shape[-1] ** -0.5

    state = {"embedding.weight": draw(WORDS, WIDTH)}
    for block in range(blocks):
        stem = f"blocks.{block}"
        state |= {f"{stem}.{name}.weight": draw(WIDTH, WIDTH) for name in ("query", "key", "value", "out")}
        state |= {f"{stem}.up.weight": draw(HIDDEN, WIDTH), f"{stem}.down.weight": draw(WIDTH, HIDDEN)}
        state |= {f"{stem}.norm.weight": torch.ones(WIDTH), f"{stem}.norm.bias": torch.zeros(WIDTH)}
    save_file(state, path)
    return sum(value.numel() for value in state.values())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("how", [(), ("--all-weights",)])
def test_a_hundred_million_weights_take_less_than_two_gigabytes(finished, tmp_path, how):
    """Encoding 100 million weights, or a sample of them, takes less than 2 GB of memory."""
    weights = checkpoint(tmp_path / "large.safetensors", BLOCKS)
    assert weights > 100_000_000
    words = ["embed", finished, tmp_path / "large.safetensors", "--out", tmp_path / "e.npz", *how]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, words)], capture_output=True, text=True, check=True
    )
    peak, code = done.stdout.split()[-3::2]
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{weights:,} weights, {seconds:.0f} s, {peak} MiB at most\n")  # pytest -rP shows it
    assert code == "0", done.stderr
    assert int(peak) < 2000
