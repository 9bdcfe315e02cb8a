"""Pieces that the parts of several plugins are built from."""
