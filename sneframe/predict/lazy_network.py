"""Describe modules, state dicts and files as :class:`LazyNetwork`, whose weights are read on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.derive import described
from sneframe.batch import Batch, flatten, join
from sneframe.errors import ArchitectureError, FileError
from sneframe.files.network_reader import NetworkReader, checked, named
from sneframe.symmetry.describe import Descriptions

Network = nn.Module | Mapping[str, Tensor] | str | Path
MAPPED = 64 << 20  #: bytes of parameters that are read before a file is mapped anew


@frozen(kw_only=True, eq=False)
class LazyNetwork:
    """A described network whose weights are read on demand.

    Args:
        source: the name of the network in messages.
        architecture: the architecture of the network.
        read: function that returns the tensors of the network by name. For a file, each call maps the file
            into memory anew.
        assumed: whether the activation in ``architecture`` is only assumed, not known from the network.
        format: name of the reader of the file; empty for a network in memory.
        notes: what the reader left out, chose or assumed, one line each.
    """

    source: str
    architecture: Architecture
    read: Callable[[], Mapping[str, Tensor]]
    assumed: bool = False
    format: str = ""
    notes: tuple[str, ...] = ()

    def by_name(self) -> Callable[[str], Tensor]:
        """Return a function that reads one parameter by name.

        The pages of a mapped file that were read count as memory of the process, so the file is mapped anew
        after some megabytes. To map it for each parameter would take longer than to encode small parameters.
        """
        values: Mapping[str, Tensor] = {}
        read = 0

        def parameter(name: str) -> Tensor:
            nonlocal values, read
            if not values or read > MAPPED:
                values, read = {}, 0  # the former mapping ends before the next one begins
                values = self.read()
            value = values[name]
            read += value.nbytes
            return value

        return parameter


@final
class Describer:
    """Turns the networks that a run is applied to into :class:`LazyNetwork` objects.

    Args:
        reader: reads files and state dicts.
        known: the architectures of the training networks, whose activations are known.
    """

    def __init__(self, reader: NetworkReader, known: Sequence[Architecture]) -> None:
        self.reader = reader
        self._known = frozenset(known)
        self._descriptions = Descriptions()

    def of(self, network: Any, example_input: Any = None) -> LazyNetwork:
        """Describe a network. Its weights are read only when they are needed.

        Args:
            network: a module, a state dict, or the path of a file.
            example_input: an input of a module's ``forward``, if none can be made for its first layer.

        Raises:
            FileError: the file cannot be read.
            ArchitectureError: the network cannot be described, or the object is not a network.
        """
        if isinstance(network, nn.Module):
            source = type(network).__name__
            own = {name: value.detach() for name, value in checked(described(network), source).items()}
            architecture = self._descriptions.of(network, example_input)
            return LazyNetwork(source=source, architecture=architecture, read=lambda: own)
        if isinstance(network, Mapping):
            tensors = self.reader.weights_of(network, "state dict")
            return self._without_code("state dict", self.reader.describe(tensors), lambda: tensors)
        if not isinstance(network, str | Path):
            got = f"the class {network.__name__}" if isinstance(network, type) else type(network).__name__
            raise ArchitectureError(
                f"a network is a module, a state dict or the path of a file, but got {got}"
            )
        path = Path(network)
        try:
            found = self.reader.read(path)
            architecture = self.reader.describe(found.tensors, content=found.content, path=path)
            stated = found.content is not None and found.content.states_activations
        except FileError as error:
            raise error if str(error).startswith(str(path)) else FileError(f"{path}: {error}") from error
        read = partial(self.reader.weights, path)
        lazy = self._without_code(str(network), architecture, read, path=path, stated=stated)
        return evolve(lazy, format=found.reader, notes=found.notes)

    def _without_code(
        self,
        source: str,
        architecture: Architecture,
        read: Callable[[], Mapping[str, Tensor]],
        *,
        path: Path | None = None,
        stated: bool = False,
    ) -> LazyNetwork:
        module = self.reader.module
        served = module is not None and module.serves(path)
        known = stated or served or self.reader.activation is not None
        return LazyNetwork(
            source=source,
            architecture=architecture,
            read=lambda: named(read(), architecture),
            assumed=not known and architecture.depth > 1 and architecture not in self._known,
        )


def stacked(networks: Sequence[LazyNetwork]) -> Batch:
    """Read the weights of networks into one batch. Row ``i`` of the batch is ``networks[i]``."""
    rows: dict[Architecture, list[int]] = {}
    for row, each in enumerate(networks):
        rows.setdefault(each.architecture, []).append(row)
    weights = {
        architecture: torch.stack([flatten(architecture, networks[row].read()) for row in own])
        for architecture, own in rows.items()
    }
    return join(weights, rows)
