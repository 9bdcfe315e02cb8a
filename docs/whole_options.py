"""A hook of mkdocs that keeps an option such as ``--set`` on one line; browsers may break after a hyphen."""

from __future__ import annotations

import re
from typing import Any

INLINE = re.compile(r"(<pre.*?</pre>)|<code>([^<]*)</code>", re.DOTALL)
OPTION = re.compile(r"(?<![\w-])(--?[a-z][\w-]*)")


def on_page_content(html: str, **_: Any) -> str:
    """Return a page in which options in inline code are marked for style.css."""
    return INLINE.sub(lambda match: match[1] or f"<code>{marked(match[2])}</code>", html)


def marked(text: str) -> str:
    """Return text with each option in a span."""
    return OPTION.sub(r'<span class="option">\1</span>', text)
