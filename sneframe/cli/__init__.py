"""Define and run the command line. The module of a command is imported only when the command is called."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence

import click
from click.shell_completion import shell_complete

import sneframe
from sneframe.errors import SneframeError, choices, printable

COMMANDS = (
    "run",
    "compare",
    "adapt",
    "zoo",
    "inspect",
    "predict",
    "embed",
    "similar",
    "map",
    "report",
    "config",
    "readers",
    "plugins",
    "check",
)
BUILTIN = {"map": "map_"}  #: functions whose command has the name of a Python builtin


class Commands(click.Group):
    """A group that finds each command in the module of the same name in this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the commands in the order in which a user needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(f"No such command {cmd_name!r}, {choices(cmd_name, COMMANDS)}", ctx)
        command = getattr(
            importlib.import_module(f"sneframe.cli.{cmd_name}"), BUILTIN.get(cmd_name, cmd_name)
        )
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(sneframe.__version__, prog_name="sneframe")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def sneframe_command(debug: bool) -> None:  # noqa: FBT001  # read by main
    """Encode the weights of trained networks and predict their properties, without their code or data."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    The exit code is 0 after success, 1 if the machine failed, 2 for wrong input, and 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    # The flag may be anywhere, because people append it to a line that failed.
    arguments = ["--debug"] * debug + [word for word in arguments if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        # A finished run must not fail because the terminal cannot show an arrow.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    with _logged(logging.ERROR if "--quiet" in arguments else logging.WARNING):
        sys.exit(_run(arguments, debug=debug))


def _run(arguments: Sequence[str], *, debug: bool) -> int:  # noqa: PLR0911  # one return per way to end
    if completion := os.environ.get("_SNEFRAME_COMPLETE"):
        return shell_complete(sneframe_command, {}, "sneframe", "_SNEFRAME_COMPLETE", completion)
    try:
        # click's own main prints an empty line at Ctrl-C, and fails if a pipe is closed.
        with sneframe_command.make_context("sneframe", list(arguments)) as context:
            sneframe_command.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        _complain(f"error: {' '.join(error.format_message().split())}")
        return 2
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return 130
    except SneframeError as error:
        if debug:
            traceback.print_exc()
        _complain(f"{'stopped' if error.exit_code == 130 else 'error'}: {error}")
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone, which is not an error.
        from sneframe.cli.terminal import silence

        silence()
        return 0
    except OSError as error:
        if debug:
            traceback.print_exc()
        _complain(f"error: {error.filename or 'the machine failed'}: {error.strerror or error}")
        return 1
    except Exception as error:  # noqa: BLE001  # no error may show a traceback without --debug
        if debug:
            traceback.print_exc()
        line = " ".join(f"{type(error).__name__}: {error}".split())
        _complain(f"error: {line} (unexpected; --debug shows the traceback)")
        return 1
    return 0


def _complain(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        click.echo(printable(line), err=True)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, without the line of code that raised it."""
    _complain(f"warning: {' '.join(str(message).split())}")


class _Lines(logging.Handler):
    """Prints each log record as one line on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        _complain(f"{record.levelname.lower()}: {record.getMessage()}")


@contextlib.contextmanager
def _logged(level: int) -> Iterator[None]:
    """Print warnings, and log records of at least ``level``, while the context is open.

    A level above ``WARNING`` silences warnings.
    """
    lines = _Lines(level)
    logging.getLogger().addHandler(lines)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            if level > logging.WARNING:
                warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeHandler(lines)
