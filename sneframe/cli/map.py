"""``sneframe map RUN ZOO``: an interactive map of the networks of a zoo, in one file that loads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sneframe.cli.asked import PATH, asked, check_out, described, networks_of


@click.command("map")
@click.argument("run", type=PATH)
@click.argument("networks", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, help="The page to write.  [default: map.html in RUN]")
@described
def map_(run: Path, networks: tuple[Path, ...], *, out: Path | None, **options: Any) -> None:
    """Draw NETWORKS, zoos and files, as the finished run RUN sees them: a page to search, and to colour by any property."""
    from sneframe.cli.terminal import say
    from sneframe.predict.embedding_table import EmbeddingTable
    from sneframe.report import write_map

    predictor = asked(run, **options)
    page = out or run / "map.html"
    check_out(page, (".html",))
    found = EmbeddingTable.joined(list(networks_of(predictor, networks)))
    say(str(write_map(found, run.resolve().name, page, colour=predictor.properties[0])))
