"""The options ``--engine`` and ``--workers`` of the commands that read many files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from sneframe.engine import Engine

Command = TypeVar("Command", bound=Callable[..., Any])

ENGINE = (
    click.option(
        "--engine",
        type=click.Choice(["serial", "process", "ray"]),
        default="serial",
        show_default=True,
        help="How files are read: one after the other, in several processes, or on a Ray cluster.",
    ),
    click.option("--workers", type=click.IntRange(1), help="Number of processes.  [default: one per core]"),
)


def engine_options(command: Command) -> Command:
    """Add the options that say where many files are read."""
    for option in reversed(ENGINE):
        command = option(command)
    return command


def engine_of(name: str, workers: int | None) -> Engine:
    """Return the engine that the options name.

    Raises:
        UsageError: ``workers`` is given without an engine that has some.
    """
    from sneframe.engine import make_engine

    if workers and name == "serial":
        raise click.UsageError("--workers needs --engine process or --engine ray")
    return make_engine(name, workers)
