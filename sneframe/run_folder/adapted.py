"""``adapted.json`` records how a run was adapted to a new zoo: to which networks, and by which adjustment."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attrs import frozen

from sneframe.run_folder.json_files import read_bytes, read_json

NAME = "adapted.json"


@frozen(kw_only=True)
class Parent:
    """The run that was adapted.

    Args:
        path: path of its folder when it was adapted.
        model: SHA-256 hash of its ``best.safetensors``.
        zoo: digest of the zoo that it was trained on.
    """

    path: str
    model: str
    zoo: str


@frozen(kw_only=True)
class LabelledNetwork:
    """A network to which a run was adapted.

    Args:
        id: id of the network in the zoo.
        source: name of the network; see :attr:`sneframe.zoo.Zoo.sources`.
        group: run group of the network.
    """

    id: int
    source: str
    group: str


@frozen(kw_only=True)
class Tried:
    """The cross-validated error of an adjustment, on the main property.

    Args:
        name: name of the adjustment.
        mse: mean squared error of the labelled networks. Each is predicted by a fit to the others.
        standard_error: the standard error of this mean, over run groups.
    """

    name: str
    mse: float
    standard_error: float


@frozen(kw_only=True)
class Adaptation:
    """The content of ``adapted.json``.

    Args:
        parent: the run that was adapted.
        networks: the labelled networks to which it was adapted.
        where: the expression that selected networks of the zoo, or None.
        labelled: the expression that selected the labelled networks, or None if they were drawn.
        seed: seed of the draw.
        left_out: number of networks of the zoo that were left out, because their run groups hold a network
            that the training of the run had.
        folds: number of folds of the cross-validation.
        adjustments: the adjustments, from the simplest to the one with the most freedom.
        chosen: name of the chosen adjustment.
    """

    parent: Parent
    networks: tuple[LabelledNetwork, ...]
    where: str | None
    labelled: str | None
    seed: int
    left_out: int
    folds: int
    adjustments: tuple[Tried, ...]
    chosen: str


def read_adaptation(folder: Path) -> Adaptation | None:
    """Return how the run in a folder was adapted, or None if the run was trained.

    Raises:
        RunError: the file is malformed.
    """
    return read_json(path, Adaptation) if (path := folder / NAME).exists() else None


def model_hash(folder: Path) -> str:
    """Return the SHA-256 hash of the model of a run.

    Raises:
        RunError: the folder holds no model.
    """
    return hashlib.sha256(read_bytes(folder / "best.safetensors")).hexdigest()
