"""``normalise/canonical-adapter`` reads low-rank adapters by their updates alone."""

from __future__ import annotations

import pytest
import torch
from sneframe_normalise.canonical_adapter import CanonicalAdapter
from sneframe_normalise.normalise import FanIn
from torch import Tensor

import sneframe
from sneframe.architecture import Architecture
from sneframe.architecture.low_rank import adapter
from sneframe.batch import Batch, join
from sneframe.parts.part import Spec
from sneframe.symmetry import apply, sample
from sneframe.testing.toy import mlp

SHAPES: dict[str, tuple[int, ...]] = {
    "conv.lora_A.weight": (3, 4, 3, 3),
    "conv.lora_B.weight": (6, 3, 1, 1),
    "conv.lora_scaling": (),
    "q.lora_A.weight": (2, 8),
    "q.lora_B.weight": (5, 2),
    "q.lora_scaling": (),
}
CANONICAL = 'normalise={part="normalise/canonical-adapter"}'


def described(shapes: dict[str, tuple[int, ...]] = SHAPES) -> Architecture:
    found = adapter(shapes)
    assert found is not None
    return found


def drawn(architecture: Architecture, count: int = 8, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(count, architecture.num_weights, generator=generator, dtype=dtype)
    return join({architecture: weights}, {architecture: range(count)})


def fitted(batch: Batch) -> CanonicalAdapter:
    part = CanonicalAdapter(
        CanonicalAdapter.Config(), Spec(carrier=Batch, width=1, architectures=batch.architectures)
    )
    part.double().fit([batch])
    return part


def views(batch: Batch) -> dict[str, Tensor]:
    (networks,) = batch.networks
    return networks.parameters()


def update(named: dict[str, Tensor], module: str) -> Tensor:
    a, b = named[f"{module}.lora_A.weight"].flatten(2), named[f"{module}.lora_B.weight"].flatten(2)
    return b @ a * named[f"{module}.lora_scaling"].reshape(-1, 1, 1)


def test_a_change_of_basis_does_not_change_the_output() -> None:
    batch = drawn(described())
    part = fitted(batch)
    moved = apply(batch, sample(batch, seed=3, step=0, actions=("linear",)))
    one, other = part(batch).networks[0].weights, part(moved).networks[0].weights
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_the_scaling_is_part_of_the_factors() -> None:
    """An adapter with twice the scaling and half of B makes the same update, and gets the same form."""
    batch = drawn(described())
    changed = batch.networks[0].weights.clone()
    named = batch.architectures[0].views(changed)
    named["q.lora_B.weight"].mul_(0.5)
    named["q.lora_scaling"].mul_(2)
    part = fitted(batch)
    one, other = part(batch), part(batch.replace([changed]))
    torch.testing.assert_close(one.networks[0].weights, other.networks[0].weights, rtol=0, atol=1e-9)


def test_a_bias_of_b_is_multiplied_by_the_scaling() -> None:
    """An adapter with twice the scaling, half of B and half of its bias computes the same."""
    architecture = described({**SHAPES, "q.lora_B.bias": (5,)})
    batch = drawn(architecture)
    changed = batch.networks[0].weights.clone()
    named = architecture.views(changed)
    named["q.lora_B.weight"].mul_(0.5)
    named["q.lora_B.bias"].mul_(0.5)
    named["q.lora_scaling"].mul_(2)
    part = fitted(batch)
    one, other = part(batch), part(batch.replace([changed]))
    torch.testing.assert_close(one.networks[0].weights, other.networks[0].weights, rtol=0, atol=1e-9)


def test_an_alpha_of_kohya_is_divided_by_the_rank() -> None:
    shapes = {"lora_q.lora_down.weight": (2, 8), "lora_q.lora_up.weight": (5, 2), "lora_q.alpha": ()}
    named = {"q.lora_A.weight": (2, 8), "q.lora_B.weight": (5, 2), "q.lora_scaling": ()}
    kohya, ours = drawn(described(shapes)), drawn(described(named))
    weights = kohya.networks[0].weights.clone()
    weights[:, -1] /= 2
    found = fitted(kohya)(kohya), fitted(ours.replace([weights]))(ours.replace([weights]))
    rows = [each.networks[0].weights[:, :-1] for each in found]
    torch.testing.assert_close(rows[0], rows[1], rtol=0, atol=1e-9)


def test_the_update_stays_the_same_up_to_the_scales() -> None:
    """Undoing the rescaling of the factors gives the product of the stored ones."""
    batch = drawn(described())
    part = fitted(batch)
    canonical = part.rescaling.undo(part(batch))
    for module in ("q", "conv"):
        torch.testing.assert_close(update(views(canonical), module), update(views(batch), module))


def test_other_networks_are_rescaled_as_by_fan_in() -> None:
    batch = drawn(mlp(2, 6, 5, 1))
    plain = FanIn(FanIn.Config(), Spec(carrier=Batch, width=1, architectures=batch.architectures)).double()
    plain.fit([batch])
    torch.testing.assert_close(fitted(batch)(batch).networks[0].weights, plain(batch).networks[0].weights)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_network_that_is_not_finite_harms_no_other(wrong: float) -> None:
    batch = drawn(described())
    part = fitted(batch)
    weights = batch.networks[0].weights.clone()
    weights[2, 5] = wrong
    found = part(batch.replace([weights])).networks[0].weights
    kept = [row for row in range(8) if row != 2]
    torch.testing.assert_close(found[kept], part(batch).networks[0].weights[kept])
    assert bool(found[2].isnan().any())


@pytest.mark.parametrize(
    "recipe", ["stats/boosting", "stats/spectral", "sne/default", "sne/message-statistics", "sne/probe"]
)
def test_embeddings_in_float32_keep_to_a_millionth_under_random_matrices(recipe: str) -> None:
    """The change is a fraction of the largest number of an embedding. Ranks differ between networks."""
    named = {"q.lora_A.weight": (3, 8), "q.lora_B.weight": (7, 3), "v.lora_A.weight": (3, 8)}
    architectures = [described(), described({**named, "v.lora_B.weight": (7, 3)})]
    weights = {each: drawn(each, 16, torch.float32).networks[0].weights for each in architectures}
    batch = join(weights, {architectures[0]: range(16), architectures[1]: range(16, 32)})
    torch.manual_seed(0)
    encoder = sneframe.encoder(recipe, batch, CANONICAL).eval()
    moved = apply(batch, sample(batch, seed=5, step=0, actions=("linear",)))
    with torch.no_grad():
        one, other = encoder(batch), encoder(moved)
    assert float((one - other).abs().max() / one.abs().max()) <= 1e-6


def test_a_part_that_reads_factors_as_stored_says_so() -> None:
    architecture = described()
    spec = Spec(carrier=Batch, width=1, architectures=(architecture,))
    line = FanIn(FanIn.Config(), spec).leaves_out(architecture)
    assert line is not None
    assert "normalise.part=normalise/canonical-adapter" in line
    assert CanonicalAdapter(CanonicalAdapter.Config(), spec).leaves_out(architecture) is None
    assert FanIn(FanIn.Config(), spec).leaves_out(mlp(2, 3, 1)) is None
