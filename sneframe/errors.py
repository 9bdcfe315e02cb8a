"""The errors a user can meet: each is one line that says what, where, what was got and what could be.

``exit_code`` is what the command line returns: 2 for the user's input, 1 where the machine, or a part of the work, failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SneframeError(Exception):
    """Base of all errors raised on purpose; ``str(error)`` is the one line shown to the user."""

    exit_code = 2

    def __str__(self) -> str:
        # Names of files and properties come from outside, and may hold line breaks.
        return printable(super().__str__())


class ArchitectureError(SneframeError):
    """A network's structure that is inconsistent, or that cannot be read."""


class Unverifiable(ArchitectureError):  # noqa: N818  # says what is so, as Interrupted does
    """A symmetry that running the network can neither confirm nor refute, because its outputs are random or too noisy."""


class ZooError(SneframeError):
    """A zoo that is missing, damaged, incomplete, or that lacks what was asked of it."""


class FileError(SneframeError):
    """A file with a network's weights that is missing, damaged, of no known kind, or that asks for more than to be read."""


class ConfigError(SneframeError):
    """A configuration that has an unknown key, a wrong type or an impossible value."""


class PluginError(SneframeError):
    """A plugin that is not installed, does not load, offers what it must not, or of which a part fails.

    Attributes:
        part: the part that failed, ``PLUGIN/NAME``; None where none did.
        said: what is said of that part, without its plugin.
    """

    part: str | None = None
    said: str = ""


class PartError(SneframeError):
    """Parts that do not fit each other, or the architectures they are given."""


class ArchitecturesRefused(PartError):  # noqa: N818  # says what happened
    """A part that cannot take the architectures of a zoo. Another method may take them."""


class RunError(SneframeError):
    """A run that cannot go on: a diverged loss, a run folder that does not match."""


class CellsFailed(RunError):  # noqa: N818  # as it is said
    """Cells of a comparison that failed; its table is written, with the reasons."""

    exit_code = 1


class MachineError(SneframeError):
    """The machine failed, not the user: a full disk, a lost device."""

    exit_code = 1


class Interrupted(SneframeError):  # noqa: N818  # no error: the user asked for it
    """Ctrl-C, after the last state was kept."""

    exit_code = 130


def printable(text: str) -> str:
    """Return text as one line without control characters, for names may hold line breaks and terminal codes."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def one_line(error: BaseException) -> str:
    """Return the kind of an error that was not foreseen, and what it says, as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def counted(number: int, noun: str) -> str:
    """Return ``1 network``, ``2 networks``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def choices(wanted: str, known: Iterable[str], noun: str = "known") -> str:
    """Return ``did you mean 'x'? (known: a, b, c)`` for an unknown name."""
    names = sorted(known)
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}({noun}: {', '.join(names) or 'none'})"
