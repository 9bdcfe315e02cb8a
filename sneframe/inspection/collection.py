"""Compare the networks of a folder by numbers that any architecture has, and find the nearest of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from sneframe.architecture.low_rank import KIND
from sneframe.inspection.measure import Measured
from sneframe.inspection.network import Inspection
from sneframe.inspection.updates import ROLE as UPDATE

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@frozen(kw_only=True)
class Summary:
    """One network of a folder in a few numbers.

    Args:
        source: path of the network.
        weights: number of weights.
        layers: number of layers with parameters.
        alpha: mean exponent α of the matrices, each weighted by the logarithm of its largest eigenvalue as
            WeightWatcher does; None if no matrix has one.
        stable_rank: mean of the stable ranks, each over the smaller side of its matrix; None without
            matrices.
        log_norm: mean decimal logarithm of the squared Frobenius norms of the matrices; None without
            matrices.
        findings: number of findings.
        nearest: source of the network with the most similar spectra; None in a folder of one.
    """

    source: str
    weights: int
    layers: int
    alpha: float | None
    stable_rank: float | None
    log_norm: float | None
    findings: int
    nearest: str | None = None


def summaries(inspections: Sequence[Inspection]) -> tuple[Summary, ...]:
    """Return a summary of each network, with the nearest of the others.

    The distance is Euclidean, between quantiles over the matrices of a network: of the scale, the spectral
    norm, and the stable and effective rank as fractions of the smaller side. Each quantile is divided by its
    standard deviation over the folder.
    """
    signatures = np.stack([_signature(each) for each in inspections])
    spread = signatures.std(0)
    scaled = signatures / np.where(spread > 1e-12, spread, 1.0)
    found = []
    for row, each in enumerate(inspections):
        distances = np.square(scaled - scaled[row]).sum(1)
        distances[row] = np.inf
        nearest = inspections[int(distances.argmin())].source if len(inspections) > 1 else None
        found.append(_summary(each, nearest))
    return tuple(found)


def _summary(inspection: Inspection, nearest: str | None) -> Summary:
    spectra = [
        each.spectrum for each in _compared(inspection) if each.spectrum is not None and each.spectrum.norm
    ]
    laws = [
        (each.power_law.alpha, np.log10(each.spectrum.norm**2))
        for each in _compared(inspection)
        if each.power_law is not None and each.spectrum is not None
    ]
    weights = np.array([abs(weight) for _, weight in laws])
    ranks = [each.stable_rank / each.of for each in spectra if each.stable_rank is not None]
    return Summary(
        source=inspection.source,
        weights=inspection.num_weights,
        layers=sum(inspection.by_kind.values()),
        alpha=float(np.average([alpha for alpha, _ in laws], weights=weights + 1e-12)) if laws else None,
        stable_rank=float(np.mean(ranks)) if ranks else None,
        log_norm=float(np.mean([2 * np.log10(each.frobenius) for each in spectra])) if spectra else None,
        findings=len(inspection.findings),
        nearest=nearest,
    )


def _compared(inspection: Inspection) -> list[Measured]:
    """Return the parameters that are compared: of low-rank adapters the updates, not their two factors."""
    return [each for each in inspection.parameters if each.kind != KIND or each.role == UPDATE]


def _signature(inspection: Inspection) -> np.ndarray:
    """Return quantiles over the matrices of a network; zeros for one without matrices."""
    rows = [
        (
            np.log10(each.rms * np.sqrt(each.size / each.shape[0])),
            np.log10(each.spectrum.norm),
            (each.spectrum.stable_rank or 0.0) / each.spectrum.of,
            (each.spectrum.effective_rank or 0.0) / each.spectrum.of,
        )
        for each in _compared(inspection)
        if each.spectrum is not None and each.rms and each.spectrum.norm
    ]
    if not rows:
        return np.zeros(4 * len(QUANTILES))
    return np.quantile(np.array(rows), QUANTILES, axis=0).ravel()
