"""This package defines the configuration of a run, and turns plain data into a configuration."""
