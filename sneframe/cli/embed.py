"""``sneframe embed RUN ZOO|FILE… --out FILE``: embeddings as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sneframe.cli.asked import PATH, asked, check_out, described, networks_of


@click.command()
@click.argument("run", type=PATH)
@click.argument("networks", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="The table to write: .csv, .npz or .parquet.")
@described
def embed(run: Path, networks: tuple[Path, ...], *, out: Path, **options: Any) -> None:
    """Write what the finished run RUN encodes NETWORKS to, zoos and files: one row each, with their properties."""
    from sneframe.cli.terminal import say
    from sneframe.errors import counted
    from sneframe.predict.embedding_table import WRITERS, EmbeddingTable

    check_out(out, tuple(WRITERS))
    found = EmbeddingTable.joined(list(networks_of(asked(run, **options), networks)))
    found.write(out)
    say(f"{out}: {counted(len(found), 'network')}, {found.values.shape[1]} numbers each")
