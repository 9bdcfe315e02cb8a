"""Write an interactive map of embedded networks.

The map is an HTML page that loads no other file. The security policy of the page allows only the script of
the page, by hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sneframe.atomic import write_bytes
from sneframe.errors import RunError
from sneframe.predict.embedding_table import EmbeddingTable
from sneframe.report.drawing import PALETTE
from sneframe.report.projection import Projection, project, unit
from sneframe.report.template import template
from sneframe.zoo.column import finite_or_none


def write_map(embedded: EmbeddingTable, name: str, path: Path, *, colour: str | None = None) -> Path:
    """Write a page that shows networks as points.

    A reader of the page chooses the property that colours the points, sees names on hover, and can search.

    Args:
        embedded: the networks.
        name: name of the run that embedded them.
        path: file to write.
        colour: the property that colours the networks when the page opens, if the networks have that
            property.

    Returns:
        The path.

    Raises:
        RunError: there are too few networks for a map.
        MachineError: the file cannot be written.
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
        fractions=projection.fractions,
        digest=digest,
        # Only "<" could end a script element. It occurs in JSON strings alone, so an escape is safe.
        data=Markup(data.replace("<", "\\u003c")),  # noqa: S704
        script=Markup(script),  # noqa: S704  # our own file
    )
    write_bytes(path, page.encode(errors="replace"))
    return path


def _data(embedded: EmbeddingTable, projection: Projection) -> dict[str, Any]:
    rows = projection.rows.tolist()
    return {
        "source": [embedded.sources[row] for row in rows],
        "maps": {"t-SNE": unit(projection.tsne), "PCA": unit(projection.pca)},
        "properties": {
            name: [finite_or_none(values[row]) for row in rows]
            for name, values in embedded.properties.items()
            if name != "source"
        },
        "palette": PALETTE,
    }
