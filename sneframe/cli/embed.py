"""Define ``sneframe embed RUN ZOO|FILE… --out FILE``, which writes embeddings as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sneframe.cli.engines import engine_of, engine_options
from sneframe.cli.networks import PATH, check_out, file_options, load_run, networks_of


@click.command()
@click.argument("run", type=PATH)
@click.argument("networks", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="The table to write: .csv, .npz or .parquet.")
@engine_options("files are read")
@file_options
def embed(
    run: Path,
    networks: tuple[Path, ...],
    *,
    out: Path,
    engine: str,
    workers: int | None,
    address: str | None,
    **options: Any,
) -> None:
    """Write a table of the embeddings of NETWORKS, with their properties.

    The finished run RUN computes the embeddings. NETWORKS are zoos, folders or files.
    """
    from sneframe.cli.terminal import say
    from sneframe.errors import counted
    from sneframe.predict.embedding_table import WRITERS, EmbeddingTable
    from sneframe.predict.many import Asked

    check_out(out, tuple(WRITERS))
    where, asked = engine_of(engine, workers, address), Asked(run=run, options=options)
    tables = networks_of(load_run(run, **options), networks, asked, where)
    found = EmbeddingTable.joined(list(tables))
    found.write(out)
    say(f"{out}: {counted(len(found), 'network')}, {found.values.shape[1]} numbers each")
