"""The made-up run whose folder these tests read."""

from made_up_run import edit, write_run

__all__ = ["edit", "write_run"]
