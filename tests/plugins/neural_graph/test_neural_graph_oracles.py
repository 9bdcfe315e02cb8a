"""Agreement with the original implementation: its float64 outputs and gradients for tiny models."""

import pytest
import torch
from neural_graph_oracle import Original, inputs, load

SETTINGS = ("ng_gnn_mlp", "ng_gnn_cnn", "ng_t_mlp", "ng_t_cnn")


@pytest.mark.parametrize("name", SETTINGS)
def test_outputs_equal_the_original(name):
    """Outputs are those of the original for each network alone, to 1e-9."""
    stored, meta = load(name)
    weights, _ = inputs(stored, meta)
    found = Original(stored, meta)(weights)
    torch.testing.assert_close(found, stored["out/y_alone"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SETTINGS)
def test_gradients_equal_the_original(name):
    """Gradients for the weights of the input networks are those of the original, to 1e-8.

    The norm of the original graph network mixes the networks of a batch. Its gradients here are those of the
    original's equations for each network alone.
    """
    stored, meta = load(name)
    weights, given = inputs(stored, meta)
    Original(stored, meta)(weights).square().sum().backward()
    kind = "grad_alone" if "gnn" in name else "grad"
    for key, tensor in given.items():
        torch.testing.assert_close(tensor.grad, stored[f"{kind}/{key}"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["ng_gnn_mlp", "ng_gnn_cnn"])
def test_the_norm_of_the_original_mixes_networks_and_ours_does_not(name):
    """The original's outputs for a batch differ from those for each network alone by more than half."""
    stored, _ = load(name)
    assert (stored["out/y"] - stored["out/y_alone"]).abs().max() > 0.5
