"""Put an inspection into words: facts, rows of a table, and plain data for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import attrs

from sneframe.config.byte_size import shown
from sneframe.errors import counted
from sneframe.inspection.collection import Summary
from sneframe.inspection.difference import NetworkDifference
from sneframe.inspection.measure import Measured
from sneframe.inspection.network import Inspection
from sneframe.nn.spectral_tail import FEWEST
from sneframe.report.words import NOTHING, count

COLUMNS = ("shape", "norm", "spectral", "stable rank", "eff. rank", "α", "near 0", "kurtosis")
UNKNOWN = {"parameter": "of unknown kind"}  #: a parameter of which only the shape is known
CHANGED = ("shape", "change", "cosine", "rank of change")
SUMMARY = ("weights", "layers", "α", "stable rank", "log norm", "findings", "nearest")


def facts(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """Yield what a network is: the name and the text of each fact."""
    if inspection.format:
        size = "" if inspection.bytes is None else f", {shown(inspection.bytes)}"
        yield "format", f"{inspection.format}{size}"
    types = ", ".join(f"{name} {count(number)}" for name, number in inspection.by_dtype.items())
    parameters = counted(len(inspection.stored), "parameter")
    yield "weights", f"{count(inspection.num_weights)} in {parameters} ({types})"
    kinds = {UNKNOWN.get(kind, kind): number for kind, number in inspection.by_kind.items()}
    yield "layers", ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    if inspection.tied:
        yield "tied", ", ".join(f"{other} = {name}" for other, name in inspection.tied.items())
    groups = [f"{group.name} ({group.size})" for group in inspection.architecture.groups]
    listed = f": {', '.join(groups[:6])}{' …' if len(groups) > 6 else ''}" if groups else ""
    yield "neurons", f"{counted(len(groups), 'group')}, {origin(inspection)}{listed}"


def origin(inspection: Inspection) -> str:
    """Return where the neuron groups of a network come from, in a few words."""
    return {
        "none": "no symmetry is known",
        "guessed": "guessed from names and shapes",
        "stated": "stated by the file or its reader, not verified",
        "derived": "derived from the computation, not verified",
        "verified": "derived from the computation and verified",
    }[inspection.architecture.symmetry]


def row(each: Measured) -> tuple[str, ...]:
    """Return the cells of :data:`COLUMNS` for a parameter."""
    shape = "×".join(map(str, each.shape)) or "scalar"
    if each.lacking:
        return (shape, f"{each.lacking} not finite", *[NOTHING] * (len(COLUMNS) - 2))
    spectrum = each.spectrum
    return (
        shape,
        short(each.frobenius),
        NOTHING if spectrum is None else short(spectrum.norm) + ("" if spectrum.complete else "~"),
        NOTHING if spectrum is None else short(spectrum.stable_rank),
        NOTHING if spectrum is None else short(spectrum.effective_rank),
        alpha(each),
        NOTHING if each.near_zero is None else f"{100 * each.near_zero:.1f} %",
        short(each.kurtosis),
    )


def alpha(each: Measured) -> str:
    """Return the exponent α of a parameter, or why there is none."""
    if each.power_law is not None:
        return f"{each.power_law.alpha:.2f}"
    if each.spectrum is None or not each.spectrum.complete:
        return NOTHING
    return "too few" if each.spectrum.of < FEWEST else NOTHING


def short(value: float | None) -> str:
    """Return a number with three significant digits."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3g}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names with commas, the first ones of a long list."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def change_rows(found: NetworkDifference) -> Iterator[tuple[str, ...]]:
    """Yield the name of each changed parameter and the cells of :data:`CHANGED`, the largest change first."""
    changed = [each for each in found.changes if each.changed]
    for each in sorted(changed, key=lambda one: math.inf if one.relative is None else one.relative)[::-1]:
        yield (
            each.name,
            "×".join(map(str, each.shape)) or "scalar",
            _relative(each.relative),
            short(each.cosine),
            NOTHING
            if each.rank is None
            else f"{each.rank} of {min(each.shape[0], math.prod(each.shape[1:]))}",
        )


def _relative(value: float | None) -> str:
    if value is None:
        return "not finite"
    return f"{100 * value:.3g} %" if math.isfinite(value) else "was zero"


def verdict(found: NetworkDifference) -> str:
    """Return in one sentence what two networks have to do with each other."""
    total, changed = len(found.changes), sum(each.changed for each in found.changes)
    some = f"{changed} of {counted(total, 'common parameter')} differ"
    near = f"the matrices have a mean cosine of {short(found.cosine)}"
    return {
        "equal": "Both networks are the same.",
        "related": f"{some}, and {near}: one network comes from the other, or both from a third. Weights do "
        f"not say which came first.",
        "unrelated": f"{some}, and {near}: the networks do not come from each other, or their neurons could "
        f"not be matched.",
        "different architectures": "They have no parameter of the same name and shape.",
    }[found.verdict]


def below(each: Summary, folder: str) -> Summary:
    """Return a summary whose sources are named from a folder on."""

    def short_name(source: str) -> str:
        return str(PurePath(source).relative_to(folder))

    nearest = None if each.nearest is None else short_name(each.nearest)
    return attrs.evolve(each, source=short_name(each.source), nearest=nearest)


def summary_row(each: Summary) -> tuple[str, ...]:
    """Return the cells of :data:`SUMMARY` for a network."""
    return (
        count(each.weights),
        str(each.layers),
        short(each.alpha),
        short(each.stable_rank),
        short(each.log_norm),
        str(each.findings),
        each.nearest or NOTHING,
    )


def plain(inspection: Inspection) -> dict[str, Any]:
    """Return an inspection as plain data for JSON."""
    return {
        "source": inspection.source,
        "format": inspection.format,
        "bytes": inspection.bytes,
        "weights": inspection.num_weights,
        "dtypes": inspection.by_dtype,
        "layers": inspection.by_kind,
        "tied": inspection.tied,
        "symmetry": inspection.architecture.symmetry,
        "groups": {group.name: group.size for group in inspection.architecture.groups},
        "notes": list(inspection.notes),
        "findings": [attrs.asdict(each) for each in inspection.findings],
        "parameters": [_parameter(each) for each in inspection.parameters],
    }


def _parameter(each: Measured) -> dict[str, Any]:
    spectrum, law, rows = each.spectrum, each.power_law, each.rows
    found: Mapping[str, Any] = attrs.asdict(each, filter=lambda attribute, _: attribute.name != "spectrum")
    return {
        **found,
        "frobenius": each.frobenius,
        "power_law": None if law is None else attrs.asdict(law),
        "rows": None if rows is None else attrs.asdict(rows),
        "spectrum": None
        if spectrum is None
        else {
            "norm": spectrum.norm,
            "error": spectrum.error,
            "stable_rank": spectrum.stable_rank,
            "effective_rank": spectrum.effective_rank,
            "rank": spectrum.rank,
            "complete": spectrum.complete,
            "values": [float(f"{value:.6g}") for value in spectrum.values],
        },
    }


def plain_difference(found: NetworkDifference) -> dict[str, Any]:
    """Return a difference as plain data for JSON, which has no infinity: a change from zero is null."""
    content = attrs.asdict(found)
    for each in content["changes"]:
        if each["relative"] == math.inf:
            each["relative"] = None
    return {**content, "cosine": found.cosine, "verdict": found.verdict}
