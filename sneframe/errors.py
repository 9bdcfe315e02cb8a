"""Define the errors that a user can meet.

A message is one line: what is wrong, where, what was got, and what the choices are.

The command line exits with ``exit_code``: 2 for wrong input, 1 if the machine or a part of the work failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SneframeError(Exception):
    """Base of all errors raised on purpose. ``str(error)`` is the line that the user sees."""

    exit_code = 2

    def __str__(self) -> str:
        # Names of files and properties come from the user, and may hold line breaks.
        return printable(super().__str__())


class ArchitectureError(SneframeError):
    """The structure of a network is inconsistent, or cannot be read."""


class Unverifiable(ArchitectureError):  # noqa: N818  # it says what is so, as Interrupted does
    """Running the network can neither confirm nor refute a symmetry: its outputs are random or too noisy."""


class ZooError(SneframeError):
    """A zoo is missing, damaged or incomplete, or lacks what was asked for."""


class FileError(SneframeError):
    """A weights file is missing, damaged, of an unknown kind, or would run code if it were read."""


class ConfigError(SneframeError):
    """A configuration has an unknown key, or a value of a wrong type or range."""


class PluginError(SneframeError):
    """A plugin is not installed, does not load or offers something wrong, or one of its parts fails.

    Attributes:
        part: the part that failed, ``PLUGIN/NAME``; None if no part failed.
        said: the message without the plugin.
    """

    part: str | None = None
    said: str = ""


class PartError(SneframeError):
    """Parts do not fit each other, or do not fit the given architectures."""


class ArchitecturesRefused(PartError):  # noqa: N818  # it says what happened
    """A part cannot take the architectures of a zoo. Another method may take them."""


class RunError(SneframeError):
    """A run cannot go on: its loss diverged, or its folder does not match."""


class CellsFailed(RunError):  # noqa: N818  # it says what happened
    """Some cells of a comparison failed. Its table is written, with the reasons."""

    exit_code = 1


class MachineError(SneframeError):
    """The machine failed: its disk is full, or a device is lost."""

    exit_code = 1


class Interrupted(SneframeError):  # noqa: N818  # no error: the user asked for it
    """The user pressed Ctrl-C. The last state is on disk."""

    exit_code = 130


def printable(text: str) -> str:
    """Return a text with ``�`` for each character that is not printable, such as a line break."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def one_line(error: BaseException) -> str:
    """Return the class and the message of an unexpected error, as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 network`` or ``2 networks``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article, such as ``a head`` or ``an aggregator``."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def choices(wanted: str, known: Iterable[str], noun: str = "known") -> str:
    """Return the words that follow an unknown name and a comma.

    They are ``did you mean 'x'? (known: x, y, z)`` if a known name is similar, and ``known: x, y, z`` if not.
    """
    names = sorted(known)
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    listed = f"{noun}: {', '.join(names) or 'none'}"
    return f"did you mean {near[0]!r}? ({listed})" if near else listed
