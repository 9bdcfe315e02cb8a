"""Merge several zoos into one zoo. A column of the new zoo says from which zoo each network came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sneframe.errors import ZooError
from sneframe.zoo.column import Column
from sneframe.zoo.read import Zoo, open_zoo
from sneframe.zoo.write import ZooWriter, create

ORIGIN = "zoo"


def merge(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    name: str | None = None,
    labels: Sequence[str] | None = None,
    description: str = "",
    overwrite: bool = False,
) -> None:
    """Merge zoos into one new zoo, including unhealthy networks.

    In the new zoo, the networks are ordered by the zoo that they come from, and then by architecture. The
    property ``zoo`` of the new zoo holds the label of the zoo that each network comes from. If a zoo already
    has a property ``zoo``, its networks keep the values of that property. A run group is renamed to
    ``LABEL/GROUP``, so that networks of different zoos never share a run group. Splits of the same name are
    joined. If a zoo lacks a split that another zoo has, its networks are unused in that split.

    Args:
        paths: paths of the zoos.
        out: path of the new zoo.
        name: name of the new zoo. By default, the labels joined by ``+``.
        labels: one label for each zoo, without ``/``. By default, the names of the zoos, or the names of
            their folders if two zoos have the same name or a name contains ``/``.
        description: one paragraph about the new zoo.
        overwrite: whether a zoo at ``out`` may be replaced. It is replaced when the new zoo is complete.

    Raises:
        ZooError: a zoo cannot be read, two zoos hold the same networks, labels are not distinct, a property
            has different kinds, or ``out`` exists.
        MachineError: a file cannot be read or written.
    """
    if len(paths) < 2:
        raise ZooError(f"a merge needs at least two zoos, but got {len(paths)}")
    zoos = [open_zoo(path, unhealthy=True) for path in paths]
    _check_distinct(zoos)
    labels = _default_labels(zoos) if labels is None else list(labels)
    if len(labels) != len(zoos) or len(set(labels)) != len(labels):
        raise ZooError(
            f"a merge needs a different label for each of its {len(zoos)} zoos, but got {', '.join(labels)}"
        )
    for label in labels:
        if "/" in label:  # otherwise group "a/b" of zoo "c" and group "b" of zoo "c/a" would be the same
            raise ZooError(
                f"a label must not contain '/', which separates label and group, but got {label!r}"
            )
    sources = [
        {"label": label, "name": zoo.name, "digest": zoo.digest, "builder": zoo.attributes["builder"]}
        for label, zoo in zip(labels, zoos, strict=True)
    ]
    writer = create(
        out,
        name="+".join(labels) if name is None else name,
        description=description,
        licence=_together(zoo.attributes["licence"] for zoo in zoos),
        source=_together(zoo.attributes["source"] for zoo in zoos),
        builder={"name": "merge", "config": {"zoos": sources}},
        overwrite=overwrite,
    )
    with writer:
        orders = [_append(writer, zoo, label) for zoo, label in zip(zoos, labels, strict=True)]
        for split in dict.fromkeys(split for zoo in zoos for split in zoo.split_names):
            parts = [
                zoo.split(split)[order] if split in zoo.split_names else np.full(len(zoo), -1, np.int8)
                for zoo, order in zip(zoos, orders, strict=True)
            ]
            writer.split(split, np.concatenate(parts))


def _check_distinct(zoos: Sequence[Zoo]) -> None:
    """Check that no two zoos hold the same networks.

    A split of the merged zoo could otherwise put the same network into two parts, such as train and test.

    Raises:
        ZooError: two zoos have the same digest, or were merged from a zoo with the same digest.
    """
    held = [{zoo.digest, *_digests(zoo.attributes["builder"])} for zoo in zoos]
    for (first, one), (second, other) in combinations(zip(zoos, held, strict=True), 2):
        if both := one & other:
            raise ZooError(
                f"{first.path} and {second.path} hold the same networks (digest {min(both)[:16]}…), so a "
                f"split could put one network into both train and test; merge only one of these zoos"
            )


def _digests(builder: Any) -> Iterator[str]:
    """Yield the digests of the zoos from which a zoo was merged.

    Args:
        builder: the attribute ``builder`` of the zoo. The attribute of a zoo that was not merged lists none.
    """
    match builder:
        case {"name": "merge", "config": {"zoos": [*sources]}}:
            for source in sources:
                match source:
                    case {"digest": str(digest)}:
                        yield digest
                        yield from _digests(source.get("builder"))


def _default_labels(zoos: Sequence[Zoo]) -> list[str]:
    names = [zoo.name for zoo in zoos]
    if len(set(names)) == len(names) and not any("/" in name for name in names):
        return names
    return [zoo.path.name.removesuffix(".zarr") for zoo in zoos]


def _append(writer: ZooWriter, zoo: Zoo, label: str) -> np.ndarray:
    """Add all networks of a zoo to the new zoo.

    Returns:
        The positions of the networks in the zoo, in the order in which they were added.
    """
    columns = {name: zoo.typed_column(name) for name in zoo.properties}
    if ORIGIN not in columns:
        columns[ORIGIN] = Column.of(ORIGIN, [label] * len(zoo))
    group = np.array([f"{label}/{group}" for group in zoo.group], dtype=object)
    healthy = zoo.healthy
    order = []
    for positions, architecture, weights in zoo.stored():
        properties = {name: column.take(positions) for name, column in columns.items()}
        writer.append(architecture, weights, properties, group=group[positions], healthy=healthy[positions])
        order.append(positions)
    return np.concatenate(order)


def _together(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))
