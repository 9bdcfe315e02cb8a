"""Watch module factories, and warn about one that takes long or opens a network connection."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final
from urllib.parse import urlsplit

LONG = 10.0  #: seconds for one network after which a module factory is named
#: The events that Python reports before it opens a connection or looks up the address of a host.
EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")


class ConnectionRefused(RuntimeError):  # noqa: N818  # the name says what happened
    """A library tried to open a network connection while it built a network."""


@final
class _Current(threading.local):
    """The watch that is active in this thread, if any."""

    watch: Watch | None = None


_current = _Current()
_installed = threading.Lock()  # locked for good once the hook is installed, because hooks cannot be removed


@final
class Watch:
    """Warns once if a module factory takes long, and once if it opens network connections.

    Only the thread that runs the module factory is watched.

    Args:
        word: the name of the module factory.
        refuse: whether connections are refused.
    """

    def __init__(self, word: str, *, refuse: bool = False) -> None:
        self._word = word
        self._refuse = refuse
        self._hosts: list[str] = []
        self._said: set[str] = set()

    @contextmanager
    def running(self, *, timed: bool = True) -> Iterator[None]:
        """Watch what runs inside of this context.

        Args:
            timed: whether the time is measured.

        Raises:
            ConnectionRefused: the code in this context opens a connection, and connections are refused.

        Warns:
            UserWarning: the module factory took long, or opened a connection.
        """
        if _installed.acquire(blocking=False):
            sys.addaudithook(_hook)
        before, _current.watch = _current.watch, self
        start = time.perf_counter()
        try:
            yield
        finally:
            _current.watch = before
            seconds = time.perf_counter() - start
            if self._hosts:
                what = (
                    "tried to open a network connection to {}, which was refused"
                    if self._refuse
                    else "opens a network connection to {}; a module factory should not download anything"
                )
                self._say("hosts", what.format(self._hosts[0]))
            if timed and seconds > LONG:
                self._say("seconds", f"took {seconds:.0f} s for one network; it is called for every network")

    def saw(self, host: str) -> None:
        """Note that a connection to a host is about to be opened.

        Raises:
            ConnectionRefused: connections are refused.
        """
        self._hosts.append(host)
        if self._refuse:
            raise ConnectionRefused(
                f"the connection to {host} is refused, because nothing may be downloaded here"
            )

    def _say(self, about: str, what: str) -> None:
        if about not in self._said:
            self._said.add(about)
            warnings.warn(f"{self._word}: {what}", stacklevel=2)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    """Report a connection to the active watch. Python calls this function on every audit event."""
    watch = _current.watch
    if watch is not None and event in EVENTS and (host := _host(event, args)):
        watch.saw(host)


def _host(event: str, args: tuple[Any, ...]) -> str:
    """Return the host that an event names, or an empty string for a connection within this machine."""
    try:
        if event == "urllib.Request":
            return urlsplit(str(args[0])).hostname or ""
        if event == "socket.connect":  # the address of a Unix socket is a path
            return str(args[1][0]) if isinstance(args[1], tuple) else ""
        return args[0].decode() if isinstance(args[0], bytes) else str(args[0] or "")
    except (ValueError, IndexError):
        return ""
