"""What the commands that ask a run share: the run, how files are described, and the networks of zoos and files."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import numpy as np

    from sneframe.predict.embedding_table import EmbeddingTable
    from sneframe.predict.predictor import Predictor
    from sneframe.zoo import Zoo

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
Command = TypeVar("Command", bound=Callable[..., Any])
#: Whether it can be read is found out when it is, so that others are read none the less.
PATH = click.Path(path_type=Path, readable=False)


class Size(click.ParamType[int]):
    """``2GB``, ``512MiB`` as bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a number and its unit."""
        match = re.fullmatch(r"([\d.]+)\s*([a-z]*)", str(value).strip(), re.IGNORECASE)
        try:
            if match is None:
                raise ValueError(value)
            return int(float(match[1]) * UNITS[match[2].upper() or "B"])
        except (ValueError, KeyError):
            self.fail(f"{value!r} is no size, such as 2GB or 512MiB", param, ctx)


OPTIONS = (
    click.option(
        "--memory",
        type=Size(),
        help="What encoding a large network may take, beside the model and the weights of one layer.  [default: 2GiB]",
    ),
    click.option("--module", help="package.module:function that makes a network's module; for files."),
    click.option("--key", help="Of checkpoints that hold several state dicts, which; for files."),
    click.option(
        "--activation",
        help="Of every layer but the last, of files without a module; without it neurons are permuted, never scaled.",
    ),
    click.option(
        "--flatten",
        type=click.Choice(("unknown", "channels_first")),
        default="unknown",
        help="In which order a linear layer reads a convolution, in files without a module; channels_first is torch's.",
    ),
    click.option(
        "--trust-names",
        is_flag=True,
        help="Take files without a module for chains of layers wherever the sizes fit.",
    ),
)


def described(command: Command) -> Command:
    """Add the options that say how files are described."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def asked(run: Path, **options: Any) -> Predictor:
    """Read a run, which says on standard error how far it is with a large network."""
    from rich.console import Console

    from sneframe.predict.predictor import load
    from sneframe.progress import Reporter

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    return load(run, reporter=Reporter(console if console.is_terminal else None), **options)


def check_out(out: Path, endings: Sequence[str]) -> None:
    """Check where a command is to write, before hours of encoding.

    Raises:
        ConfigError: another ending, something else than a file there, or no folder for it.
        ZooError: it lies in a zoo.
    """
    from sneframe.atomic import check_file
    from sneframe.errors import ConfigError
    from sneframe.zoo.staging import check_place

    if out.suffix not in endings:
        raise ConfigError(f"{out}: the name of what is written ends in {', '.join(endings)}")
    check_file(out)
    check_place(out)


def networks_of(predictor: Predictor, paths: Sequence[Path]) -> Iterator[EmbeddingTable]:
    """Yield the embedded networks of each zoo and file; those of a zoo that are not finite are left out, with a warning.

    Raises:
        ZooError: a folder that is no zoo, a zoo that cannot be read, or of which nothing would be left.
        FileError: a file that cannot be read.
    """
    import numpy as np

    from sneframe.errors import ZooError
    from sneframe.predict.embedding_table import EmbeddingTable
    from sneframe.zoo import open_zoo

    for path in paths:
        if path.is_dir():
            zoo, total = open_zoo(path), len(open_zoo(path, unhealthy=True))
            values = predictor.embed(zoo) if len(zoo) else np.empty((0, 0))
            finite = np.asarray(np.isfinite(values).all(1))
            zoo, values = zoo.select(finite), values[finite]
            if left := total - len(zoo):
                why = "weights that are not finite, or too large for a finite embedding"
                warnings.warn(f"{path}: {left} of {total} networks are left out: {why}", stacklevel=2)
            _say_doubtful(path, zoo.symmetry)
            if not len(zoo):
                raise ZooError(f"{path}: there is no network with an embedding")
            yield EmbeddingTable(sources=zoo.sources, values=values, properties=properties(zoo))
        else:
            yield EmbeddingTable(sources=[str(path)], values=file_of(predictor, path)[None], properties={})


def file_of(predictor: Predictor, path: Path) -> np.ndarray:
    """Return the embedding ``(E,)`` of the network in a file, and say if its symmetry is not certain.

    Raises:
        FileError: a file that cannot be read.
    """
    values = predictor.embed(path)
    reader = predictor.reader
    _say_doubtful(path, {reader.describe(reader.weights(path)).symmetry: 1})
    return values


def _say_doubtful(path: Path, counts: Mapping[str, int]) -> None:
    """Warn where the symmetry of networks is guessed or not known."""
    from sneframe.architecture.origin import sentences
    from sneframe.predict.prediction import DoubtWarning

    for origin, line in zip(counts, sentences(counts), strict=True):
        if origin in ("none", "guessed"):
            warnings.warn(f"{path}: {line}", DoubtWarning, stacklevel=3)


def properties(zoo: Zoo) -> dict[str, list[Any]]:
    """Return what is known of the networks of a zoo, their architecture and group included."""
    names = ("architecture_summary", "group", *zoo.properties)
    found = {name: zoo.typed_column(name).objects() for name in names}
    return {"architecture": found.pop("architecture_summary"), **found}
