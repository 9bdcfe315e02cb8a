"""An invented finished run: the files of a run folder as a run writes them, with plausible numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.stats import kendalltau

Data = dict[str, Any]

SUMMARIES = {
    "5b1d0c6f9a7e4432": "linear 1×32 · linear 32×32 · linear 32×1 (1153 weights)",
    "c02e8f5514ab90d7": "linear 1×16 · linear 16×16 · linear 16×16 · linear 16×1 (593 weights)",
    "90aa17c3be2d6f08": "conv2d 1×8×3×3 · conv2d 8×16×3×3 · linear 16×10 (1418 weights)",
}
CONFIG = """\
recipe = "sne/default"
seed = 0
device = "auto"
precision = "no"

[zoo]
path = "zoos/sine.zarr"
property = "frequency"
split = "random"
sizes = [0.7, 0.15, 0.15]

[tokenizer]
part = "sne/pad-chunk"
chunk_size = 32

[train]
epochs = 30
batch_size = 64
lr = 0.001
"""


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run folder and return it; see :func:`_write`."""

    def write(**options: Any) -> Path:
        folder = tmp_path / "sne-default-001"
        folder.mkdir()
        _write(folder, **options)
        return folder

    return write


@pytest.fixture
def edit() -> Callable[[Path, Callable[[Data], object]], None]:
    """Return a function that edits a JSON file: ``edit(path, lambda data: data.pop("test"))``."""

    def change(path: Path, how: Callable[[Data], object]) -> None:
        data = json.loads(path.read_text(encoding="utf-8"))
        how(data)
        _json(path, data)

    return change


def _write(
    folder: Path,
    *,
    networks: int = 40,
    architectures: int = 1,
    epochs: int = 30,
    width: int = 16,
    zoo: str = "sine",
    property: str = "frequency",  # noqa: A002
) -> None:
    """Write a run folder with this many test networks, and as many validation networks."""
    rng = np.random.default_rng(7)
    summaries = dict(list(SUMMARIES.items())[:architectures])
    ids = rng.permutation(10 * networks)[: 2 * networks]
    kinds = rng.choice(list(summaries), 2 * networks)
    true = rng.uniform(0.5, 10.0, 2 * networks)
    predicted = true + rng.normal(0, 0.4, 2 * networks) - 0.01 * (true - 5) ** 2
    splits = np.repeat(["test", "val"], networks)
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    _json(folder / "environment.json", _environment(zoo, summaries))
    _history(folder / "history.jsonl", epochs, rng)
    lines = ["id,split,architecture,source,group,true,predicted"]
    sources = [f"nets/{number}.pt" for number in ids]
    rows = zip(ids, splits, kinds, sources, ids, true, predicted, strict=True)
    lines += [",".join(map(str, row)) for row in rows]
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    test = splits == "test"
    metrics = {
        "property": property,
        "task": "regression",
        "also": {},
        "val": _scores(true[~test], predicted[~test]),
        "test": _scores(true[test], predicted[test]),
        "baseline": {
            "val": _scores(true[~test], np.full(networks, 5.25)),
            "test": _scores(true[test], np.full(networks, 5.25)),
        },
        "by_architecture": {
            kind: _scores(true[test & (kinds == kind)], predicted[test & (kinds == kind)])
            for kind in summaries
        },
        "left_out": {},
        "architectures": {
            "train": dict.fromkeys(summaries, 900 // len(summaries)),
            "val": dict(Counter(kinds[~test].tolist())),
            "test": dict(Counter(kinds[test].tolist())),
        },
        "invariance": {"e_g": 0.0123, "e_noise": 0.57},
        "size": 158001,
        "epochs": epochs,
        "steps": 32 * epochs,
        "passes": float(epochs),
        "best_epoch": max(epochs - 2, 0),
        "stopped_by": None,
        "seconds": {"train": 57.3, "step": 0.05, "to_best": 50.0, "total": 4021.0},
    }
    _json(folder / "metrics.json", metrics)

    y = true[test]
    latent = np.stack([y, np.sin(y), np.cos(y), kinds[test] == kinds[0]], axis=1)
    values = latent @ rng.normal(size=(4, width)) + rng.normal(0, 0.1, (networks, width))
    tensors = {"ids": ids[test].astype(np.int64), "values": values.astype(np.float32)}
    save_file(tensors, folder / "embeddings.safetensors")


def _history(path: Path, epochs: int, rng: np.random.Generator) -> None:
    lines = []
    for epoch in range(1, epochs + 1):
        loss = 0.02 + float(np.exp(-epoch / 5)) * rng.uniform(0.8, 1.2)
        train = {"loss": 1.1 * loss, "task": loss, "invariance": 0.1 * loss}
        val = {"mse": 9 * loss + 0.1, "r2": 1 - loss, "tau": 1 - loss}
        record = {"epoch": epoch, "step": 32 * epoch, "seconds": 1.9 * epoch, "lr": 1e-3}
        lines.append(json.dumps({**record, "train": train, "val": val}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def _environment(zoo: str, summaries: dict[str, str]) -> Data:
    return {
        "sneframe": "0.1.0",
        "python": "3.12.4",
        "platform": "Linux-6.8.0-x86_64-with-glibc2.39",
        "packages": {"torch": "2.13.0", "numpy": "2.4.6", "zarr": "3.1.6", "scikit-learn": "1.9.1"},
        "plugins": {
            "sne": {"distribution": "sneframe", "version": "0.1.0"},
            "head": {"distribution": "sneframe", "version": "0.1.0"},
        },
        "device": "cpu",
        "precision": "no",
        "processes": 1,
        "threads": 2,
        "zoo": {
            "name": zoo,
            "path": "zoos/sine.zarr",
            "digest": "3d6b57a01b2f64a1f2c8c1c0b9a3a7e2f2d1c2b3a4958677665544332211009",
            "networks": 1000,
            "architectures": summaries,
        },
        "recipe": "sne/default",
        "started": "2026-03-01T09:30:00+00:00",
    }


def _scores(true: np.ndarray, predicted: np.ndarray) -> Data:
    mse = float(np.mean((true - predicted) ** 2))
    tau = None if np.ptp(predicted) == 0 else float(kendalltau(true, predicted).statistic)
    return {"n": len(true), "mse": mse, "r2": 1 - mse / float(np.var(true)), "tau": tau}


def _json(path: Path, data: Data) -> None:
    path.write_text(json.dumps(data, indent=2), encoding="utf-8")
