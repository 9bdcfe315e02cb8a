"""This package holds building blocks that several plugins share."""
