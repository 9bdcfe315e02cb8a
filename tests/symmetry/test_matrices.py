"""Groups with the action ``linear`` are mixed by any invertible matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sneframe.architecture import Architecture, Layer, NeuronGroup, Parameter
from sneframe.batch import Batch, join
from sneframe.errors import ArchitectureError
from sneframe.symmetry import Element, apply, compose, inverse, sample
from sneframe.symmetry.verify import verify


def low_rank(rank: int = 3, inputs: int = 5, outputs: int = 4, *, wrong: bool = False) -> Architecture:
    """Return the architecture of B A, where A ``(rank, inputs)`` is first. ``wrong`` forgets the inverse."""
    columns = [[0], [1 if wrong else -1]]
    return Architecture(
        groups=[NeuronGroup(name="rank", size=rank, actions=("linear",))],
        layers=[
            Layer(
                kind="linear",
                parameters=[
                    Parameter(
                        name="a", shape=(rank, inputs), axes=((("rank",),), ((inputs,),)), linear=[[1], [0]]
                    )
                ],
            ),
            Layer(
                kind="linear",
                inputs=(0,),
                parameters=[
                    Parameter(
                        name="b", shape=(outputs, rank), axes=(((outputs,),), (("rank",),)), linear=columns
                    )
                ],
            ),
        ],
    )


class LowRank(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.a.T @ self.b.T


def batch_of(architecture: Architecture, ids: list[int]) -> Batch:
    weights = torch.randn(len(ids), architecture.num_weights, dtype=torch.float64)
    return join({architecture: weights}, {architecture: ids})


def product(batch: Batch) -> Tensor:
    (networks,) = batch.networks
    views = networks.parameters()
    return views["b"] @ views["a"]


def test_a_matrix_multiplies_rows_and_its_inverse_columns() -> None:
    """Written out by hand: A is multiplied by G from the left, and B by the inverse of G from the right."""
    architecture = low_rank(rank=2, inputs=2, outputs=1)
    weights = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], dtype=torch.float64)  # A = [1 2; 3 4], B = [5 6]
    batch = join({architecture: weights}, {architecture: [0]})
    matrix = torch.tensor([[[2.0, 1.0], [0.0, 1.0]]], dtype=torch.float64)  # its inverse is [.5 -.5; 0 1]
    moved = apply(batch, (Element(architecture=architecture, permutations={}, matrices={"rank": matrix}),))
    expected = torch.tensor([[5.0, 8.0, 3.0, 4.0, 2.5, 3.5]], dtype=torch.float64)
    torch.testing.assert_close(moved.networks[0].weights, expected)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_a_drawn_matrix_keeps_the_product_and_changes_both_factors(rank: int) -> None:
    batch = batch_of(low_rank(rank), [0, 1, 2])
    moved = apply(batch, sample(batch, seed=3, step=1, actions=("linear",)))
    torch.testing.assert_close(product(moved), product(batch), rtol=1e-12, atol=1e-12)
    assert bool((moved.networks[0].weights != batch.networks[0].weights).all())


def test_the_matrix_of_a_network_does_not_depend_on_its_batch() -> None:
    architecture = low_rank()
    (together,) = sample(batch_of(architecture, [4, 7, 9]), seed=3, step=1, actions=("linear",))
    (alone,) = sample(batch_of(architecture, [7]), seed=3, step=1, actions=("linear",))
    torch.testing.assert_close(together.matrices["rank"][1], alone.matrices["rank"][0], rtol=0, atol=0)


def test_factors_of_a_drawn_matrix_lie_between_a_half_and_two() -> None:
    (element,) = sample(batch_of(low_rank(4), list(range(50))), seed=1, step=0, actions=("linear",))
    factors = torch.linalg.svdvals(element.matrices["rank"])
    assert float(factors.min()) >= 0.5 - 1e-9
    assert float(factors.max()) <= 2 + 1e-9


def test_other_actions_leave_a_linear_group_alone() -> None:
    batch = batch_of(low_rank(), [0, 1])
    moved = apply(batch, sample(batch, seed=3, step=1, actions=("permute", "scale", "sign")))
    torch.testing.assert_close(moved.networks[0].weights, batch.networks[0].weights, rtol=0, atol=0)


def test_compose_and_inverse_follow_the_laws_of_a_group() -> None:
    batch = batch_of(low_rank(), [0, 1])
    first, second = (sample(batch, seed=seed, step=0, actions=("linear",)) for seed in (1, 2))
    both = apply(batch, compose(second, first))
    torch.testing.assert_close(
        both.networks[0].weights, apply(apply(batch, first), second).networks[0].weights
    )
    back = apply(apply(batch, first), inverse(first))
    torch.testing.assert_close(back.networks[0].weights, batch.networks[0].weights)


def test_gradients_pass_through_a_matrix() -> None:
    architecture = low_rank()
    weights = torch.randn(2, architecture.num_weights, dtype=torch.float64, requires_grad=True)
    batch = join({architecture: weights}, {architecture: [0, 1]})
    elements = sample(batch, seed=3, step=1, actions=("linear",))
    assert torch.autograd.gradcheck(
        lambda w: apply(join({architecture: w}, {architecture: [0, 1]}), elements).networks[0].weights,
        (weights,),
    )


def test_verify_accepts_the_linear_symmetry_of_a_low_rank_map() -> None:
    verified = verify(LowRank(), low_rank(), torch.randn(2, 5))
    assert verified.actions == 1
    assert verified.error < 1e-9


def test_verify_refuses_a_matrix_whose_inverse_is_forgotten() -> None:
    with pytest.raises(ArchitectureError, match="mixing the neurons of group 'rank' changes the outputs"):
        verify(LowRank(), low_rank(wrong=True), torch.randn(2, 5))


def test_architecture_with_matrices_survives_json() -> None:
    architecture = low_rank()
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert again.parameters[1].linear == ((0,), (-1,))
    assert again != low_rank(wrong=True)


def test_linear_beside_another_action_is_refused() -> None:
    with pytest.raises(
        ArchitectureError, match="linear includes all other actions, so it must be the only one"
    ):
        NeuronGroup(name="rank", size=3, actions=("linear", "permute"))


def test_a_power_for_fixed_positions_is_refused() -> None:
    parameter = Parameter(name="a", shape=(3, 5), axes=((("rank",),), ((5,),)), linear=[[1], [1]])
    with pytest.raises(ArchitectureError, match=r"'a': a power of linear must be .* but got 1 for \(5,\)"):
        Architecture(
            groups=[NeuronGroup(name="rank", size=3, actions=("linear",))],
            layers=[Layer(kind="linear", parameters=[parameter])],
        )
