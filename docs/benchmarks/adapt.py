"""Measures what a few labelled networks give, from the predictions in the committed cells of comparisons.

Each cell holds the predictions of a trained model for the test networks of other zoos. Some of these networks
are drawn as labelled ones, an adjustment is chosen as ``sneframe adapt`` does, and the others are the test
networks. A cell has no embeddings, so only corrections are tried here, and no weights are changed. Run
``python docs/benchmarks/adapt.py``. The results are written to ``docs/benchmarks/adapt.json``, and a table is
printed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sneframe.adaptation.adjustments import CORRECTIONS, Encoded
from sneframe.adaptation.choice import choose
from sneframe.adaptation.draw import drawn
from sneframe.compose import use
from sneframe.parts.carriers import Embedding
from sneframe.parts.head import Head
from sneframe.parts.part import Spec
from sneframe.tasks import Regression, Tasks
from sneframe.testing import mlp

HERE = Path(__file__).parent
NETWORKS, DRAWS = (5, 10, 30), 5
TRANSFORMER = "mnist-transformer"  #: the only zoo of the cells on which no model was trained
#: The folder of the cells, the name of the zoo that a model was trained on, and the name of the new zoo.
MOVES = (
    ("cnn-accuracy", "mnist-small-cnn", "fashion-small-cnn"),
    ("cnn-accuracy", "mnist-small-cnn", "cifar10-small-cnn"),
    ("cnn-across-architectures", "mnist-arch1", TRANSFORMER),
)
METHODS = ("sne/probe", "sne/message-statistics", "stats/boosting", "stats/pooled")
TASKS = Tasks(each=[Regression(name="accuracy", mean=0.0, std=1.0, within=(0.0, 1.0))])


def identity() -> Head:
    """Return a head whose output is the embedding, of width 1."""
    choice = use("head/linear")
    spec = Spec(carrier=Embedding, width=1, architectures=(mlp(1, 1),), values=1)
    head: Head = choice.part(choice.config, spec)
    head.load_state_dict({"linear.weight": torch.ones(1, 1), "linear.bias": torch.zeros(1)})
    return head


def adapted(head: Head, everything: Encoded, labelled: np.ndarray) -> dict[str, Any]:
    """Adapt to the labelled networks, and return errors on all others, by the name of the adjustment."""
    others = np.setdiff1d(np.arange(len(everything)), labelled)
    networks, rest = everything.take(labelled), everything.take(others)
    tried = [each for each in CORRECTIONS if each.fewest <= len(labelled)]
    outcome = choose(tried, head, TASKS, networks)

    def error(values: np.ndarray) -> float:
        return float(np.mean((values - rest.truth["accuracy"]) ** 2))

    errors = {each.name: error(each.fit(head, TASKS, networks).predict(rest)["accuracy"]) for each in tried}
    mean = error(np.full(len(others), networks.truth["accuracy"].mean()))
    return {"chosen": outcome.chosen.name, "after": errors[outcome.chosen.name], "mean": mean, **errors}


def measured(head: Head, test: Mapping[str, Any], count: int, seed: int) -> dict[str, Any]:
    """Adapt to ``count`` networks of a test that are drawn as `sneframe adapt` does, and also at random."""
    true, predicted = np.array(test["true"]), np.array(test["predicted"])
    everything = Encoded(
        embedding=torch.from_numpy(predicted[:, None]).float(),
        truth={"accuracy": true},
        group=np.arange(len(true)),
    )
    spread = adapted(head, everything, drawn(everything.group, predicted, count, seed))
    at_random = np.random.default_rng(seed).permutation(len(true))[:count]
    return {**spread, "after a random draw": adapted(head, everything, at_random)["after"]}


def tests(folder: str, source: str, target: str) -> dict[str, list[dict[str, Any]]]:
    """Return the tests on the zoo ``target`` of models that were trained on ``source``, by method.

    Only networks on which all these models were tested are kept.
    """
    cells = [json.loads(path.read_text()) for path in sorted((HERE / folder / "cells").glob("*.json"))]
    names = {cell["zoo"]["digest"]: cell["zoo"]["name"] for cell in cells}
    found = {
        method: [
            test
            for cell in cells
            if cell["recipe"] == method and cell["zoo"]["name"] == source
            for test in cell["tests"]
            if names.get(test["zoo"], TRANSFORMER) == target
        ]
        for method in METHODS
    }
    common = set.intersection(*(set(test["ids"]) for each in found.values() for test in each))
    return {method: [_only(test, common) for test in each] for method, each in found.items()}


def _only(test: Mapping[str, Any], ids: Collection[int]) -> dict[str, Any]:
    """Return the true and predicted values of some networks of a test."""
    rows = [row for row, network in enumerate(test["ids"]) if network in ids]
    return {key: [test[key][row] for row in rows] for key in ("ids", "true", "predicted")}


def summary(values: list[float]) -> dict[str, float]:
    """Return the mean and the standard deviation of errors."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}


def results() -> Iterator[dict[str, Any]]:
    """Yield the results of each move, method and number of labelled networks, over models and draws."""
    head = identity()
    for folder, source, target in MOVES:
        for method, found in tests(folder, source, target).items():
            for count in NETWORKS if found else ():
                made = [
                    measured(head, test, count, seed)
                    for number, test in enumerate(found)
                    for seed in range(number * DRAWS, (number + 1) * DRAWS)
                ]
                names = [name for name in made[0] if name != "chosen"]
                yield {
                    "from": source,
                    "to": target,
                    "method": method,
                    "networks": count,
                    **{name: summary([each[name] for each in made]) for name in names},
                    "chosen": dict(Counter(each["chosen"] for each in made).most_common()),
                }


def cell(found: dict[str, float]) -> str:
    """Return a mean with its standard deviation, as the page has them."""
    return f"{found['mean']:.4f} ± {found['sd']:.4f}".replace("0.", ".")


if __name__ == "__main__":
    rows = list(results())
    (HERE / "adapt.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print("| from | to | method | networks | before | after | mean of the labelled | kept |")
    for row in rows:
        kept = ", ".join(f"{name} {count}" for name, count in row["chosen"].items())
        errors = [cell(row[key]) for key in ("nothing", "after", "mean")]
        words = [row["from"], row["to"], row["method"], str(row["networks"]), *errors, kept]
        print(f"| {' | '.join(words)} |")
