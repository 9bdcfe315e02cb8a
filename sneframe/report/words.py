"""Numbers as people read them, on every page alike."""

from __future__ import annotations


def number(value: float) -> str:
    """Return four significant digits, zeros at the end included: columns of them compare at a glance."""
    return f"{value:#.4g}".removesuffix(".").replace("-", "−")


def ratio(value: float | None) -> str:
    """Return R² or τ, which live at most at 1, to three places; "–" where it is not defined."""
    if value is None:
        return "–"
    return f"{value:z.3f}".replace("-", "−") if abs(value) < 1000 else number(value)


def count(value: int) -> str:
    """Return a whole number in groups of three digits."""
    # Narrow no-break spaces: a comma and a point mean different things to different readers.
    return f"{value:,}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """Return a time in the units in which it is said."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
