"""Define ``sneframe similar RUN ZOO FILE``, which lists the networks of a zoo nearest to one network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sneframe.cli.networks import PATH, file_of, file_options, load_run, networks_of


@click.command()
@click.argument("run", type=PATH)
@click.argument("zoo", type=PATH)
@click.argument("file", type=PATH)
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Number of networks.")
@click.option("--show", help="Properties to show, NAME,NAME.  [default: what the run predicts]")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON list, with all properties, instead of a table."
)
@file_options
def similar(
    run: Path, zoo: Path, file: Path, *, k: int, show: str | None, as_json: bool, **options: Any
) -> None:
    """List the networks of ZOO whose embeddings are nearest to the embedding of the network in FILE.

    The finished run RUN computes the embeddings.
    """
    from sneframe.cli.tables import cells, shown, table
    from sneframe.cli.terminal import Terminal
    from sneframe.config.validators import check_names
    from sneframe.engine import SerialEngine
    from sneframe.errors import ConfigError, ZooError, choices
    from sneframe.predict.many import Asked
    from sneframe.zoo.column import finite_or_none

    if not zoo.is_dir():
        fault = "this is a file; give the folder of a zoo" if zoo.exists() else "the folder does not exist"
        raise ZooError(f"{zoo}: {fault}")
    predictor = load_run(run, **options)
    (known,) = networks_of(predictor, [zoo], Asked(run=run, options=options), SerialEngine())
    names = (
        [] if show is None else [show] if show in known.properties else [n.strip() for n in show.split(",")]
    )
    try:
        check_names(f"--show {show!r}", names)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for name in names:
        if name not in known.properties:
            raise ZooError(f"{zoo}: there is no property {name!r}, {choices(name, known.properties)}")
    nearest = known.nearest(file_of(predictor, file), k)
    if as_json:
        rows = [
            {
                "source": known.sources[row],
                "distance": distance,
                "properties": {
                    name: finite_or_none(values[row]) for name, values in known.properties.items()
                },
            }
            for row, distance in nearest
        ]
        click.echo(json.dumps(rows, indent=2, allow_nan=False))
        return
    names = names or [name for name in predictor.properties if name in known.properties]
    found = table("network", "distance", *names)
    for row, distance in nearest:
        values = [shown(known.properties[name][row]) for name in names]
        found.add_row(*cells(known.sources[row], f"{distance:.3f}", *values))
    Terminal().print(found)
