"""Verify a zoo. All files are read, and information that is stored twice is compared."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from sneframe.errors import ZooError
from sneframe.zoo import chunks
from sneframe.zoo.format import (
    ARCHITECTURES,
    COLUMNS,
    METADATA,
    MIB,
    NETWORKS,
    SPLITS,
    column_path,
    parameter_path,
    split_path,
    valid_path,
)
from sneframe.zoo.splits import check_assignment
from sneframe.zoo.store import Store

_RUN_BYTES = 32 * MIB


def verify(store: Store) -> None:
    """Check the files, checksums, digests and columns of a zoo.

    Also check that the weights of healthy networks are finite.

    Raises:
        ZooError: a check fails. The error names the first file with a fault.
    """
    _check_list(store)
    _check_files(store)
    is_finite = _check_contents(store)
    _check_columns(store, is_finite)


def _check_list(store: Store) -> None:
    """Check that the manifest lists the arrays of all architectures, columns and splits, and no others."""
    manifest = store.manifest
    known = {column_path(name) for name in (*COLUMNS, *manifest.properties)}
    known |= {split_path(name) for name in manifest.splits}
    known |= {valid_path(name) for name, kind in manifest.properties.items() if kind != "float"}
    for architecture in store.architectures:
        for parameter in architecture.parameters:
            store.record(architecture, parameter)
            known.add(parameter_path(architecture.id, parameter.name))
    for path in manifest.arrays:
        if path not in known:
            raise ZooError(f"{store.path / path}: the manifest lists an array that is not part of the format")


def _check_files(store: Store) -> None:
    """Check that the folder contains all files that the manifest requires, and no other files."""
    manifest = store.manifest
    groups = [
        "",
        ARCHITECTURES,
        NETWORKS,
        SPLITS,
        *(f"{ARCHITECTURES}/{key}" for key in manifest.architectures),
    ]
    needed = {store.path / group / METADATA for group in groups}
    for path, record in manifest.arrays.items():
        needed.add(store.path / path / METADATA)
        needed |= {store.path / path / name for _, name, _ in record.chunk_files(0, record.shape[0])}
    present = {file for file in store.path.rglob("*") if not file.is_dir()}
    for file in sorted(needed - present):
        raise ZooError(f"{file}: this file is missing")
    for file in sorted(present - needed):
        raise ZooError(f"{file}: this file does not belong to the zoo")


def _check_contents(store: Store) -> dict[str, np.ndarray]:
    """Decode every chunk, and compare the hash of every array with the manifest.

    Returns:
        For each architecture id, which networks have only finite weights, as bools of shape ``(N_a,)``.
    """
    is_finite = {key: np.ones(networks, bool) for key, networks in store.manifest.architectures.items()}
    for path, record in store.manifest.arrays.items():
        folder, key, _ = path.split("/") if path.count("/") == 2 else (path, "", "")
        digest = hashlib.sha256()
        step = record.chunks[0] * max(1, _RUN_BYTES // max(1, 8 * math.prod(record.chunks)))
        for start in range(0, record.shape[0], step):
            stop = min(start + step, record.shape[0])
            values = chunks.read(store.path, path, record, start, stop)
            digest.update(chunks.content(values))
            if folder == ARCHITECTURES:
                is_finite[key][start:stop] &= chunks.finite(values, record.dtype)
        if digest.hexdigest() != record.sha256:
            raise ZooError(
                f"{store.path / path}: every chunk is intact, but the values are not those that were written"
            )
    return is_finite


def _check_columns(store: Store, is_finite: dict[str, np.ndarray]) -> None:
    index, row = store.architecture_index, store.column("row").values
    healthy = store.column("healthy").values
    for number, (key, networks) in enumerate(store.manifest.architectures.items()):
        here = np.flatnonzero(index == number)
        if not np.array_equal(row[here], np.arange(networks)):
            raise ZooError(
                f"{store.path / column_path('row')}: the networks of architecture {key} are not in order"
            )
        wrong = here[healthy[here] & ~is_finite[key]]
        if len(wrong):
            raise ZooError(
                f"{store.path / column_path('healthy')}: network {wrong[0]} is marked as healthy, but has "
                f"weights that are not finite"
            )
    if healthy.sum() != store.manifest.healthy:
        raise ZooError(
            f"{store.path / column_path('healthy')}: marks {healthy.sum()} networks as healthy, but the "
            f"manifest says {store.manifest.healthy}"
        )
    for name in store.manifest.splits:
        what = f"{store.path / split_path(name)}"
        check_assignment(store.split(name), store.column("group").values, what)
