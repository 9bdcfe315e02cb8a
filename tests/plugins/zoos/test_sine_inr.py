"""The INR module and the architecture that describes it."""

import torch
from sneframe_zoos.inr import SineINR, architecture

from sneframe.architecture import Architecture


def test_the_forward_pass_is_the_documented_formula():
    """The module computes the formula of its docstring."""
    module = SineINR((3, 2)).double()
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    (w1, b1), (w2, b2), (w3, b3) = ((layer.weight, layer.bias) for layer in module.layers)
    expected = torch.sin(30 * (torch.sin(30 * (x @ w1.T + b1)) @ w2.T + b2)) @ w3.T + b3 + 0.5
    torch.testing.assert_close(module(x), expected)


def test_names_shapes_and_order_are_those_of_the_state_dict():
    """The architecture lists the parameters of the state dict in its order."""
    state = SineINR((3, 2)).state_dict()
    assert [(p.name, p.shape) for p in architecture((3, 2)).parameters] == [
        (name, tuple(values.shape)) for name, values in state.items()
    ]


def test_each_hidden_layer_has_a_neuron_group():
    """Neurons of each hidden layer may be permuted and flipped in sign."""
    described = architecture((3, 2, 4))
    assert [(group.size, group.actions) for group in described.groups] == [
        (size, ("permute", "sign")) for size in (3, 2, 4)
    ]
    assert described.layers[1].attributes == {"factor": 30.0}
    assert described.layers[-1].attributes == {"shift": 0.5}


def test_describing_does_not_use_the_global_generator():
    """Describing the architecture does not advance torch's global generator."""
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    architecture((3, 2))
    assert torch.equal(torch.rand(3), expected)


def test_the_architecture_survives_json():
    """The architecture equals itself after a round trip through JSON."""
    described = architecture((3, 2, 4))
    assert Architecture.from_json(described.to_json()) == described


def test_permuting_neurons_keeps_the_signal():
    """Permuting the neurons of all groups does not change the signal."""
    described = architecture((4, 3))
    module = SineINR((4, 3)).double()
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    before = module(x).detach()
    generator = torch.Generator().manual_seed(0)
    moves = {group.name: torch.randperm(group.size, generator=generator) for group in described.groups}
    state = module.state_dict()
    for parameter in described.parameters:
        for number, ((factors,),) in enumerate(zip(parameter.axes, strict=True)):
            if factors[0] in moves:
                state[parameter.name] = state[parameter.name].index_select(number, moves[factors[0]])
    assert any(not torch.equal(values, module.state_dict()[name]) for name, values in state.items())
    module.load_state_dict(state)
    torch.testing.assert_close(module(x), before, rtol=0, atol=1e-10)


def test_the_architecture_of_a_zoo_is_verified():
    """The symmetry of the architecture was verified by running the module."""
    assert architecture((4, 4)).symmetry == "verified"
