"""Runs twelve cells of a comparison one after the other, two at a time, and with two commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path


def cells(folder: Path) -> None:
    """Run twelve cells one after the other, two at a time, and with two commands on one folder.

    Two commands run once with one thread each, and once with as many as there are cores, which they share.
    """
    word = [sys.executable, "-m", "sneframe", "compare", "--recipes", "sne/message,stats/mlp,deepsets,probe"]
    word += ["--seeds", "3", "--set", "train.epochs=4", "--quiet", "--out"]
    ways = {
        "one after the other": [[]],
        "two at a time": [["--engine", "process", "--workers", "2"]],
        "two commands, one thread each": [[], []],
        "two commands, all threads each": [[], []],
    }
    first = 0.0
    for number, (name, commands) in enumerate(ways.items()):
        out = folder / str(number)
        shutil.rmtree(out, ignore_errors=True)
        environment = os.environ | ({"OMP_NUM_THREADS": "1"} if "one thread" in name else {})
        begun = time.perf_counter()
        running = [subprocess.Popen([*word, str(out), *more], env=environment) for more in commands]
        assert not any(command.wait() for command in running)
        spent = time.perf_counter() - begun
        first = first or spent
        tables = len(list(out.glob("*.md")))
        found = len(list((out / "cells").glob("*.json")))
        print(
            f"compare: {found} cells, {name}: {spent:.0f} s, ratio {spent / first:.2f}, {tables} table",
            flush=True,
        )
