"""Adapt a finished run to a new zoo with a few labelled networks."""
