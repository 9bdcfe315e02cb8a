"""Encode a trained network by messages, statistics and probes: learned inputs at which it is evaluated.

The modules: readings (numbers from values) → places (where values and numbers belong in an architecture) →
slots (a linear map for layers of any architecture) → layer_encoder → aggregator.
"""
