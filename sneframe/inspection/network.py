"""Inspect one network: a file, a model folder, a module or a state dict."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from attrs import field, frozen
from torch import Tensor, nn

from sneframe.architecture import Architecture, Parameter
from sneframe.inspection.findings import NetworkFinding, findings
from sneframe.inspection.measure import Measured, measure
from sneframe.inspection.spectrum import EXACT
from sneframe.inspection.updates import ROLE as UPDATE
from sneframe.inspection.updates import updates_of, with_updates
from sneframe.predict.lazy_network import Describer
from sneframe.predict.reading import ReadingOptions, network_reader
from sneframe.progress import Reporter


@frozen(kw_only=True, eq=False)
class Inspection:
    """What was found in a network.

    Args:
        source: path of the file, or the name of the module's class.
        format: name of the file reader; empty for a network in memory.
        bytes: size of the file, or of all files of a folder; None for a network in memory.
        architecture: the layers and neuron groups, as far as they are known.
        notes: what the reader left out, chose or assumed, one line each.
        parameters: what was measured of each parameter, in the order of the architecture. In a low-rank
            adapter, the update s B A of a module follows its B.
        findings: what is wrong with them.
    """

    source: str
    format: str
    bytes: int | None
    architecture: Architecture = field(repr=False)
    notes: tuple[str, ...]
    parameters: tuple[Measured, ...] = field(repr=False)
    findings: tuple[NetworkFinding, ...]

    @property
    def num_weights(self) -> int:
        """Number of weights of all parameters."""
        return sum(each.size for each in self.stored)

    @property
    def stored(self) -> tuple[Measured, ...]:
        """The parameters that the file holds: without the updates that follow from others."""
        return tuple(each for each in self.parameters if each.role != UPDATE)

    @property
    def by_dtype(self) -> dict[str, int]:
        """Number of weights by type of number, the most frequent type first."""
        counts: Counter[str] = Counter()
        for each in self.stored:
            counts[each.dtype] += each.size
        return dict(counts.most_common())

    @property
    def by_kind(self) -> dict[str, int]:
        """Number of layers with parameters by kind, the most frequent kind first."""
        kinds = Counter(layer.kind for layer in self.architecture.layers if layer.parameters)
        return dict(kinds.most_common())

    @property
    def tied(self) -> dict[str, str]:
        """Other names of tied parameters, each with the name under which its values are listed."""
        return {
            other: name
            for layer in self.architecture.layers
            for other, name in layer.attributes.get("tied", {}).items()
        }


def inspect(
    network: nn.Module | Mapping[str, Tensor] | str | Path,
    *,
    example_input: Any = None,
    exact: int = EXACT,
    reporter: Reporter | None = None,
    **reading: Unpack[ReadingOptions],
) -> Inspection:
    """Inspect a network. Parameters are read and measured one after the other.

    Args:
        network: a module, a state dict, or the path of a file or of a model folder.
        example_input: an input of a module's ``forward``, if none can be made for its first layer.
        exact: length of the smaller side of a matrix up to which all its singular values are computed.
        reporter: receives progress; by default, nothing is printed.
        reading: how files are read, such as ``key`` or ``activation``, as in
            :class:`~sneframe.predict.reading.ReadingOptions`.

    Raises:
        ConfigError: an option of reading or its value is unknown.
        FileError: the file cannot be read, is of no known kind, or holds no weights.
        ArchitectureError: the network cannot be described, or the object is no network.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        lazy = Describer(network_reader(**reading), ()).of(network, example_input)
    updates, read_update = updates_of(lazy), with_updates(lazy).by_name()
    parameters: list[tuple[Parameter, str]] = []
    for layer in lazy.architecture.layers:
        for parameter in layer.parameters:
            parameters.append((parameter, layer.kind))
            if parameter.name in updates:
                parameters.append((updates[parameter.name], layer.kind))
    read_stored = lazy.by_name()
    measured: list[Measured] = []
    total = sum(parameter.size for parameter, _ in parameters)
    with (reporter or Reporter()).bar(f"inspecting {lazy.source}", unit="weights") as advance:
        for parameter, kind in parameters:
            advance(sum(each.size for each in measured), total)
            read = read_update if parameter.role == UPDATE else read_stored
            measured.append(
                measure(parameter.name, read(parameter.name), kind=kind, role=parameter.role, exact=exact)
            )
        advance(total, total)
    path = Path(network) if isinstance(network, str | Path) else None
    return Inspection(
        source=lazy.source,
        format=lazy.format,
        bytes=None if path is None else _size(path),
        architecture=lazy.architecture,
        notes=(*lazy.notes, *dict.fromkeys(str(each.message) for each in said)),
        parameters=tuple(measured),
        findings=findings(measured),
    )


def _size(path: Path) -> int:
    files: Sequence[Path] = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
