"""Define ``sneframe readers``, which lists the file readers."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
def readers(*, as_json: bool) -> None:
    """List the file readers, of sneframe and of all installed plugins.

    Each line says which files a reader reads, and what must be installed for this reader. A file's reader is
    chosen by the content of the file first, and then by the ending of its name.
    """
    from sneframe import plugins
    from sneframe.cli.tables import cells, table
    from sneframe.cli.terminal import Terminal
    from sneframe.files.reader import missing

    found = plugins.readers()
    if as_json:
        rows = [
            {
                "name": each.name,
                "help": each.help,
                "endings": list(each.endings),
                "missing": list(missing(each)),
                "extra": each.extra,
                "origin": each.origin,
            }
            for each in found
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    listed = table("reader", "reads", "endings", "needs")
    for each in found:
        needs = f"pip install '{each.extra}'" if missing(each) and each.extra else ", ".join(missing(each))
        listed.add_row(*cells(each.name, each.help, " ".join(each.endings), needs))
    Terminal().print(listed)
