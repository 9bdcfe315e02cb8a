"""``sneframe predict RUN FILE…``: ask a finished run about networks."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sneframe.cli.asked import PATH, asked, described

if TYPE_CHECKING:
    from sneframe.predictor import Prediction


@click.command()
@click.argument("run", type=PATH)
@click.argument("files", type=PATH, nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
@described
def predict(run: Path, files: tuple[Path, ...], *, as_json: bool, **options: Any) -> None:
    """Predict the properties of the networks in FILES by the finished run RUN.

    A file that cannot be read is named, the others are predicted; the command then ends with exit code 2.
    """
    from sneframe.errors import ArchitectureError, FileError, PartError, printable
    from sneframe.predictor import Doubt, doubts

    predictor = asked(run, **options)
    found: list[Prediction] = []
    failed: list[str] = []
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Doubt)  # they are shown below the table
                found.append(predictor.predict(file))
        except (FileError, ArchitectureError, PartError) as error:
            failed.append(str(error) if str(error).startswith(str(file)) else f"{file}: {error}")
    if as_json:
        click.echo(json.dumps([_plain(each) for each in found], indent=2, allow_nan=False))
    elif found:
        _show(found)
    for each in found:
        for line in doubts(each):
            click.echo(printable(f"warning: {each.source}: {line}"), err=True)
    if failed:
        for line in failed[:-1]:
            click.echo(printable(f"error: {line}"), err=True)
        raise FileError(failed[-1])


def _plain(prediction: Prediction) -> dict[str, Any]:
    from sneframe.zoo.column import finite_or_none

    return {
        "source": prediction.source,
        "values": {name: finite_or_none(value) for name, value in prediction.values.items()},
        "distance": finite_or_none(prediction.distance),
        "far": prediction.far,
        "unseen": list(prediction.unseen),
        "symmetry": prediction.symmetry,
    }


def _show(found: Sequence[Prediction]) -> None:
    from sneframe.cli.tables import cells, shown, table
    from sneframe.cli.terminal import Terminal

    rows = table("network", *found[0].values, "distance")
    for each in found:
        distance = "–" if each.distance is None else f"{each.distance:.2f}"
        rows.add_row(*cells(each.source, *map(shown, each.values.values()), distance))
    Terminal().print(rows)
