"""Read the embeddings of the test networks from ``embeddings.safetensors``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from attrs import frozen
from safetensors import SafetensorError
from safetensors.numpy import load

from sneframe.run_folder.json_files import fault, read_bytes


@frozen(kw_only=True, eq=False)
class Embeddings:
    """The embeddings of the test networks.

    Args:
        ids: ``(n,)`` int64 ids of the networks.
        values: ``(n, E)`` float64 embeddings.
    """

    ids: np.ndarray
    values: np.ndarray


def read_embeddings(path: Path, known: np.ndarray) -> Embeddings | None:
    """Return the embeddings of the test networks, or None if the file does not exist.

    Args:
        path: path of the file.
        known: ids of the test networks.

    Raises:
        RunError: the file is malformed, or holds a network that is not in ``known``.
    """
    if not path.exists():
        return None
    try:
        tensors = load(read_bytes(path))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        fault(path, f"not safetensors: {error}", error)
    if missing := {"ids", "values"} - tensors.keys():
        fault(path, f"has no tensor {', '.join(sorted(missing))}")
    ids, values = tensors["ids"], tensors["values"]
    if ids.ndim != 1 or ids.dtype != np.int64 or values.ndim != 2 or len(ids) != len(values):
        found = f"{ids.shape} {ids.dtype} and {values.shape}"
        fault(path, f"ids must be (n,) int64 and values (n, E), but got {found}")
    if not np.isfinite(values).all():
        fault(path, "values must be finite")
    if len(unknown := np.setdiff1d(ids, known)):
        fault(path, f"network {unknown[0]} is not a test network in predictions.csv")
    return Embeddings(ids=ids, values=values.astype(np.float64))
