"""Any folder of checkpoints: state dicts of any number of architectures, their properties in a table beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.config import option
from sneframe.errors import ArchitectureError, FileError, ZooError
from sneframe.files import SUFFIXES, inside, is_sharded, read_state_dict
from sneframe.zoo.importer import Found, Skipped, ZooImporter
from sneframe_importers.factory import Factory
from sneframe_importers.table import Entry, read_table


@frozen(kw_only=True)
class Files:
    """What there is to say of a folder of checkpoints."""

    properties: Path | None = option(
        None,
        "a table, CSV or JSON lines: `file`, relative to SRC, perhaps `group` and `split`, and properties",
    )
    module: str | None = option(
        None, "package.module:function, which makes a network's module of its properties: its exact symmetry"
    )
    key: str | None = option(
        None, "of checkpoints that hold several state dicts, which; `model`, `nets.actor`"
    )
    activation: str = option("relu", "of every layer but the last, where there is no module")
    flatten: Literal["unknown", "channels_first"] = option(
        "unknown",
        "where there is no module, in which order a linear layer reads a convolution: channels_first is torch's",
    )


def read(config: Files, source: Path, progress: Callable[[int, int], None]) -> Iterator[Found | Skipped]:
    """Yield the networks of a folder, one at a time, in the order of the table, or of their names."""
    if not source.is_dir():
        raise ZooError(f"{source}: {'no folder' if source.exists() else 'there is no such folder'}")
    names = _names(source)
    entries = [Entry(line=0, file=name, group=None, split=None, properties={}) for name in names]
    if config.properties is not None:
        entries = read_table(config.properties)
    architectures = Architectures(config)
    types: dict[Architecture, dict[str, torch.dtype]] = {}
    for done, entry in enumerate(entries):
        progress(done, len(entries))
        try:
            path = inside(source, entry.file)
            tensors = _weights(path, config.key)
            architecture = architectures.of(tensors, entry.properties)
            weights = _typed({p.name: tensors[p.name] for p in architecture.parameters}, architecture, types)
        except (FileError, ArchitectureError) as error:
            reason = str(error).removeprefix(f"{source / entry.file}: ").removeprefix(f"{entry.file}: ")
            yield Skipped(
                source=entry.file, reason=reason + (f" (line {entry.line} of the table)" * (entry.line > 0))
            )
            continue
        yield Found(
            source=entry.file,
            architecture=architecture,
            weights={name: tensor[None] for name, tensor in weights.items()},
            properties={
                "source": [entry.file],
                **{name: [value] for name, value in entry.properties.items()},
            },
            groups=[entry.file if entry.group is None else entry.group],
            splits={} if entry.split is None else {"table": [entry.split]},
        )
    progress(len(entries), len(entries))
    if config.properties is not None:
        listed = {Path(entry.file).as_posix() for entry in entries}
        for name in names:
            if name not in listed:
                yield Skipped(source=name, reason=f"not in {config.properties.name}")


FILES = ZooImporter(
    name="importers/files",
    config=Files,
    read=read,
    help="A folder of .safetensors, .pt and .pth state dicts, or of Stable-Baselines3 .zip files.",
)


class Architectures:
    """Describes networks by their module, or by names and shapes alone, each kind once."""

    def __init__(self, config: Files) -> None:
        self._factory = None if config.module is None else Factory(config.module)
        self._told: dict[str, Any] = {"activation": config.activation, "flatten": config.flatten}
        self._known: dict[tuple[tuple[str, torch.Size], ...], Architecture] = {}

    def of(self, tensors: Mapping[str, Tensor], properties: Mapping[str, object]) -> Architecture:
        """Return the architecture of a network."""
        if self._factory is not None:
            return self._factory.architecture(tensors, properties)
        shapes = tuple((name, tensor.shape) for name, tensor in tensors.items())
        if shapes not in self._known:
            self._known[shapes] = Architecture.from_state_dict(tensors, **self._told)
        return self._known[shapes]


def _names(source: Path) -> list[str]:
    """Return the networks' files in a folder, at any depth, in an order of their own."""
    found = [
        path for path in source.rglob("*") if path.name.lower().endswith(SUFFIXES) and not is_sharded(path)
    ]
    return sorted(path.relative_to(source).as_posix() for path in found if not path.is_dir())


def _weights(path: Path, key: str | None) -> dict[str, Tensor]:
    """Return the floating-point tensors of a file; others are no weights."""
    tensors = read_state_dict(path, key).tensors
    weights = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not weights:
        raise FileError("holds no floating-point tensor")
    return weights


def _typed(
    weights: Mapping[str, Tensor],
    architecture: Architecture,
    types: dict[Architecture, dict[str, torch.dtype]],
) -> dict[str, Tensor]:
    """Return weights in the types of the first network of the architecture, if no digit is lost."""
    first = types.setdefault(architecture, {name: tensor.dtype for name, tensor in weights.items()})
    for name, tensor in weights.items():
        if torch.promote_types(tensor.dtype, first[name]) != first[name]:
            raise FileError(
                f"{name!r} is {tensor.dtype}, those of the first network of this architecture are {first[name]}"
            )
    return {name: tensor.to(first[name]) for name, tensor in weights.items()}
