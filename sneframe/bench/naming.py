"""What a comparison's pages are called, after its suite unless that name is taken; and names that mean the same, refused."""

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
HEAD = 4096  #: characters of a page in which its mark stands


@frozen(kw_only=True)
class Identity:
    """What a comparison compares, in hashes.

    Args:
        rest: of zoos, property, columns, budget and overrides; seeds do not count, a comparison may get more of them.
        rows: of each row.
    """

    rest: str
    rows: frozenset[str]

    @classmethod
    def of(cls, suite: Suite, zoos: Iterable[object]) -> Identity:
        """Return what a suite compares on zoos, which are given in any form that is the same for the same zoos."""
        variations = [[each.label, *each.overrides] for each in suite.variations]
        rest = [sorted(map(str, zoos)), suite.property, suite.budget, suite.overrides, variations]
        rows = [_hash([row.label, row.recipe, *row.overrides]) for row in suite.rows]
        return cls(rest=_hash(rest), rows=frozenset(rows))

    def __str__(self) -> str:
        return " ".join((self.rest, *sorted(self.rows)))

    def keeps(self, page: Path) -> bool:
        """Return whether a page is of this comparison, perhaps with fewer rows, so that nothing is lost with it."""
        try:
            found = MARK.search(page.read_text(encoding="utf-8", errors="replace")[:HEAD])
        except FileNotFoundError:
            return True
        if found is None:
            return False
        rest, *rows = found[1].split()
        return rest == self.rest and self.rows.issuperset(rows)


def stem(folder: Path, suite: Suite, identity: Identity) -> str:
    """Return what the pages of a suite are called in a folder.

    That is the suite's name, or, where another comparison has that page, its name and a hash of what it compares.
    """
    name = suite.name.rpartition("/")[2]
    return name if identity.keeps(folder / f"{name}.html") else f"{name}-{_hash(str(identity))}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8]


def refuse_twice(what: str, named: Iterable[tuple[str, Hashable]]) -> None:
    """Refuse names of which two mean the same.

    Args:
        what: that is to be done with them, as the error says it.
        named: each name with what it means.

    Raises:
        ConfigError: two mean the same.
    """
    known: dict[Hashable, str] = {}
    for name, meant in named:
        if meant in known:
            other = known[meant]
            said = f"{name!r} is named twice" if name == other else f"{name!r} and {other!r} are the same"
            raise ConfigError(f"to {what}: {said}; name each once")
        known[meant] = name
