"""What an operation means for neurons: found where it can be followed, fixed and said where it cannot, never wrong."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from brute_force import false_claims
from torch import nn

from sneframe.architecture import Architecture


class Between(nn.Module):
    """Something between two linear layers."""

    def __init__(self, between, neurons=12, reads=12):
        super().__init__()
        self.first, self.between, self.last = nn.Linear(3, neurons), between, nn.Linear(reads, 2)

    def forward(self, x):
        return self.last(self.between(self.first(x)))


def groups(module, example):
    """Return the groups of a module as sizes and actions, after each was held against brute force."""
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
def test_what_acts_within_groups_refines_neurons_to_blocks(between):
    """Three groups of four neurons are never taken for twelve neurons that may change places."""
    found = groups(Between(between), X)
    assert all(size < 12 for size, _ in found)


def test_softmax_within_groups_moves_groups_and_their_neurons():
    """Groups change places as a whole, and neurons within each."""
    found = groups(Between(lambda h: h.view(-1, 3, 4).softmax(-1).flatten(1)), X)
    assert found == [(3, PERMUTED), (4, PERMUTED)]


def test_maxout_moves_pairs_and_what_is_in_a_pair():
    """Six pairs, of each of which the larger is read."""
    found = groups(Between(lambda h: h.view(-1, 6, 2).amax(-1), reads=6), X)
    assert (6, PERMUTED) in found or (6, SCALED) in found
    assert (2, PERMUTED) in found


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 16), nn.Conv1d(16, 16, 3, groups=2)], ids=["norm", "conv"])
def test_a_gate_is_neither_scaled_nor_flipped(norm):
    """Two groups of channels, of which the second gates the first, are permuted alone."""
    module = nn.Sequential(nn.Conv1d(3, 16, 1), norm, nn.GLU(1), nn.Conv1d(8, 2, 1))
    found = groups(module, torch.randn(2, 3, 9))
    assert found
    assert all(actions == PERMUTED for _, actions in found)


class Gram(nn.Module):
    """Reads some rows of the products of all channels with each other."""

    def __init__(self, rows):
        super().__init__()
        self.a, self.b, self.rows = nn.Conv2d(3, 6, 1), nn.Linear(6 * rows, 3), rows

    def forward(self, x):
        h = self.a(x).flatten(2)
        return self.b((h @ h.mT)[:, : self.rows].flatten(1))


def test_rows_of_a_gram_matrix_leave_the_other_channels_free():
    """The three channels whose rows are read are fixed, as rows and as columns."""
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


def test_what_is_written_through_a_view_moves_with_the_channels_there():
    """The first four channels share their neurons with what overwrites them; the others are on their own."""
    assert groups(Partial(), IMAGE) == [(4, ALL), (4, ALL)]


def test_a_write_to_other_places_fixes_the_neurons():
    """``y[:, 1:] = h[:, :-1]`` ties every neuron to the next."""

    def shifted(h):
        y = h.clone()
        y[:, 1:] = h[:, :-1]
        return y

    assert groups(Between(shifted), X) == []


def test_a_tensor_that_is_filled_by_parts_is_followed():
    """Zeros that neurons are written into take over their order."""

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
def test_what_is_not_homogeneous_is_permuted_alone(between):
    """Neurons may change places, and may be neither scaled nor flipped."""
    assert groups(Between(between), X) == [(12, PERMUTED)]


def test_the_neurons_that_a_table_is_read_at_stay_in_order():
    """A lookup carries the order of its places, so that what reads its result moves with them."""
    module = Between(lambda h: torch.tensor([0.3, -1.0])[(h > 0).long()].to(h) * torch.arange(12.0).to(h))
    assert groups(module, X) == []


def test_max_over_an_axis_is_followed_as_amax_is():
    """``torch.max(x, dim)`` returns values and places; the places are not used."""
    module = nn.Sequential(nn.Conv1d(3, 8, 1), nn.ReLU(), nn.Conv1d(8, 6, 1))
    reading = nn.Linear(6, 2)

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.read = module, reading

        def forward(self, x):
            return self.read(torch.max(self.body(x), 2)[0])

    assert groups(Pooled(), torch.randn(2, 3, 10)) == [(8, SCALED), (6, SCALED)]


def test_places_of_a_maximum_that_are_used_fix_the_neurons():
    """The number of the largest neuron is another one after they have changed places."""
    assert groups(Between(lambda h: h * h.argmax(-1, keepdim=True)), X) == []


def test_sorted_neurons_may_change_places_before_they_are_sorted():
    """What is sorted has an order of its own."""
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
    """Groups of three channels cannot be read as groups of four: the warning names the operation and the axes."""
    with pytest.warns(
        UserWarning, match=r"not followed at \w+ in '3', so these axes are fixed: '0.bias' axis 0"
    ):
        assert Architecture.from_module(module, IMAGE).groups == ()


def test_weight_norm_keeps_the_scale_of_its_lengths():
    """g v / ‖v‖: the lengths g carry the scale, the directions v do not."""
    module = Between(nn.ReLU())
    nn.utils.parametrizations.weight_norm(module.first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Architecture.from_module(module, X)
    assert [(g.size, g.actions) for g in found.groups] == [(12, SCALED)]
    assert found.layers[0].kind == "linear"
    assert false_claims(module, found, X) == {}


def test_a_shift_over_positions_leaves_channels_free():
    """``roll`` along rows, as in shifted windows, and circular padding."""

    class Roll(nn.Module):
        def forward(self, x):
            return x.roll(1, 2)

    module = nn.Sequential(nn.Conv2d(3, 8, 1), Roll(), nn.Conv2d(8, 2, 1, padding=1, padding_mode="circular"))
    assert groups(module, IMAGE) == [(8, ALL)]


def test_a_bilinear_layer_reads_neurons_twice():
    """Both factors of ``nn.Bilinear`` are the same neurons."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Bilinear(4, 4, 2)

        def forward(self, x):
            h = self.first(x)
            return self.last(h, h)

    assert groups(Product(), X) == [(4, PERMUTED)]


def test_noise_may_be_permuted():
    """Independent draws are as likely in another order, as in a dropout that was left on."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Architecture.from_module(Between(lambda h: h + torch.randn_like(h)), X)
    assert [(g.size, g.actions) for g in found.groups] == [(12, PERMUTED)]


class Masked(nn.Module):
    """Neurons that a mask switches on and off; all are on when it is made."""

    def __init__(self, mask, *, persistent=True):
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)
        self.register_buffer("mask", mask, persistent=persistent)

    def forward(self, x):
        return self.last(self.first(x) * self.mask)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64], ids=["booleans", "integers"])
def test_the_axes_that_a_stored_mask_meets_are_fixed(dtype):
    """A mask is kept with the weights and may differ from network to network, though it is all ones here."""
    said = "the buffer 'mask' holds integers or booleans, so these axes are fixed: 'first.bias' axis 0"
    with pytest.warns(UserWarning, match=said):
        assert Architecture.from_module(Masked(torch.ones(8, dtype=dtype)), X).groups == ()


def test_a_mask_that_is_no_part_of_the_state_is_code():
    """A buffer that is not stored has the values that the code gives it, whichever network it is."""
    module = Masked(torch.ones(8, dtype=torch.bool), persistent=False)
    assert [size for size, _ in groups(module, X)] == [8]


def test_a_mask_of_numbers_moves_with_its_neurons():
    """A floating-point buffer is one of the weights."""
    assert [size for size, _ in groups(Masked(torch.ones(8)), X)] == [8]


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, X)], ids=["script", "trace"])
def test_a_scripted_module_is_described_as_the_module_is(make):
    """Operations are seen below the interpreter, and kinds of layers are known by the classes' names."""
    module = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    assert Architecture.from_module(make(module), X) == Architecture.from_module(module, X)


def test_values_that_leave_torch_are_fixed():
    """What numpy makes of neurons is not seen, so they stay where they are, and a warning says so."""
    module = Between(lambda h: h + torch.from_numpy(h.detach().numpy()).cumsum(-1))
    with pytest.warns(
        UserWarning, match="not followed where values leave torch in 'between'|where values leave torch, so"
    ):
        assert Architecture.from_module(module, X).groups == ()


def test_a_nested_group_whose_parent_stands_in_two_places_acts_alike():
    """A shuffled grouped convolution with a shortcut: nothing says in which group a neuron is, so all are alike."""

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
