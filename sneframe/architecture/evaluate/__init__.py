"""Evaluate the description of networks: compute their outputs from their weights, without their code.

:func:`evaluate` computes the outputs of B networks of one architecture at K inputs, all networks at once.
:func:`obstacle` says beforehand what a description lacks. An attribute that a description does not have is
unknown; nothing is ever replaced by a default.

A layer computes ``activation(factor · operation(values, parameters) + shift)``. Axis numbers in attributes
count in the value of one network, whose axis 0 is that of the examples.

The modules: walk → plan → kinds → one module for each family of kinds → step.
"""

from sneframe.architecture.evaluate.walk import evaluate, layer_values, neuron_axis, obstacle

__all__ = ["evaluate", "layer_values", "neuron_axis", "obstacle"]
