"""Define ``sneframe run``, which trains a method on a zoo, scores the method, and writes a report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

NUMBER = {"mse": "MSE", "r2": "R²", "tau": "Kendall's tau-b", "spearman": "Spearman's rho"}
CATEGORY = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "mse": "Brier score"}


@click.command()
@click.option("--plugin", help="A recipe, PLUGIN/NAME; PLUGIN alone means PLUGIN/default.")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="A TOML file: a complete configuration, or changes to the recipe.",
)
@click.option(
    "--set", "words", multiple=True, metavar="KEY=VALUE", help="Override one key, such as train.epochs=50."
)
@click.option("--zoo", help="Folder of the zoo.  [default: a demo zoo, which is built once]")
@click.option(
    "--property",
    "property_name",
    help="The property to predict, or several as NAME,NAME. The first is the main property.",
)
@click.option("--seed", type=int, help="Seed of initialisation, batches, dropout and group elements.")
@click.option(
    "--memory",
    help="Memory that the weights of the zoo may take, such as 2GB.  [default: half of the free memory]",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to compute.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Run folder.  [default: the next free runs/RECIPE-NNN]"
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Continue the run in this folder with its own configuration, of which only --device and --memory "
    "may differ.",
)
@click.option("--no-report", is_flag=True, help="Draw no report.html; `sneframe report RUN` draws it later.")
@click.option("--quiet", is_flag=True, help="Print only errors.")
def run(
    plugin: str | None,
    file: Path | None,
    words: tuple[str, ...],
    zoo: str | None,
    property_name: str | None,
    seed: int | None,
    memory: str | None,
    device: str | None,
    out: Path | None,
    resume: Path | None,
    no_report: bool,  # noqa: FBT001  # click passes it by name
    quiet: bool,  # noqa: FBT001  # click passes it by name
) -> None:
    """Train a method on a zoo, score its predictions for unseen networks, and write a report."""
    from sneframe.cli.compose import compose
    from sneframe.cli.terminal import Terminal
    from sneframe.config.schema import merge, parse_set
    from sneframe.devices import is_main_process
    from sneframe.errors import printable
    from sneframe.freed_memory import keep_freed_memory
    from sneframe.progress import Reporter
    from sneframe.train.run import run as run_config

    in_zoo: dict[str, Any] = {"path": zoo, "memory": memory}
    if property_name is not None:
        main, *beside = (name.strip() for name in property_name.split(","))
        in_zoo |= {"property": main, "also": beside or None}
    short: dict[str, Any] = {"seed": seed, "device": device, "zoo": _given(in_zoo) or None}
    overrides = merge(_given(short), parse_set(words))
    if resume is not None:
        # The device decides only the rounding. The memory for weights decides nothing, because the run has
        # recorded its sampler. So a run may move to another machine.
        also = {
            "--plugin": plugin,
            "--config": file,
            "--set": words or None,
            "--zoo": zoo,
            "--property": property_name,
            "--seed": seed,
            "--out": out,
        }
        if named := ", ".join(_given(also)):
            raise click.UsageError(f"--resume uses the configuration in the run folder; leave out {named}")
        file = resume / "config.toml"
    config = compose(plugin, file, overrides)
    keep_freed_memory()
    console = None if quiet else Terminal()
    result = run_config(
        config,
        resume if resume is not None else out,
        resume=resume is not None,
        reporter=Reporter(console),
        report=not no_report,
    )
    if console is not None and is_main_process():
        _print_scores(console, result.metrics)
        left = f"run folder: {result.folder}" if no_report else f"report: {result.report}"
        console.print(printable(left), soft_wrap=True)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _print_scores(console: Any, metrics: dict[str, Any]) -> None:
    from sneframe.errors import printable

    _print_property(console, metrics["property"], metrics)
    for name, own in metrics["also"].items():
        _print_property(console, name, own)
    for line, count in metrics["left_out"].items():
        console.print(f"{count} networks were not read completely; {printable(line)}", soft_wrap=True)
    if metrics["stopped_by"] is not None:
        console.print(f"stopped by {metrics['stopped_by']} after {metrics['passes']:.3g} epochs")
    if metrics["invariance"] is not None:
        errors = metrics["invariance"]
        console.print(
            f"invariance error: {_shown(errors['e_g'])} of the predictions' variance when neurons are "
            f"permuted, {_shown(errors['e_noise'])} under noise of the same size",
            soft_wrap=True,
        )


def _print_property(console: Any, name: str, measured: dict[str, Any]) -> None:
    from rich.table import Table

    from sneframe.errors import printable

    category = measured["task"] == "category"
    metrics = CATEGORY if category else NUMBER
    table = Table("", *metrics.values(), title=printable(f"{name}, {measured['test']['n']} test networks"))
    simple = "predict the frequencies" if category else "predict the mean"
    for label, scores in (("test", measured["test"]), (simple, measured["baseline"]["test"])):
        table.add_row(label, *(_shown(scores[key]) for key in metrics))
    console.print(table)
    test = measured["test"]
    if test["ties"]:
        console.print(
            f"ties: {test['ties']:.1%} of the pairs of test networks; {test['floor']:.1%} of them at the "
            f"floor"
        )


def _shown(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"
