"""Runs twelve cells of a comparison one after the other, two at a time, and with two commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path


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
