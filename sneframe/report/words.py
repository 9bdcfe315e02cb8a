"""Format numbers, times and dates in the same way on every page."""

from __future__ import annotations

NOTHING = "–"


def number(value: float) -> str:
    """Return four significant digits, zeros at the end included, so that columns compare at a glance."""
    return f"{value:#.4g}".removesuffix(".").replace("-", "−")


def rough(value: float) -> str:
    """Return three significant digits, for the limits of a confidence interval."""
    return f"{value:#.3g}".removesuffix(".").replace("-", "−")


def ratio(value: float | None) -> str:
    """Return a number that is at most 1, such as R² or τ, to three places; "–" where it is undefined."""
    if value is None:
        return NOTHING
    return f"{value:z.3f}".replace("-", "−") if abs(value) < 1000 else number(value)


def limits(between: tuple[float, float] | None, written: str) -> str:
    """Return ``0.031 … 0.042``; "–" where there is no interval.

    Args:
        between: the lower and the upper limit.
        written: ``number`` or ``ratio``.
    """
    if between is None:
        return NOTHING
    return " … ".join(ratio(value) if written == "ratio" else rough(value) for value in between)


def count(value: int) -> str:
    """Return a whole number in groups of three digits."""
    # Narrow no-break spaces: a comma and a point mean different things to different readers.
    return f"{value:,}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(iso: str) -> str:
    """Return an ISO 8601 date and time with a space instead of ``T``, and ``UTC`` instead of ``+00:00``."""
    return iso.replace("T", " ").replace("+00:00", " UTC")
