"""Operations are followed where possible, and otherwise fixed with a warning; no group is ever wrong."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from brute_force import false_claims
from torch import nn

from sneframe.architecture import Architecture


class Between(nn.Module):
    """A function between two linear layers."""

    def __init__(self, between, neurons=12, reads=12):
        super().__init__()
        self.first, self.between, self.last = nn.Linear(3, neurons), between, nn.Linear(reads, 2)

    def forward(self, x):
        return self.last(self.between(self.first(x)))


def groups(module, example):
    """Return sizes and actions of the groups of a module, after a check of each by brute force."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        architecture = Architecture.from_module(module, example)
    assert false_claims(module, architecture, example) == {}
    return [(group.size, group.actions) for group in architecture.groups]


def by_hand(h):
    y = h.view(-1, 3, 4)
    return ((y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True) + 1e-5).sqrt()).view(-1, 12)


X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
IMAGE = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
PERMUTED = ("permute",)
SCALED = ("permute", "scale")
ALL = ("permute", "scale", "sign")


@pytest.mark.parametrize(
    "between",
    [
        lambda h: h.view(-1, 3, 4).softmax(-1).flatten(1),
        by_hand,
        lambda h: F.normalize(h.view(-1, 3, 4), dim=-1).flatten(1),
        lambda h: h.view(-1, 3, 4).cumsum(1).sum(-1).repeat(1, 4),
        lambda h: (h.view(-1, 3, 4) - h.view(-1, 3, 4).amax(-1, keepdim=True)).flatten(1),
    ],
    ids=["softmax", "norm by hand", "unit length", "running sum over groups", "maximum"],
)
def test_softmax_within_groups_refines_to_blocks(between):
    """Three blocks of four neurons are never taken for twelve neurons that can be permuted freely."""
    found = groups(Between(between), X)
    assert all(size < 12 for size, _ in found)


def test_softmax_within_blocks_allows_two_permutations():
    """Whole blocks can be permuted, and so can the neurons within each block."""
    found = groups(Between(lambda h: h.view(-1, 3, 4).softmax(-1).flatten(1)), X)
    assert found == [(3, PERMUTED), (4, PERMUTED)]


def test_maxout_permutes_pairs_and_within_pairs():
    """With maxout, six pairs can be permuted, and so can the two neurons of a pair."""
    found = groups(Between(lambda h: h.view(-1, 6, 2).amax(-1), reads=6), X)
    assert (6, PERMUTED) in found or (6, SCALED) in found
    assert (2, PERMUTED) in found


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 16), nn.Conv1d(16, 16, 3, groups=2)], ids=["norm", "conv"])
def test_gate_is_neither_scaled_nor_flipped(norm):
    """If one half of the channels gates the other, neurons can only be permuted."""
    module = nn.Sequential(nn.Conv1d(3, 16, 1), norm, nn.GLU(1), nn.Conv1d(8, 2, 1))
    found = groups(module, torch.randn(2, 3, 9))
    assert found
    assert all(actions == PERMUTED for _, actions in found)


class Gram(nn.Module):
    """Reads some rows of the Gram matrix of all channels."""

    def __init__(self, rows):
        super().__init__()
        self.a, self.b, self.rows = nn.Conv2d(3, 6, 1), nn.Linear(6 * rows, 3), rows

    def forward(self, x):
        h = self.a(x).flatten(2)
        return self.b((h @ h.mT)[:, : self.rows].flatten(1))


def test_rows_of_a_gram_matrix_leave_the_other_channels_free():
    """If only three rows of a Gram matrix are read, the other three channels can be permuted."""
    assert groups(Gram(3), IMAGE) == [(3, PERMUTED)]
    assert groups(Gram(6), IMAGE) == [(6, PERMUTED)]


class Partial(nn.Module):
    """A convolution that overwrites the first channels of its input."""

    def __init__(self):
        super().__init__()
        self.a, self.c, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        h = self.a(x)
        h[:, :4] = self.c(h[:, :4])
        return self.b(h)


def test_writes_through_a_view_join_their_channels():
    """Channels that are overwritten share a group with the new values; the others have their own group."""
    assert groups(Partial(), IMAGE) == [(4, ALL), (4, ALL)]


def test_writes_at_shifted_indices_fix_the_neurons():
    """``y[:, 1:] = h[:, :-1]`` ties each neuron to the next one, so all are fixed."""

    def shifted(h):
        y = h.clone()
        y[:, 1:] = h[:, :-1]
        return y

    assert groups(Between(shifted), X) == []


def test_tensor_filled_by_slices_is_followed():
    """Zeros take over the group of the neurons that are written into them."""

    def between(h):
        y = h.new_zeros(len(h), 14)
        y[:, 1:13] = h
        return y[:, 1:13]

    assert groups(Between(between), X) == [(12, ALL)]


@pytest.mark.parametrize(
    "between",
    [
        lambda h: torch.tensor([0.3, -1.0])[(h > 0).long()].to(h),
        lambda h: (3 * h).to(torch.int32).to(h.dtype),
        lambda h: h.to(torch.bool).to(h.dtype),
        lambda h: torch.div(h, 0.3, rounding_mode="floor"),
        lambda h: 1 - h,
        lambda h: torch.tensor(2.0) - h,
        lambda h: torch.tensor(2.0) + h,
        F.logsigmoid,
        lambda h: torch.maximum(h, torch.full_like(h, 0.1)),
        lambda h: h + torch.arange(1, 6).view(5, 1),
    ],
    ids=[
        "table",
        "integers",
        "booleans",
        "floor",
        "one minus",
        "constant minus",
        "constant plus",
        "logsigmoid",
        "full_like",
        "integer constant",
    ],
)
def test_functions_that_are_not_homogeneous_only_permute(between):
    """Before a function that is not homogeneous, neurons can be permuted, but not scaled or flipped."""
    assert groups(Between(between), X) == [(12, PERMUTED)]


def test_lookup_keeps_the_order_of_its_indices():
    """The result of a lookup has the axes of its indices, so treating its elements differently fixes them."""
    module = Between(lambda h: torch.tensor([0.3, -1.0])[(h > 0).long()].to(h) * torch.arange(12.0).to(h))
    assert groups(module, X) == []


def test_max_with_unused_indices_is_followed():
    """``torch.max(x, dim)`` also returns indices; if they are not used, neurons stay free."""
    module = nn.Sequential(nn.Conv1d(3, 8, 1), nn.ReLU(), nn.Conv1d(8, 6, 1))
    reading = nn.Linear(6, 2)

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.read = module, reading

        def forward(self, x):
            return self.read(torch.max(self.body(x), 2)[0])

    assert groups(Pooled(), torch.randn(2, 3, 10)) == [(8, SCALED), (6, SCALED)]


def test_used_indices_of_a_maximum_fix_the_neurons():
    """The index of the largest neuron changes under permutation, so using it fixes the neurons."""
    assert groups(Between(lambda h: h * h.argmax(-1, keepdim=True)), X) == []


def test_neurons_can_be_permuted_before_sorting():
    """Sorting gives the same result in any order of the neurons."""
    assert groups(Between(lambda h: h.sort(-1).values), X) == [(12, PERMUTED)]


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(3, 12, 3, 1, 1), nn.GroupNorm(4, 12), nn.PixelShuffle(2), nn.Conv2d(3, 2, 1)),
        nn.Sequential(nn.Conv2d(3, 12, 1), nn.GroupNorm(4, 12), nn.ChannelShuffle(3), nn.Conv2d(12, 2, 1)),
    ],
    ids=["pixel shuffle", "channel shuffle"],
)
def test_blocks_that_do_not_fit_are_fixed_with_a_warning(module):
    """If groups of three channels meet groups of four, a warning names the operation and the fixed axes."""
    with pytest.warns(
        UserWarning, match=r"not followed at \w+ in '3', so these axes are fixed: '0.bias' axis 0"
    ):
        assert Architecture.from_module(module, IMAGE).groups == ()


def test_weight_norm_keeps_the_scale_of_its_lengths():
    """In weight norm, g v / ‖v‖, the lengths g carry the scale, and the directions v do not."""
    module = Between(nn.ReLU())
    nn.utils.parametrizations.weight_norm(module.first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Architecture.from_module(module, X)
    assert [(g.size, g.actions) for g in found.groups] == [(12, SCALED)]
    assert found.layers[0].kind == "linear"
    assert false_claims(module, found, X) == {}


def test_shift_over_positions_leaves_channels_free():
    """Channels stay free if only positions are shifted, by ``roll`` or by circular padding."""

    class Roll(nn.Module):
        def forward(self, x):
            return x.roll(1, 2)

    module = nn.Sequential(nn.Conv2d(3, 8, 1), Roll(), nn.Conv2d(8, 2, 1, padding=1, padding_mode="circular"))
    assert groups(module, IMAGE) == [(8, ALL)]


def test_bilinear_layer_reads_neurons_twice():
    """If both inputs of ``nn.Bilinear`` are the same neurons, these are one group."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Bilinear(4, 4, 2)

        def forward(self, x):
            h = self.first(x)
            return self.last(h, h)

    assert groups(Product(), X) == [(4, PERMUTED)]


def test_noise_may_be_permuted():
    """Noise on neurons leaves them free, since independent draws are equally likely in any order."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Architecture.from_module(Between(lambda h: h + torch.randn_like(h)), X)
    assert [(g.size, g.actions) for g in found.groups] == [(12, PERMUTED)]


class Masked(nn.Module):
    """Neurons with a mask that switches them on and off."""

    def __init__(self, mask, *, persistent=True):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)
        self.register_buffer("mask", mask, persistent=persistent)

    def forward(self, x):
        return self.last(self.first(x) * self.mask)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64], ids=["booleans", "integers"])
def test_axes_that_a_stored_mask_meets_are_fixed(dtype):
    """A mask in the state dict may differ between networks, so the axes it meets are fixed with a warning."""
    message = "the buffer 'mask' holds integers or booleans, so these axes are fixed: 'first.bias' axis 0"
    with pytest.warns(UserWarning, match=message):
        assert Architecture.from_module(Masked(torch.ones(8, dtype=dtype)), X).groups == ()


def test_mask_outside_of_the_state_dict_counts_as_code():
    """A mask that is not saved is the same in every network, so its values count: all ones fix nothing."""
    module = Masked(torch.ones(8, dtype=torch.bool), persistent=False)
    assert [size for size, _ in groups(module, X)] == [8]


def test_floating_point_mask_moves_with_its_neurons():
    """A floating-point buffer counts as weights, and moves with the neurons."""
    assert [size for size, _ in groups(Masked(torch.ones(8)), X)] == [8]


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, X)], ids=["script", "trace"])
def test_scripted_module_has_the_same_architecture(make):
    """A scripted or traced module has the architecture of the original module."""
    module = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    assert Architecture.from_module(make(module), X) == Architecture.from_module(module, X)


def test_values_that_leave_torch_are_fixed():
    """Neurons that are converted to NumPy are fixed, and a warning says so."""
    module = Between(lambda h: h + torch.from_numpy(h.detach().numpy()).cumsum(-1))
    with pytest.warns(
        UserWarning, match="not followed where values leave torch in 'between'|where values leave torch, so"
    ):
        assert Architecture.from_module(module, X).groups == ()


def test_an_index_read_by_item_fixes_its_neurons():
    """The index of the largest neuron depends on the order of the neurons, also as a Python number."""
    module = Between(lambda h: h * h.mean(0).argmax().item())
    with pytest.warns(UserWarning, match="where values leave torch"):
        assert Architecture.from_module(module, X).groups == ()


def test_a_sum_read_by_item_fixes_nothing():
    """A sum over all neurons does not depend on their order, also as a Python number."""
    assert groups(Between(lambda h: h * h.sum().item()), X) == [(12, ("permute",))]


def test_nested_group_with_two_parents_is_unnested():
    """If it is unclear in which block a neuron lies, all blocks are permuted in the same way."""

    class Shuffled(nn.Module):
        def __init__(self):
            super().__init__()
            self.i, self.a = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1, groups=2)
            self.d, self.b = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1, groups=2)
            self.o = nn.Linear(8, 2)

        def forward(self, x):
            x = self.i(x).relu()
            y = self.a(x).relu().unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)
            return self.o((x + self.b(self.d(y))).relu().mean((2, 3)))

    module = Shuffled()
    architecture = Architecture.from_module(module, torch.randn(2, 3, 6, 6))
    assert all(group.parent is None for group in architecture.groups)
    assert false_claims(module, architecture, torch.randn(2, 3, 6, 6)) == {}
