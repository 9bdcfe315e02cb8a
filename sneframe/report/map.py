"""Embedded networks → an interactive map: one page that loads nothing; its one script is named by its hash."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from sneframe.atomic import write_bytes
from sneframe.errors import RunError
from sneframe.predict.embedding_table import EmbeddingTable
from sneframe.report.drawing import PALETTE
from sneframe.report.projection import Projection, project
from sneframe.report.template import template
from sneframe.zoo.column import finite_or_none

DIGITS = 5  #: of a coordinate


def write_map(embedded: EmbeddingTable, name: str, path: Path, *, colour: str | None = None) -> Path:
    """Write a page on which networks can be hovered over, coloured by any property, and searched.

    Args:
        embedded: the networks.
        name: of the run whose embeddings they are.
        path: of the page.
        colour: the property that networks are coloured by at first, where they have it.

    Returns:
        the path.

    Raises:
        RunError: there are too few networks for a map.
        MachineError: the disk does not take it.
    """
    projection = project(embedded.values)
    if not isinstance(projection, Projection):
        raise RunError(projection)
    script = (resources.files("sneframe.report") / "map.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = json.dumps(
        {**_data(embedded, projection), "colour": colour},
        ensure_ascii=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    page = template("sneframe.report", "map.html.j2").render(
        name=name,
        shown=len(projection.rows),
        of=len(embedded),
        shares=projection.shares,
        digest=digest,
        # Inside a script element only "<" could end it; as an escape it stands in JSON strings alone.
        data=Markup(data.replace("<", "\\u003c")),  # noqa: S704
        script=Markup(script),  # noqa: S704  # our own file
    )
    write_bytes(path, page.encode(errors="replace"))
    return path


def _data(embedded: EmbeddingTable, projection: Projection) -> dict[str, Any]:
    rows = projection.rows.tolist()
    return {
        "source": [embedded.sources[row] for row in rows],
        "maps": {"t-SNE": _unit(projection.tsne), "PCA": _unit(projection.pca)},
        "properties": {
            name: [finite_or_none(values[row]) for row in rows]
            for name, values in embedded.properties.items()
            if name != "source"
        },
        "palette": PALETTE,
    }


def _unit(points: np.ndarray) -> list[list[float]]:
    """Return points scaled into [0, 1]², as wide as high."""
    low, span = points.min(0), max(float(np.ptp(points, axis=0).max()), 1e-12)
    middle = (span - np.ptp(points, axis=0)) / 2
    return np.round((points - low + middle) / span, DIGITS).tolist()
