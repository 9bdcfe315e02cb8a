"""Zoos of image classifiers: options → drawn runs → stacked training → a zoo."""
