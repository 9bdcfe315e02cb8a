"""``training.json`` records facts about the training networks. Predictions compare new networks with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from attrs import field, frozen

from sneframe.batch import Batch
from sneframe.run_folder.json_files import fault, read_json


@frozen(kw_only=True)
class Range:
    """The range of the root mean square of the weights in one type of parameter.

    Args:
        least: the smallest value among the training networks.
        most: the largest value; not less than ``least``.
    """

    least: float
    most: float = field()

    @most.validator
    def _not_less(self, _: object, most: float) -> None:
        if most < self.least:
            raise ValueError(f"'most' ({most}) must not be less than 'least' ({self.least})")


@frozen(kw_only=True)
class TrainingNetworks:
    """Facts about the training networks.

    Args:
        networks: number of training networks.
        magnitudes: the range of each type of parameter, by type, such as ``linear.weight``.
        weight_hashes: the weight hash of each network that the training had; see :func:`weight_hashes`. These
            are the training networks, and the validation networks, which chose the epoch. Empty if the run
            recorded none.
    """

    networks: int
    magnitudes: Mapping[str, Range]
    weight_hashes: tuple[str, ...] = ()


def weight_hashes(batches: Iterable[Batch]) -> Iterator[tuple[int, str]]:
    """Yield the id and the weight hash of each network.

    The weight hash is a hash of the sorted weights in single precision. So it does not depend on the zoo in
    which a network is, on the order of its parameters, or on the order of its neurons.

    Args:
        batches: batches that hold each network once.
    """
    for batch in batches:
        for networks, ids in zip(batch.networks, batch.rows(torch.from_numpy(batch.ids)), strict=True):
            # Adding zero turns -0.0, which equals 0.0 but has other bits, into 0.0.
            weights = np.sort(networks.weights.float().cpu().numpy() + np.float32(0), axis=1)
            for number, row in zip(ids.tolist(), weights, strict=True):
                yield number, hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest()


def read_weight_hashes(path: Path) -> frozenset[str]:
    """Return the weight hashes of the networks that the training had.

    Raises:
        RunError: the file is missing or malformed, or records none.
    """
    found = read_json(path, TrainingNetworks).weight_hashes
    if not found:
        fault(path, "does not record which networks the run was trained on; run it again")
    return frozenset(found)


def read_magnitudes(path: Path) -> Mapping[str, tuple[float, float]]:
    """Return the least and the largest magnitude of each type of parameter, or nothing without the file.

    Raises:
        RunError: the file is malformed.
    """
    if not path.is_file():
        return {}
    found = read_json(path, TrainingNetworks).magnitudes
    return {kind: (each.least, each.most) for kind, each in found.items()}
