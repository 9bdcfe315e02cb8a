"""The configuration of a run: its schema, and how plain data becomes a configuration."""
