"""Measures how often 90 % intervals contain the true value, from the committed cells of two comparisons.

``python docs/benchmarks/coverage.py`` prints the coverage on the test networks of the zoo that a model was
trained on, for each method and zoo. Then it asks what more networks for the calibration would give: a part of
the test networks calibrates, chosen at random many times, and the others are tested. For this the intervals
have the same width for all networks, because a cell has no embeddings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sneframe.predict.conformal import LEVEL, bound

HERE = Path(__file__).parent
COMPARISONS = ("inr-frequency", "cnn-accuracy")
CALIBRATING, DRAWS = (50, 100, 250), 1000


def tests() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each cell with the test on its own zoo, if the cell has a coverage."""
    for folder in COMPARISONS:
        for path in sorted((HERE / folder / "cells").glob("*.json")):
            cell = json.loads(path.read_text())
            for test in cell["tests"]:
                if test["zoo"] == cell["zoo"]["digest"] and test.get("coverage") is not None:
                    yield cell, test


def drawn(errors: np.ndarray, calibrating: int, generator: np.random.Generator) -> np.ndarray:
    """Return coverages ``(DRAWS,)`` if some networks calibrate and all others are tested."""
    found = []
    for _ in range(DRAWS):
        order = generator.permutation(errors)
        most = bound(order[:calibrating], np.arange(calibrating), LEVEL)
        found.append(np.mean(order[calibrating:] <= most))
    return np.array(found)


def main() -> None:
    """Print both tables."""
    generator = np.random.default_rng(0)
    coverages: dict[tuple[str, str], list[float]] = {}
    limits: dict[int, list[np.ndarray]] = {count: [] for count in CALIBRATING}
    for cell, test in tests():
        coverages.setdefault((cell["recipe"], cell["zoo"]["name"]), []).append(100 * test["coverage"])
        errors = np.abs(np.array(test["true"]) - np.array(test["predicted"]))
        for count in CALIBRATING:
            limits[count].append(100 * drawn(errors, count, generator))
    for (recipe, zoo), each in coverages.items():
        print(f"{recipe:24} {zoo:20} {', '.join(f'{coverage:.1f}' for coverage in each)}")
    for count, each in limits.items():
        low, middle, high = np.percentile(np.concatenate(each), (2.5, 50, 97.5))
        print(
            f"{count} networks calibrate: {middle:.1f} %, and 95 % of the draws in {low:.1f} … {high:.1f} %"
        )


if __name__ == "__main__":
    main()
