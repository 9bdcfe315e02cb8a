"""Stacked training of INRs, compared with autograd and torch.optim.Adam on one module at a time."""

import numpy as np
import pytest
import torch
from sneframe_zoos.fit import error_and_gradient, fit
from sneframe_zoos.inr import SineINR, architecture, draw_weights

WIDTHS = (6, 5)
X = torch.linspace(-torch.pi, torch.pi, 64)[None]


def start(networks, dtype=torch.float32, widths=WIDTHS):
    generators = (np.random.default_rng(k) for k in range(networks))
    return torch.from_numpy(np.stack([draw_weights(widths, generator) for generator in generators])).to(dtype)


def targets(networks, dtype=torch.float32):
    return torch.sin(torch.linspace(0.5, 9, networks)[:, None, None] * X).to(dtype)


def alike(networks, *, steps, lr, **options):
    """Return the options of ``fit`` for networks that have the same steps and learning rate."""
    rates = torch.full((networks,), lr, dtype=torch.float64)
    return {"steps": torch.full((networks,), steps), "lr": rates, **options}


def module_of(weights, widths=WIDTHS, inputs=1, outputs=1):
    module = SineINR(widths, inputs, outputs).to(weights.dtype)
    torch.nn.utils.vector_to_parameters(weights, module.parameters())
    return module


def train_alone(weights, target, *, steps, tolerance, lr, weight_decay):
    """Train one network with torch.optim.Adam; return weights, error and the number of steps."""
    module = module_of(weights.clone())
    adam = torch.optim.Adam(module.parameters(), lr=lr, weight_decay=weight_decay)
    for step in range(steps + 1):
        loss = torch.nn.functional.mse_loss(module(X.to(weights.dtype).mT).mT, target)
        if loss <= tolerance or step == steps:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
    return torch.nn.utils.parameters_to_vector(module.parameters()).detach(), loss.detach(), step


@pytest.mark.parametrize("widths", [(4,), WIDTHS, (3, 4, 5)])
def test_error_and_gradient_are_those_of_autograd(widths):
    """Error and gradient equal those of autograd."""
    weights, target = start(3, torch.float64, widths), targets(3, torch.float64)
    error, gradient = error_and_gradient(architecture(widths), weights, X.double(), target)
    for k in range(3):
        module = module_of(weights[k], widths)
        loss = torch.nn.functional.mse_loss(module(X.double().mT).mT, target[k])
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
        torch.testing.assert_close(error[k], loss.detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(gradient[k], expected, rtol=1e-10, atol=1e-12)


def test_error_and_gradient_of_several_inputs_and_outputs_are_those_of_autograd():
    """Error and gradient of networks with two inputs and three outputs equal those of autograd."""
    generator = torch.Generator().manual_seed(0)
    described = architecture(WIDTHS, inputs=2, outputs=3)
    weights = torch.randn(3, described.num_weights, generator=generator, dtype=torch.float64) / 10
    points = torch.rand(2, 40, generator=generator, dtype=torch.float64)
    target = torch.rand(3, 3, 40, generator=generator, dtype=torch.float64)
    error, gradient = error_and_gradient(described, weights, points, target)
    for k in range(3):
        module = module_of(weights[k], inputs=2, outputs=3)
        loss = torch.nn.functional.mse_loss(module(points.mT).mT, target[k])
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
        torch.testing.assert_close(error[k], loss.detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(gradient[k], expected, rtol=1e-10, atol=1e-12)


def test_networks_trained_together_are_those_trained_alone():
    """Training in a stack equals training one network at a time with torch.optim.Adam."""
    weights, target = start(4, torch.float64), targets(4, torch.float64)
    options = {"steps": 60, "tolerance": 0.02, "lr": 1e-2, "weight_decay": 1e-3}
    alone = [train_alone(weights[k], target[k], **options) for k in range(4)]
    ended = {step for _, _, step in alone}
    assert 60 in ended
    assert len(ended) > 1  # some networks reach the tolerance, others run all steps
    fitted, errors = fit(architecture(WIDTHS), weights, X.double(), target, **alike(4, **options))
    torch.testing.assert_close(fitted, torch.stack([w for w, _, _ in alone]), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(errors, torch.stack([e for _, e, _ in alone]), rtol=1e-9, atol=1e-11)


def test_a_network_within_the_tolerance_is_unchanged():
    """A network that starts within the tolerance keeps its weights."""
    weights = start(2)
    fitted, _ = fit(architecture(WIDTHS), weights, X, targets(2), **alike(2, steps=5, lr=1.0, tolerance=1e9))
    assert torch.equal(fitted, weights)


def test_a_diverged_network_does_not_affect_others():
    """A network with NaN does not change the training of the others."""
    weights = start(2)
    weights[0, 0] = float("nan")
    fitted, errors = fit(architecture(WIDTHS), weights, X, targets(2), **alike(2, steps=5, lr=1e-3))
    assert torch.isnan(errors[0])
    assert torch.isfinite(fitted[1]).all()
    assert torch.isfinite(errors[1])


def test_initial_weights_have_the_stated_distributions():
    """Initial weights are uniform within the documented bounds; hidden biases are 0."""
    weights = start(2000).double()
    parts = dict(
        zip(
            [p.name for p in architecture(WIDTHS).parameters],
            weights.split([p.size for p in architecture(WIDTHS).parameters], dim=1),
            strict=True,
        )
    )
    for name, bound in {
        "layers.0.weight": 6**0.5 / 30,
        "layers.1.weight": 1 / 30,  # sqrt(6 / 6) / 30
        "layers.2.weight": 5**-0.5,
        "layers.2.bias": 5**-0.5,
    }.items():
        values = parts[name]
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.99 * bound
        assert abs(values.mean()) < 0.05 * bound
        assert values.std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not parts["layers.0.bias"].any()
    assert not parts["layers.1.bias"].any()


def test_the_first_layer_of_a_siren_starts_steeper():
    """With siren the first layer is U(±1) instead of U(±√6 / 30); all other draws stay."""
    plain, siren = (draw_weights((32, 32), np.random.default_rng(0), siren=siren) for siren in (False, True))
    assert np.abs(siren[:32]).max() <= 1
    np.testing.assert_allclose(siren[:32] * np.sqrt(6) / 30, plain[:32])
    np.testing.assert_array_equal(siren[32:], plain[32:])
