"""The options ``--engine``, ``--workers`` and ``--address`` of the commands whose work is independent."""

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

    def decorated(command: Command) -> Command:
        for name, more in reversed(_options(what, "serial").items()):
            command = click.option(name, **more)(command)
        return command

    return decorated


def engine_parameters(what: str, *, default: str = "serial") -> list[click.Parameter]:
    """Return the options for a command that is made from a list of parameters.

    Args:
        what: what runs, for the help, such as ``files are read``.
        default: the engine that is used if none is named.
    """
    return [click.Option([name], **more) for name, more in _options(what, default).items()]


def _options(what: str, default: str) -> dict[str, dict[str, Any]]:
    return {
        "--engine": {
            "type": click.Choice(["serial", "process", "ray"]),
            "default": default,
            "show_default": True,
            "help": f"How {what}: one after the other, in several processes, or on a Ray cluster.",
        },
        "--workers": {
            "type": click.IntRange(1),
            "help": "Number of processes.  [default: one per core]",
        },
        "--address": {
            "help": "Address of an existing Ray cluster, such as ray://host:10001.  "
            "[default: RAY_ADDRESS, or a new cluster on this machine]",
        },
    }


def engine_of(name: str, workers: int | None, address: str | None) -> Engine:
    """Return the engine that the options name.

    Raises:
        UsageError: ``workers`` or ``address`` is given with an engine that has none.
        PluginError: Ray is needed, and not installed.
    """
    from sneframe.engine import make_engine

    if workers and name == "serial":
        raise click.UsageError("--workers needs --engine process or --engine ray")
    if address and name != "ray":
        raise click.UsageError(f"--address {address} needs --engine ray, but the engine is {name}")
    return make_engine(name, workers, address)
