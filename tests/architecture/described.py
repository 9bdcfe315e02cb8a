"""Describe modules by hand, and compare the evaluation of a description with the modules themselves."""

import torch
from torch import nn
from torch.func import functional_call

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.architecture.evaluate import evaluate

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def parameters(module, prefix=""):
    """Return the parameters of a module, and its buffers of floating-point numbers."""
    return [
        Parameter(name=prefix + name, shape=tuple(value.shape), role=name.rpartition(".")[2])
        for name, value in module.state_dict().items()
        if value.is_floating_point()
    ]


def of_module(module, kind, **options):
    """Return the architecture of a single layer with the parameters of a module."""
    layer = Layer(kind=kind, parameters=parameters(module), **options)
    return Architecture(layers=[layer], outputs=[0])


def behind_scale(*layers, outputs=None):
    """Return layers behind layer 0, which multiplies the input with a number of its own for each network."""
    scale = Layer(
        kind="parameter",
        parameters=[Parameter(name="scale", shape=(), role="scale")],
        attributes={"operation": "multiply"},
    )
    return Architecture(layers=[scale, *layers], outputs=outputs or [len(layers)])


class Scaled(nn.Module):
    """The module of :func:`behind_scale`: it applies a function to the scaled input."""

    def __init__(self, function):
        super().__init__()
        self.scale, self.function = nn.Parameter(torch.zeros(())), function

    def forward(self, *inputs):
        return self.function(inputs[0] * self.scale, *inputs[1:])


def draw(module, networks=3, seed=0):
    """Return the states of several networks of a module: random parameters, positive variances."""
    generator = torch.Generator().manual_seed(seed)
    states = []
    for _ in range(networks):
        state = {}
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
                state[name] = drawn.square() + 0.5 if name.endswith("running_var") else drawn / 2
        states.append(state)
    return states


def stacked(architecture, states):
    """Return the weights ``(B, P)`` of networks."""
    return torch.stack(
        [torch.cat([state[p.name].reshape(-1) for p in architecture.parameters]) for state in states]
    )


def assert_agrees(architecture, module, *inputs, networks=3, seed=0):
    """Compare values, and gradients in weights and inputs, with those of a module in double precision."""
    module = module.double().eval()
    states = draw(module, networks, seed)
    weights = stacked(architecture, states).requires_grad_()
    inputs = [x.double() if x.is_floating_point() else x for x in inputs]
    movable = [x.requires_grad_() for x in inputs if x.is_floating_point()]
    found = evaluate(architecture, weights, tuple(inputs))
    views = architecture.views(weights)
    shapes = {p.name: p.shape for p in architecture.parameters}
    buffers = dict(module.named_buffers())
    # torch refuses running statistics that require gradients.
    still = torch.cat([torch.full((p.size,), "running" in p.name) for p in architecture.parameters])
    expected = []
    for number in range(networks):
        state = {name: view[number].reshape(shapes[name]) for name, view in views.items()}
        state = {name: value.detach() if "running" in name else value for name, value in state.items()}
        state |= {name: value for name, value in buffers.items() if name not in state}
        expected.append(functional_call(module, state, tuple(inputs)))
    expected = torch.stack(expected)
    torch.testing.assert_close(found, expected, **EXACT)
    if not found.requires_grad:
        return
    toward = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=found.dtype)
    own, others = (
        torch.autograd.grad((value * toward).sum(), [weights, *movable], materialize_grads=True)
        if value.requires_grad
        else [torch.zeros_like(each) for each in (weights, *movable)]
        for value in (found, expected)
    )
    for number, pair in enumerate(zip(own, others, strict=True)):
        torch.testing.assert_close(
            *(gradient.masked_fill(still, 0) if number == 0 else gradient for gradient in pair),
            rtol=1e-9,
            atol=1e-9,
        )
