"""A perceptron has linear layers with ReLU between them, and only what was asked for."""

import torch
from torch import nn

from sneframe.nn.perceptron import perceptron


def kinds(layers):
    return [type(layer) for layer in layers]


def test_relu_follows_each_layer_but_the_last():
    """The output layer is linear."""
    layers = perceptron((3, 5, 4, 2))

    assert kinds(layers) == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [tuple(layer.weight.shape) for layer in layers[::2]] == [(5, 3), (4, 5), (2, 4)]
    x = torch.randn(7, 3)
    expected = layers[4](layers[2](layers[0](x).clamp(min=0)).clamp(min=0))
    assert torch.equal(layers(x), expected)


def test_dropout_follows_relu():
    """If there is dropout, it follows each ReLU."""
    assert kinds(perceptron((3, 5, 2), dropout=0.5)) == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]


def test_layers_without_bias_map_zero_to_zero():
    """Without biases, zero stays zero."""
    assert not perceptron((3, 5, 2), bias=False)(torch.zeros(1, 3)).any()
