"""Choose the names of a comparison's pages, and refuse lists in which two names mean the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

from attrs import frozen

from sneframe.config.suite import Suite
from sneframe.errors import ConfigError

MARK = re.compile(r'<meta name="comparison" content="([0-9a-f ]+)">')
HEAD = 4096  #: characters at the start of a page that contain its mark


@frozen(kw_only=True)
class SuiteIdentity:
    """Hashes that identify what a comparison compares.

    Args:
        rest: hash of zoos, property, variations, budget and overrides. Seeds do not count, because
            a comparison may get more seeds later.
        rows: hash of each row.
    """

    rest: str
    rows: frozenset[str]

    @classmethod
    def of(cls, suite: Suite, zoos: Iterable[object]) -> SuiteIdentity:
        """Return the identity of a suite on zoos. Each zoo is any object whose ``str`` identifies the zoo."""
        variations = [[each.label, *each.overrides] for each in suite.variations]
        rest = [sorted(map(str, zoos)), suite.property, suite.budget, suite.overrides, variations]
        rows = [_hash([row.label, row.recipe, *row.overrides]) for row in suite.rows]
        return cls(rest=_hash(rest), rows=frozenset(rows))

    def __str__(self) -> str:
        return " ".join((self.rest, *sorted(self.rows)))

    def keeps(self, page: Path) -> bool:
        """Return whether this comparison may replace a page.

        The page must be missing, or show the same comparison with the same rows or some of them.
        """
        try:
            found = MARK.search(page.read_text(encoding="utf-8", errors="replace")[:HEAD])
        except FileNotFoundError:
            return True
        if found is None:
            return False
        rest, *rows = found[1].split()
        return rest == self.rest and self.rows.issuperset(rows)


def stem(folder: Path, suite: Suite, identity: SuiteIdentity) -> str:
    """Return the name of a suite's pages in a folder, without a suffix.

    The name is that of the suite. If a page of another comparison has this name, a hash is appended.
    """
    name = suite.name.rpartition("/")[2]
    return name if identity.keeps(folder / f"{name}.html") else f"{name}-{_hash(str(identity))}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8]


def refuse_twice(what: str, named: Iterable[tuple[str, Hashable]]) -> None:
    """Refuse a list in which two names mean the same.

    Args:
        what: the purpose of the names, for the error, such as ``compare``.
        named: each name with its meaning.

    Raises:
        ConfigError: two names mean the same.
    """
    known: dict[Hashable, str] = {}
    for name, meant in named:
        if meant in known:
            other = known[meant]
            said = f"{name!r} is named twice" if name == other else f"{name!r} and {other!r} are the same"
            raise ConfigError(f"to {what}: {said}; name each once")
        known[meant] = name
