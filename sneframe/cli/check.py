"""``sneframe check PLUGIN``: hold a plugin's parts to the laws."""

from __future__ import annotations

import click


@click.command()
@click.argument("plugin")
@click.option("--all", "everything", is_flag=True, help="Show what is kept as well, and what is not claimed.")
def check(plugin: str, everything: bool) -> None:  # noqa: FBT001  # click passes it by name
    """Measure whether the parts of PLUGIN keep the laws: symmetry, batches, padding, round trips, gradients.

    Exits with 2 where a part does not keep what it claims.
    """
    from rich.console import Console
    from rich.table import Table

    from sneframe.errors import PartError
    from sneframe.testing.laws import check_plugin

    findings = list(check_plugin(plugin))
    table = Table("part", "law", "error", "")
    for finding in findings:
        if finding.is_fault or everything:
            error = "–" if finding.error is None else f"{finding.error:.1e}"
            verdict = "FAULT" if finding.is_fault else "kept" if finding.kept else "not claimed"
            table.add_row(finding.part, finding.law, error, verdict if finding.error is not None else "")
    console = Console()
    faults = [finding for finding in findings if finding.is_fault]
    if faults or everything:
        console.print(table, highlight=False, markup=False)
    claims = sum(finding.claimed for finding in findings)
    parts = len({finding.part for finding in findings})
    click.echo(f"{plugin}: {parts} parts, {claims} claims, {claims - len(faults)} kept")
    if faults:
        first = faults[0]
        raise PartError(
            f"{len(faults)} of {claims} claims are not kept, the first: {first.part} is not {first.law} "
            f"(error {first.error:.2g})"
        )
