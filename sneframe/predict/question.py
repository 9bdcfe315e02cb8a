"""A network that a run is asked about: a module, a state dict or a file in; its description out, its weights on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from attrs import frozen
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.derive import described
from sneframe.batch import Batch, flatten, join
from sneframe.errors import ArchitectureError, FileError
from sneframe.files.readers import Reader, checked, named
from sneframe.symmetry.describe import Descriptions

Network = nn.Module | Mapping[str, Tensor] | str | Path


@frozen(kw_only=True, eq=False)
class Question:
    """A network that is asked about.

    Args:
        source: what it is called.
        architecture: its own.
        read: gives its tensors by name; of a file, mapped anew whenever it is called.
        assumed: whether its activation is not known.
    """

    source: str
    architecture: Architecture
    read: Callable[[], Mapping[str, Tensor]]
    assumed: bool = False


@final
class Questions:
    """Describes networks of any kind for one run.

    Args:
        reader: of files and state dicts.
        known: architectures of the training networks, whose activations are known.
    """

    def __init__(self, reader: Reader, known: Sequence[Architecture]) -> None:
        self.reader = reader
        self._known = frozenset(known)
        self._descriptions = Descriptions()

    def of(self, network: Any, example_input: Any = None) -> Question:
        """Describe a network, whose weights are read later.

        Args:
            network: a module, a state dict, or the path of a file.
            example_input: what a module's ``forward`` takes, where none can be made up for its first layer.

        Raises:
            FileError: a file that cannot be read.
            ArchitectureError: a network that cannot be described, or something that is no network.
        """
        if isinstance(network, nn.Module):
            source = type(network).__name__
            own = {name: value.detach() for name, value in checked(described(network), source).items()}
            architecture = self._descriptions.of(network, example_input)
            return Question(source=source, architecture=architecture, read=lambda: own)
        if isinstance(network, Mapping):
            tensors = self.reader.weights_of(network, "state dict")
            return self._without_code("state dict", self.reader.describe(tensors), lambda: tensors)
        if not isinstance(network, str | Path):
            got = f"the class {network.__name__}" if isinstance(network, type) else type(network).__name__
            raise ArchitectureError(f"a network is a module, a state dict or the path of a file, got {got}")
        path = Path(network)
        try:
            architecture = self.reader.describe(self.reader.weights(path))
        except FileError as error:
            raise error if str(error).startswith(str(path)) else FileError(f"{path}: {error}") from error
        return self._without_code(str(network), architecture, lambda: self.reader.weights(path))

    def _without_code(
        self, source: str, architecture: Architecture, read: Callable[[], Mapping[str, Tensor]]
    ) -> Question:
        told = self.reader.module is not None or self.reader.activation is not None
        return Question(
            source=source,
            architecture=architecture,
            read=lambda: named(read(), architecture),
            assumed=not told and architecture.depth > 1 and architecture not in self._known,
        )


def stacked(questions: Sequence[Question]) -> Batch:
    """Return networks as a batch; position ``i`` is ``questions[i]``."""
    rows: dict[Architecture, list[int]] = {}
    for place, each in enumerate(questions):
        rows.setdefault(each.architecture, []).append(place)
    weights = {
        architecture: torch.stack([flatten(architecture, questions[place].read()) for place in places])
        for architecture, places in rows.items()
    }
    return join(weights, rows)
