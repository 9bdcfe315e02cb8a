"""``head/mlp``: its layers, and the options that it refuses."""

import pytest
import torch
from sneframe_head.head import MLPHead

from sneframe.parts.carriers import Embedding
from sneframe.parts.part import Spec


def build(**options):
    return MLPHead(MLPHead.Config(**options), Spec(carrier=Embedding, width=3, architectures=(), values=2))


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_layers_have_the_given_widths(hidden):
    """There is one hidden layer for each width, and an output layer."""
    head = build(hidden=hidden)
    sizes = [layer.out_features for layer in head.layers if isinstance(layer, torch.nn.Linear)]
    assert sizes == [*hidden, 2]
    assert head(torch.zeros(7, 3)).shape == (7, 2)


@pytest.mark.parametrize("hidden", [(-1,), (5, 0)])
def test_a_width_below_one_is_refused(hidden):
    """The error names the option."""
    with pytest.raises(ValueError, match="'hidden' must be >= 1"):
        build(hidden=hidden)
