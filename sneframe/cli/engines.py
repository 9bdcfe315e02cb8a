"""The options ``--engine`` and ``--workers`` of the commands whose work is independent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from sneframe.engine import Engine

Command = TypeVar("Command", bound=Callable[..., Any])


def engine_options(what: str) -> Callable[[Command], Command]:
    """Return a decorator that adds the options to a command.

    Args:
        what: what runs, for the help, such as ``files are read``.
    """
    engine = click.option(
        "--engine",
        type=click.Choice(["serial", "process", "ray"]),
        default="serial",
        show_default=True,
        help=f"How {what}: one after the other, in several processes, or on a Ray cluster.",
    )
    workers = click.option(
        "--workers", type=click.IntRange(1), help="Number of processes.  [default: one per core]"
    )
    return lambda command: engine(workers(command))


def engine_of(name: str, workers: int | None) -> Engine:
    """Return the engine that the options name.

    Raises:
        UsageError: ``workers`` is given without an engine that has some.
    """
    from sneframe.engine import make_engine

    if workers and name == "serial":
        raise click.UsageError("--workers needs --engine process or --engine ray")
    return make_engine(name, workers)
