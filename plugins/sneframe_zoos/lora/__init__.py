"""Zoos of low-rank adapters of one small transformer."""
