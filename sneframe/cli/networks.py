"""Load runs and embed networks for the commands predict, embed, similar and map.

These commands share the options that say how files are read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import numpy as np

    from sneframe.engine import Engine
    from sneframe.predict.embedding_table import EmbeddingTable
    from sneframe.predict.many import Asked
    from sneframe.predict.predictor import Predictor
    from sneframe.zoo import Zoo

Command = TypeVar("Command", bound=Callable[..., Any])
#: click does not check whether these paths can be read. If one cannot, the commands still read the others.
PATH = click.Path(path_type=Path, readable=False)


class Size(click.ParamType[int]):
    """Converts a size such as ``2GB`` or ``512MiB`` to bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert a number with a unit to bytes."""
        from sneframe.config.byte_size import in_bytes

        try:
            return in_bytes(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


#: How networks are read.
READING = (
    click.option(
        "--module",
        multiple=True,
        help="package.module:function, timm:NAME, torchvision:NAME or transformers, which makes the module "
        "of a network in a file. With PATTERN= before it, only for the files whose paths match.",
    ),
    click.option("--key", help="Which state dict to read from a checkpoint that holds several."),
    click.option(
        "--reader",
        help="The file reader for all files (see `sneframe readers`).  [default: each file is recognised]",
    ),
    click.option(
        "--strip-prefix",
        default="",
        help="Prefix to remove from the names of the tensors, such as `backbone.`.",
    ),
    click.option(
        "--rename",
        multiple=True,
        help="`s/PATTERN/REPLACEMENT/`, which changes the names of the tensors by a regular expression; "
        "repeatable.",
    ),
    click.option(
        "--activation",
        help="The activation of every layer but the last, such as relu or sine:30 for sin(30 z), if --module "
        "is not given. Without an activation, neurons are permuted but never scaled, and probes cannot "
        "evaluate the network.",
    ),
    click.option(
        "--flatten",
        type=click.Choice(("unknown", "channels_first")),
        default="unknown",
        help="The order in which a linear layer reads the output of a convolution, if --module is not "
        "given. The order of torch is channels_first.",
    ),
    click.option(
        "--trust-names",
        is_flag=True,
        help="Assume that the layers form a chain if their sizes fit and --module is not given.",
    ),
)
OPTIONS = (
    click.option(
        "--memory",
        type=Size(),
        help="Memory for encoding a large network, beside the model and one layer.  [default: 2GiB]",
    ),
    click.option(
        "--all-weights",
        is_flag=True,
        help="Encode all weights of a network with more than 50 million, instead of a sample.",
    ),
    *READING,
)


def file_options(command: Command) -> Command:
    """Add the options that say how files are read and described."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def load_run(run: Path, **options: Any) -> Predictor:
    """Load a run as a predictor, which shows its progress on large networks on standard error."""
    from rich.console import Console

    from sneframe.predict.predictor import load
    from sneframe.progress import Reporter

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    return load(run, reporter=Reporter(console if console.is_terminal else None), **options)


def check_out(out: Path, endings: Sequence[str]) -> None:
    """Check that a command can write to the path ``out``, before hours of encoding.

    Raises:
        ConfigError: the name has none of ``endings``, the path is not a file, or its folder does not exist.
        ZooError: the path lies in a zoo.
    """
    from sneframe.atomic import check_file
    from sneframe.errors import ConfigError
    from sneframe.zoo.staging import check_place

    if out.suffix not in endings:
        raise ConfigError(f"{out}: the name must end in {', '.join(endings)}")
    check_file(out)
    check_place(out)


def networks_of(
    predictor: Predictor, paths: Sequence[Path], asked: Asked, engine: Engine
) -> Iterator[EmbeddingTable]:
    """Yield one table of embeddings for each path, which is the path of a zoo, a folder or a file.

    Networks of a zoo whose embeddings are not finite are left out with a warning.

    A folder that is no zoo is searched for networks. A file in it that cannot be read is left out with a
    warning.

    Args:
        predictor: the loaded run.
        paths: the paths.
        asked: the run and its options, for the workers of the engine.
        engine: where files are encoded. Zoos are encoded in this process.

    Raises:
        ZooError: a zoo cannot be read, or none of its networks has a finite embedding.
        FileError: a file cannot be read, or a folder holds no network that can be read.
    """
    import numpy as np

    from sneframe.errors import FileError, counted
    from sneframe.files.paths import paths_at
    from sneframe.predict.embedding_table import EmbeddingTable
    from sneframe.predict.many import answers
    from sneframe.zoo.manifest import is_zoo

    for path in paths:
        if path.is_dir() and is_zoo(path):
            yield _zoo_of(predictor, path)
            continue
        files = paths_at(path, predictor.reader.readers)
        if files == [path]:
            yield EmbeddingTable(sources=[str(path)], values=file_of(predictor, path)[None], properties={})
            continue
        found = answers(files, asked, engine, predictor)
        for each in found:
            for category, line in each.warned:
                warnings.warn(line, category, stacklevel=2)
            if each.failed is not None:
                warnings.warn(f"left out: {each.failed}", stacklevel=2)
        read = {str(each.path): each.embedding for each in found if each.embedding is not None}
        if not read:
            raise FileError(f"{path}: none of its {counted(len(files), 'network')} can be read")
        yield EmbeddingTable(sources=[*read], values=np.stack([*read.values()]), properties={})


def _zoo_of(predictor: Predictor, path: Path) -> EmbeddingTable:
    """Return the embeddings of a zoo's networks. Networks without a finite embedding are left out."""
    import numpy as np

    from sneframe.errors import ZooError, counted
    from sneframe.predict.embedding_table import EmbeddingTable
    from sneframe.zoo import open_zoo

    zoo, total = open_zoo(path), len(open_zoo(path, unhealthy=True))
    values = predictor.embed(zoo) if len(zoo) else np.empty((0, 0))
    finite = np.asarray(np.isfinite(values).all(1))
    zoo, values = zoo.select(finite), values[finite]
    if left := total - len(zoo):
        why = "weights that are not finite, or too large for a finite embedding"
        warnings.warn(f"{path}: {left} of {total} networks are left out: {why}", stacklevel=3)
    _say_doubtful(path, zoo.symmetry)
    if not len(zoo):
        raise ZooError(f"{path}: none of the {counted(total, 'network')} has a finite embedding")
    return EmbeddingTable(sources=zoo.sources, values=values, properties=properties(zoo))


def file_of(predictor: Predictor, path: Path) -> np.ndarray:
    """Return the embedding ``(E,)`` of the network in a file, and warn if its symmetry is not certain.

    Raises:
        FileError: the file cannot be read.
    """
    values = predictor.embed(path)
    _say_doubtful(path, {predictor.describe(path).symmetry: 1})
    return values


def _say_doubtful(path: Path, counts: Mapping[str, int]) -> None:
    """Warn if the symmetry of networks is guessed or not known."""
    from sneframe.architecture.origin import sentences
    from sneframe.predict.prediction import DoubtWarning

    for origin, line in zip(counts, sentences(counts), strict=True):
        if origin in ("none", "guessed"):
            warnings.warn(f"{path}: {line}", DoubtWarning, stacklevel=3)


def properties(zoo: Zoo) -> dict[str, list[Any]]:
    """Return the properties of a zoo's networks, with their architectures and run groups."""
    names = ("architecture_summary", "group", *zoo.properties)
    found = {name: zoo.typed_column(name).objects() for name in names}
    return {"architecture": found.pop("architecture_summary"), **found}
