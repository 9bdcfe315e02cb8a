"""The command line: one file per command; each is imported when it is called, so that ``--help`` is quick."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence

import click

import sneframe
from sneframe.errors import SneframeError

COMMANDS = ("run", "config", "plugins", "check", "zoo", "report")


class Commands(click.Group):
    """A group whose commands live in the modules of this package that bear their names."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the commands in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"sneframe.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(sneframe.__version__, prog_name="sneframe")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def sneframe_command(debug: bool) -> None:  # noqa: FBT001  # read by main
    """Encode the weights of trained networks and predict their properties, without running them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the machine failed, 2 the user's input, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    # The flag may stand anywhere: whoever adds it to see a traceback appends it to the line that failed.
    arguments = ["--debug"] * debug + [word for word in arguments if word != "--debug"]
    sys.exit(_run(arguments, debug=debug))


def _run(arguments: Sequence[str], *, debug: bool) -> int:
    try:
        sneframe_command.main(args=list(arguments), prog_name="sneframe", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except SneframeError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"{'stopped' if error.exit_code == 130 else 'error'}: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone; that is no error of ours.
        sys.stderr.close()
        return 0
    except Exception as error:  # noqa: BLE001  # the last line of defence: no traceback without --debug
        if debug:
            traceback.print_exc()
        said = " ".join(f"{type(error).__name__}: {error}".split())
        click.echo(f"error: {said} (unexpected; --debug shows the traceback)", err=True)
        return 1
    return 0
