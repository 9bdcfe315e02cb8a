"""Define ``sneframe adapt RUN ZOO``, which adapts a finished run to a zoo with a few labelled networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sneframe.cli.networks import PATH

METRICS = {"mse": "MSE", "r2": "R²", "tau": "Kendall's tau-b"}


@click.command()
@click.argument("run", type=PATH)
@click.argument("zoo", type=PATH)
@click.option(
    "--networks",
    default=10,
    show_default=True,
    type=int,
    help="Number of labelled networks to draw, each from a run group of its own.",
)
@click.option("--where", help="An expression that selects networks of ZOO.  [default: zoo.where of the run]")
@click.option("--labelled", help="An expression that names the networks to adapt to. Then nothing is drawn.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of the draw.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to compute.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the new run.  [default: the next free runs/RECIPE-adapted-NNN]",
)
@click.option("--no-report", is_flag=True, help="Draw no report.html; `sneframe report RUN` draws it later.")
@click.option("--quiet", is_flag=True, help="Print only errors.")
def adapt(run: Path, zoo: Path, *, no_report: bool, quiet: bool, **options: Any) -> None:
    """Adapt the finished run RUN to the networks of ZOO, of which a few are labelled.

    Several ways to adapt are compared by cross-validation over the labelled networks, and the simplest good
    one is kept. All other networks of ZOO that have the property are test networks. The result is a new run
    folder, which `predict`, `embed`, `similar` and `report` take like any other.
    """
    from sneframe.adaptation.adapt import adapt as adapt_run
    from sneframe.cli.terminal import Terminal
    from sneframe.errors import printable
    from sneframe.freed_memory import keep_freed_memory
    from sneframe.progress import Reporter
    from sneframe.run_folder.adapted import read_adaptation

    console = None if quiet else Terminal()
    keep_freed_memory()
    result = adapt_run(run, zoo, reporter=Reporter(console), report=not no_report, **options)
    if console is None:
        return
    adaptation = read_adaptation(result.folder)
    assert adaptation is not None
    _print_adjustments(console, adaptation, result.metrics["property"])
    for name, scores in {result.metrics["property"]: result.metrics, **result.metrics["also"]}.items():
        _print_scores(console, name, scores, result.metrics["before"][name])
    left = f"run folder: {result.folder}" if no_report else f"report: {result.report}"
    console.print(printable(left), soft_wrap=True)


def _print_adjustments(console: Any, adaptation: Any, name: str) -> None:
    from sneframe.cli.tables import cells, table

    rows = table("adjustment", "cross-validated MSE", "")
    for each in adaptation.adjustments:
        chosen = "← kept" if each.name == adaptation.chosen else ""
        rows.add_row(*cells(each.name, f"{each.mse:.4g} ± {each.standard_error:.2g}", chosen))
    rows.title = f"{name}, {len(adaptation.networks)} labelled networks"
    console.print(rows)


def _print_scores(console: Any, name: str, scores: Any, before: Any) -> None:
    from sneframe.cli.tables import cells, table

    rows = table("", *METRICS.values())
    test = scores["test"]
    for label, each in (
        ("before", before),
        ("after", test),
        ("predict the mean of the labelled", scores["baseline"]["test"]),
    ):
        rows.add_row(*cells(label, *("–" if each[key] is None else f"{each[key]:.4g}" for key in METRICS)))
    rows.title = f"{name}, {test['n']} test networks"
    console.print(rows)
