"""Define a table of networks with their embeddings and properties.

The table can be written to a file, and it can be searched for the neighbours of an embedding.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from sneframe.atomic import write_bytes
from sneframe.errors import ConfigError
from sneframe.predict.distance import nearest


@frozen(kw_only=True, eq=False)
class EmbeddingTable:
    """Networks with their embeddings and properties.

    Args:
        sources: the name of each network: the path of its file, or the zoo and the number of the network in
            the zoo.
        values: the embeddings ``(n, E)``.
        properties: the ``n`` values of each property, by the name of the property. A missing value is None.
    """

    sources: Sequence[str]
    values: np.ndarray
    properties: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.sources)

    @classmethod
    def joined(cls, parts: Sequence[EmbeddingTable]) -> EmbeddingTable:
        """Join tables into one. A property that a table lacks is None for the networks of that table."""
        names = dict.fromkeys(name for part in parts for name in part.properties)
        return cls(
            sources=[source for part in parts for source in part.sources],
            values=np.concatenate([part.values for part in parts]),
            properties={
                name: [value for part in parts for value in part.properties.get(name, [None] * len(part))]
                for name in names
            },
        )

    def nearest(self, embedding: np.ndarray, k: int) -> list[tuple[int, float]]:
        """Return the position and the distance of the k networks nearest to an embedding ``(E,)``.

        The nearest network comes first.

        Columns are divided by their standard deviations, so that the unit of a column does not matter.
        Networks whose embeddings are not finite are left out.
        """
        kept = np.flatnonzero(np.isfinite(self.values).all(1))
        if not len(kept):
            return []
        values = self.values[kept]
        std = values.std(0)
        scale = np.where(std > 0, std, 1)
        positions, distances = nearest(values / scale, embedding[None] / scale, min(k, len(kept)))
        # This is the root of the mean over columns, not of the sum, so that distances do not grow with the
        # width.
        distances = distances / np.sqrt(len(embedding))
        return list(zip(kept[positions[0]].tolist(), distances[0].tolist(), strict=True))

    def write(self, path: Path) -> None:
        """Write the table to a file. The suffix selects the format: ``.csv``, ``.npz`` or ``.parquet``.

        Raises:
            ConfigError: the name has another ending, or pyarrow is needed but not installed.
            MachineError: the file cannot be written.
        """
        if path.suffix not in WRITERS:
            raise ConfigError(
                f"{path}: embeddings are written as {', '.join(WRITERS)}, but the ending is {path.suffix!r}"
            )
        write_bytes(path, WRITERS[path.suffix](self))

    def columns(self) -> dict[str, Sequence[Any]]:
        """Return the columns of the file: ``source``, the properties, ``embedding_0`` to ``embedding_(E-1)``.

        Raises:
            ConfigError: a property has the name of a column of the embedding.
        """
        own = {f"embedding_{number}": column for number, column in enumerate(self.values.T)}
        if taken := own.keys() & self.properties.keys():
            raise ConfigError(
                f"property {min(taken)!r} has the name of a column of the embedding; write to .npz"
            )
        properties = {name: values for name, values in self.properties.items() if name != "source"}
        return {"source": self.sources, **properties, **own}


def _csv(embedded: EmbeddingTable) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = embedded.columns()
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode(errors="replace")


def _npz(embedded: EmbeddingTable) -> bytes:
    """Return the bytes of an ``.npz`` archive with the arrays ``source`` and ``embedding``.

    NumPy can load the archive without pickle.
    """
    file = io.BytesIO()
    np.savez(file, source=np.array(embedded.sources, dtype=np.str_), embedding=embedded.values)
    return file.getvalue()


def _parquet(embedded: EmbeddingTable) -> bytes:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            "parquet is written by pyarrow, which is not installed: pip install 'sneframe[parquet]'"
        ) from error
    file = io.BytesIO()
    parquet.write_table(
        pa.table({name: pa.array(list(values)) for name, values in embedded.columns().items()}), file
    )
    return file.getvalue()


WRITERS: Mapping[str, Callable[[EmbeddingTable], bytes]] = {".csv": _csv, ".npz": _npz, ".parquet": _parquet}
