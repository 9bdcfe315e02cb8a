"""Define ``sneframe check PLUGIN``, which measures whether a plugin's parts keep the laws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sneframe.testing.laws import Finding


@click.command()
@click.argument("plugin")
@click.option(
    "--all", "everything", is_flag=True, help="Also show laws that are kept, and laws that are not claimed."
)
def check(plugin: str, everything: bool) -> None:  # noqa: FBT001  # click passes it by name
    """Measure whether the parts of PLUGIN keep the laws: symmetry, batches, padding, round trips, gradients.

    Each law is measured on toy networks in float64, and each fault is shown. The exit code is 2 if there is a
    fault.
    """
    from sneframe import plugins
    from sneframe.errors import PartError, counted, printable
    from sneframe.testing.laws import check_plugin

    _refuse_other_names(plugin)
    findings = list(check_plugin(plugin))
    if everything:
        _show(findings)
    for finding in findings:
        if finding.is_fault:
            click.echo(printable(f"FAULT {finding.part}: {finding.law}: {_seen(finding)}"))
        elif finding.is_unmeasured:
            click.echo(printable(f"not measured {finding.part}: {finding.said}"))
    claims = sum(finding.claimed for finding in findings)
    faults = [finding for finding in findings if finding.is_fault]
    parts = counted(len({finding.part for finding in findings}), "part")
    click.echo(
        f"{plugins.owner(plugin)}, in float64: {parts}, {counted(claims, 'claim')}, "
        f"{claims - len(faults)} kept"
    )
    if faults:
        first = faults[0]
        raise PartError(
            f"{len(faults)} of {counted(claims, 'claim')} not kept, the first by {first.part}: {first.law}: "
            f"{_seen(first)}"
        )


def _seen(finding: Finding) -> str:
    return finding.said or f"an error of {finding.error:.2g}"


def _show(findings: list[Finding]) -> None:
    from sneframe.cli.tables import cells, table
    from sneframe.cli.terminal import Terminal

    rows = table("part", "law", "error", "")
    for finding in findings:
        error = "–" if finding.error is None else f"{finding.error:.1e}"
        verdict = "FAULT" if finding.is_fault else "kept" if finding.kept else "not claimed"
        if finding.is_unmeasured or (finding.error is None and not finding.is_fault):
            verdict = "" if finding.is_unmeasured else finding.said  # empty where the law does not apply
        rows.add_row(*cells(finding.part, finding.law, error, verdict))
    Terminal().print(rows)


def _refuse_other_names(name: str) -> None:
    """Refuse the name of a recipe or a part, and say what to type instead.

    Raises:
        PluginError: the name has a slash, so it names no plugin.
    """
    from sneframe import plugins
    from sneframe.errors import PluginError, choices

    plugin, slash, _ = name.partition("/")
    if not slash:
        return
    known = plugins.installed()
    if plugin not in known:
        raise PluginError(
            f"check takes the name of a plugin, but got {name!r}, {choices(plugin, known, 'installed')}"
        )
    registry = plugins.load([plugin])
    noun = "recipe" if name in registry.recipes else "part"
    fault = (
        f"{name!r} is a {noun}"
        if name in {**registry.recipes, **registry.parts}
        else f"{plugin!r} offers no {name!r}"
    )
    raise PluginError(f"{fault}; check takes a plugin, and measures all its parts: sneframe check {plugin}")
