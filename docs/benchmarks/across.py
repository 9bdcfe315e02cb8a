"""Prints the tables of accuracies across zoos, from the committed cells of comparisons.

``python docs/benchmarks/across.py cnn-accuracy tau``, or ``cnn-across-architectures``, or ``r2``. A model
that was trained on one zoo is scored on another zoo by those networks on which all models of this pair were
tested. (A command with one training zoo tests all networks of other zoos, and one with several tests
only their test networks.)
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

HERE = Path(__file__).parent
TRANSFORMER = "mnist-transformer"  #: the only zoo of the cells on which no model was trained
Pair = tuple[str, str]


def tests(folder: str) -> dict[Pair, dict[str, dict[int, dict[int, tuple[float, float]]]]]:
    """Return true and predicted values by pair of zoos (digests), method, seed and network."""
    found: dict[Pair, Any] = defaultdict(lambda: defaultdict(dict))
    for path in sorted((HERE / folder / "cells").glob("*.json")):
        cell = json.loads(path.read_text())
        method = cell["recipe"] + (", λ = 0" if "invariance.part=none" in cell["overrides"] else "")
        for test in cell["tests"]:
            values = zip(test["true"], test["predicted"], strict=True)
            found[cell["zoo"]["digest"], test["zoo"]][method][cell["seed"]] = dict(
                zip(test["ids"], values, strict=True)
            )
    return found


def names(folder: str) -> Mapping[str, str]:
    """Return the name of each zoo on which a model was trained, by its digest."""
    cells = (json.loads(path.read_text()) for path in (HERE / folder / "cells").glob("*.json"))
    return {cell["zoo"]["digest"]: cell["zoo"]["name"] for cell in cells}


def score(metric: str, pairs: np.ndarray) -> float:
    """Return Kendall's τ-b or R² of true and predicted values ``(n, 2)``."""
    true, predicted = pairs.T
    if metric == "tau":
        return float(kendalltau(true, predicted).statistic)
    return float(1 - np.mean((true - predicted) ** 2) / np.var(true))


def shown(values: list[float], metric: str) -> str:
    """Return the mean and the standard deviation of scores, as the page has them."""
    places = 3 if metric == "tau" else 2
    both = (np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0.0)
    return " ± ".join(f"{each:.{places}f}".replace("0.", ".", 1).replace("-", "−") for each in both)


def main(folder: str, metric: str) -> None:
    """Print one row for each method, and the number of networks of each column."""
    name = names(folder)
    rows: dict[str, dict[Pair, str]] = defaultdict(dict)
    counts: dict[Pair, int] = {}
    for (source, target), methods in tests(folder).items():
        seeds = [by_id for by_seed in methods.values() for by_id in by_seed.values()]
        common = sorted(reduce(lambda one, other: one & other, [set(by_id) for by_id in seeds]))
        pair = (name[source], name.get(target, TRANSFORMER))
        counts[pair] = len(common)
        for method, by_seed in methods.items():
            each = [score(metric, np.array([by_id[i] for i in common])) for by_id in by_seed.values()]
            rows[method][pair] = shown(each, metric)
    order = sorted(counts)
    print("| |", " | ".join(f"{one} → {other} ({counts[one, other]})" for one, other in order), "|")
    for method, cells in rows.items():
        print(f"| `{method}` |", " | ".join(cells.get(pair, "–") for pair in order), "|")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
