"""Define ``sneframe zoo build NAME``. The configuration of each builder determines the command's options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sneframe.cli.engines import engine_of, engine_parameters
from sneframe.cli.offers import Offers
from sneframe.cli.options import configured, options

if TYPE_CHECKING:
    from sneframe.zoo.builder import ZooBuilder


def command_of(name: str, builder: ZooBuilder) -> click.Command:
    """Return the command that builds zoos with a builder."""
    own: list[click.Parameter] = [
        click.Option(
            ["--out"], type=click.Path(path_type=Path), required=True, help="Folder of the zoo to make."
        ),
        *engine_parameters("networks are trained", default="process"),
    ]

    def callback(out: Path, engine: str, workers: int | None, address: str | None, **values: Any) -> None:
        from sneframe.cli.terminal import Terminal
        from sneframe.errors import Interrupted
        from sneframe.progress import Reporter
        from sneframe.zoo.staging import check_place

        check_place(out)  # before hours of training, and before a builder stores its blocks there
        where = engine_of(engine, workers, address)
        config = configured(f"zoo build {name}", builder.config, values)
        reporter = Reporter(Terminal())
        try:
            with reporter.bar(f"zoo build {name}", unit="networks") as advance:
                builder.build(config, out, advance, where)
        except KeyboardInterrupt as error:
            raise Interrupted(f"{out} is not complete; run the same command again to continue") from error
        reporter.say(f"zoo: {out}")

    params = [*options(f"zoo {builder.name!r}", builder.config, own), *own]
    return click.Command(name, callback=callback, params=params, help=builder.help)


@click.group(cls=Offers, shipped="zoos", noun="zoo", make=command_of)
def build() -> None:
    """Make a zoo: train many networks, and store their weights and properties."""
