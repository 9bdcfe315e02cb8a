"""Merging zoos: several in, one out that knows of every network which zoo it came from."""

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
    """Join zoos into one.

    Networks come zoo by zoo, and within a zoo architecture by architecture. The column ``zoo`` holds the
    label of each network's zoo (a zoo that has such a column keeps it); a group becomes ``LABEL/GROUP``, so
    no two zoos share one. Splits of the same name are joined; a network whose zoo lacks a split is unused in
    it.

    Args:
        paths: of the zoos, unhealthy networks included.
        out: of the new zoo.
        name: of the new zoo; by default the labels joined by ``+``.
        labels: one for each zoo, without ``/``; by default their names, or those of their folders where the names are
            not distinct or hold one.
        description: one paragraph.
        overwrite: whether a zoo at ``out`` may be replaced, once the new one is complete.

    Raises:
        ZooError: a zoo that cannot be read, networks that come twice, labels that are not distinct, properties of
            different kinds, or something that is at ``out`` already.
        MachineError: the machine failed.
    """
    if len(paths) < 2:
        raise ZooError(f"a merge needs two zoos at least, got {len(paths)}")
    zoos = [open_zoo(path, unhealthy=True) for path in paths]
    _check_distinct(zoos)
    labels = _default_labels(zoos) if labels is None else list(labels)
    if len(labels) != len(zoos) or len(set(labels)) != len(labels):
        raise ZooError(
            f"a merge needs one label for each of its {len(zoos)} zoos, distinct, got {', '.join(labels)}"
        )
    for label in labels:
        if "/" in label:  # a/b of the zoo "c" would be the same group as b of the zoo "c/a"
            raise ZooError(f"a label must hold no '/', which parts it from the group, got {label!r}")
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
    """Refuse networks that come twice: under two labels they are two groups, and a split would part them."""
    held = [{zoo.digest, *_digests(zoo.attributes["builder"])} for zoo in zoos]
    for (first, one), (second, other) in combinations(zip(zoos, held, strict=True), 2):
        if both := one & other:
            raise ZooError(
                f"{first.path} and {second.path} hold the same networks (digest {min(both)[:16]}…), which a split would "
                f"put on both sides; name each zoo once"
            )


def _digests(builder: Any) -> Iterator[str]:
    """Yield the digests of the zoos that a zoo was merged of, as far as it says."""
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
    """Add a whole zoo and return in which order its networks went in."""
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
