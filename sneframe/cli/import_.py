"""Define ``sneframe zoo import NAME``. The configuration of each importer determines its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sneframe.cli.offers import Offers
from sneframe.cli.options import configured, options

if TYPE_CHECKING:
    from sneframe.zoo.importer import ZooImporter


def _command(name: str, importer: ZooImporter) -> click.Command:
    own: list[click.Parameter] = [
        click.Option(
            ["--out"], type=click.Path(path_type=Path), required=True, help="Folder of the zoo to make."
        ),
        click.Option(["--name"], help="Name of the zoo.  [default: the name of SRC]"),
        click.Option(
            ["--description"], default="", help="One paragraph about the zoo, which the zoo stores."
        ),
        click.Option(["--licence"], default="", help="Licence of the weights, which the zoo stores."),
        click.Option(["--overwrite"], is_flag=True, help="Replace an existing zoo."),
    ]

    def callback(src: Path, out: Path, *, overwrite: bool, **values: Any) -> None:
        import attrs

        from sneframe.architecture.origin import sentences
        from sneframe.cli.terminal import Terminal
        from sneframe.errors import Interrupted, counted
        from sneframe.progress import Reporter
        from sneframe.zoo import import_zoo

        header = {key: values.pop(key) for key in ("name", "description", "licence")}
        config = configured(f"zoo import {name}", importer.config, values)
        reporter = Reporter(Terminal())
        try:
            with reporter.bar(f"zoo import {name}", unit="networks") as advance:
                done = import_zoo(importer, config, src, out, advance, **header, overwrite=overwrite)
        except KeyboardInterrupt as error:
            raise Interrupted(f"{out} was not made") from error
        kinds = counted(done.architectures, "architecture")
        unhealthy = (
            f", {done.unhealthy} of them unhealthy: their weights are not finite" if done.unhealthy else ""
        )
        reporter.say(f"zoo: {out}, {counted(done.networks, 'network')} of {kinds}{unhealthy}")
        named = {each.name for each in attrs.fields(importer.config)}
        for line in sentences(done.symmetry, code="--module" if "module" in named else ""):
            reporter.say(line)
        if done.listed:
            reporter.say(f"skipped: {counted(len(done.skipped), 'file')}, for the reasons in {done.listed}")

    src = click.Argument(["src"], type=click.Path(path_type=Path))
    params = [src, *options(f"importer {importer.name!r}", importer.config, own), *own]
    return click.Command(name, callback=callback, params=params, help=importer.help)


@click.group("import", cls=Offers, shipped="importers", noun="importer", make=_command)
def import_() -> None:
    """Make a zoo from networks that were trained elsewhere."""
