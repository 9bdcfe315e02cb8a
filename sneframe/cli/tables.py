"""Build tables for the terminal. Names from a zoo cannot break a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def table(*headings: str) -> Table:
    """Return a table with these headings, or a table of two columns without headings."""
    from rich import box
    from rich.table import Column, Table

    columns = [Column(heading, overflow="fold") for heading in headings or ("", "")]
    return Table(*columns, box=box.SIMPLE_HEAD if headings else None, show_header=bool(headings))


def cells(*values: Any) -> list[str]:
    """Return values as text, without the control codes that names in a zoo may hold."""
    from sneframe.errors import printable

    return [printable(str(value)) for value in values]


def shown(value: Any) -> str:
    """Return the text of a value. The text of None is empty."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
