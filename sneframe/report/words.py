"""Format numbers, times and dates in the same way on every page."""

from __future__ import annotations

NOTHING = "–"


def number(value: float) -> str:
    """Write a number with four significant digits. Zeros at the end stay, so that columns line up."""
    return f"{value:#.4g}".removesuffix(".").replace("-", "−")


def rough(value: float) -> str:
    """Write a number with three significant digits, as for the limits of a confidence interval."""
    return f"{value:#.3g}".removesuffix(".").replace("-", "−")


def ratio(value: float | None) -> str:
    """Write a number that is at most 1, such as R² or τ, with three decimals. None becomes "–"."""
    if value is None:
        return NOTHING
    return f"{value:z.3f}".replace("-", "−") if abs(value) < 1000 else number(value)


def limits(between: tuple[float, float] | None, written: str) -> str:
    """Write an interval, such as ``0.031 … 0.042``. None becomes "–".

    Args:
        between: the lower and the upper limit.
        written: the format of the limits, ``number`` or ``ratio``.
    """
    if between is None:
        return NOTHING
    return " … ".join(ratio(value) if written == "ratio" else rough(value) for value in between)


def count(value: int) -> str:
    """Write a whole number with its digits in groups of three."""
    # Narrow no-break spaces separate the groups, because readers differ in what a comma or a point means.
    return f"{value:,}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """Write a time in seconds, in minutes and seconds, or in hours and minutes."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(iso: str) -> str:
    """Write an ISO 8601 date and time with a space instead of ``T``, and ``UTC`` instead of ``+00:00``."""
    return iso.replace("T", " ").replace("+00:00", " UTC")
