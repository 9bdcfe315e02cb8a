"""Define ``sneframe map RUN ZOO``, which draws an interactive map of networks as one offline HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sneframe.cli.engines import engine_of, engine_options
from sneframe.cli.networks import PATH, check_out, file_options, load_run, networks_of


@click.command("map")
@click.argument("run", type=PATH)
@click.argument("networks", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, help="The page to write.  [default: map.html in RUN]")
@engine_options("files are read")
@file_options
def map_(
    run: Path,
    networks: tuple[Path, ...],
    *,
    out: Path | None,
    engine: str,
    workers: int | None,
    address: str | None,
    **options: Any,
) -> None:
    """Draw an interactive map of the embeddings of NETWORKS.

    The finished run RUN computes the embeddings. NETWORKS are zoos, folders or files. The page
    can search the networks and colour them by properties.
    """
    from sneframe.cli.terminal import say
    from sneframe.predict.embedding_table import EmbeddingTable
    from sneframe.predict.many import Asked
    from sneframe.report import write_map

    where = engine_of(engine, workers, address)
    predictor = load_run(run, **options)
    page = out or run / "map.html"
    check_out(page, (".html",))
    asked = Asked(run=run, options=options)
    found = EmbeddingTable.joined(list(networks_of(predictor, networks, asked, where)))
    say(str(write_map(found, run.resolve().name, page, colour=predictor.properties[0])))
