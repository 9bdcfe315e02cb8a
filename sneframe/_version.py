"""The version of sneframe, in one place."""

__version__ = "0.1.0"
