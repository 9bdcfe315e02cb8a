"""A griffe extension that turns the roles in docstrings into code and links."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?(?P<target>[\w.]+)`")


class Roles(griffe.Extension):
    """The extension, named in mkdocs.yml."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(markdown, obj.docstring.value)


def markdown(role: re.Match[str]) -> str:
    """Return the last word of a role's target as code; it becomes a link if the site has the target."""
    target = role["target"]
    shown = f"<code>{target.rpartition('.')[2]}</code>"
    return f'<autoref identifier="{target}" optional>{shown}</autoref>' if "." in target else shown
