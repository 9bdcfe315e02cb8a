"""``sne/pad-chunk`` compared with flatten, pad and cut written out; numbers of chunks by hand."""

import numpy as np
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sneframe_sne.tokenizer import PadChunk

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.batch import Batch, join
from sneframe.parts.part import Spec
from sneframe.rng import Draw
from sneframe.testing import mlp


def tokenizer(architecture, **options):
    return PadChunk(PadChunk.Config(**options), Spec(carrier=Batch, width=1, architectures=(architecture,)))


def one_parameter(*shape):
    return Architecture(layers=[Layer(kind="conv2d", parameters=[Parameter(name="w", shape=shape)])])


def chunks_of(architecture, networks, **options):
    weights = torch.randn(networks, architecture.num_weights)
    batch = join({architecture: weights}, {architecture: range(networks)})
    (tokens,) = tokenizer(architecture, **options)(batch)
    return batch.networks[0].parameters(), tokens


def literal(view, size):
    """Flatten, pad with zeros to a multiple of the chunk size, and cut."""
    flat = view.flatten().tolist()
    flat += [0.0] * (-len(flat) % size)
    return [flat[start : start + size] for start in range(0, len(flat), size)]


@settings(max_examples=30, deadline=None)
@given(widths=st.lists(st.integers(1, 7), min_size=2, max_size=4), size=st.integers(1, 12))
def test_chunks_are_flattened_padded_and_cut(widths, size):
    """Chunks equal eq 1 of SNE written out, for any widths and chunk size."""
    parameters, tokens = chunks_of(mlp(*widths), 2, chunk_size=size)
    for network in range(2):
        expected = [chunk for view in parameters.values() for chunk in literal(view[network], size)]
        assert tokens.chunks[network].tolist() == expected


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 12), view=st.sampled_from(["flat", "out_channel", "kernel"]))
def test_conv_view_decides_where_chunks_start(size, view):
    """A kernel is cut as a whole, for each output channel, or for each kernel."""
    parameters, tokens = chunks_of(one_parameter(3, 2, 2, 2), 1, chunk_size=size, conv_view=view)
    kernel = parameters["w"][0]
    pieces = {"flat": [kernel], "out_channel": list(kernel), "kernel": list(kernel.flatten(0, 1))}[view]
    expected = [chunk for piece in pieces for chunk in literal(piece, size)]
    assert tokens.chunks[0].tolist() == expected


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 12), view=st.sampled_from(["flat", "row"]), shape=st.sampled_from([(3, 5), (6,)]))
def test_linear_view_decides_where_chunks_of_a_matrix_start(size, view, shape):
    """A matrix is cut as a whole or row by row; a vector is always cut as a whole."""
    parameters, tokens = chunks_of(one_parameter(*shape), 1, chunk_size=size, linear_view=view)
    weight = parameters["w"][0]
    pieces = list(weight) if view == "row" and weight.ndim == 2 else [weight]
    assert tokens.chunks[0].tolist() == [chunk for piece in pieces for chunk in literal(piece, size)]


def test_the_mask_is_false_on_padding():
    """Five weights in chunks of three have one padded scalar."""
    _, tokens = chunks_of(one_parameter(5), 1, chunk_size=3)
    assert tokens.mask.tolist() == [[True, True, True], [True, True, False]]


def test_a_network_of_1_32_32_1_has_37_chunks():
    """1×32: 1 chunk, bias: 1, 32×32: 32, bias: 1, 32×1: 1, bias: 1."""
    _, tokens = chunks_of(mlp(1, 32, 32, 1), 1, chunk_size=32)
    assert tokens.counts == (1, 1, 32, 1, 1, 1)
    assert tokens.chunks.shape == (1, 37, 32)


def test_chunks_know_their_parameter():
    """Each chunk has the index of its parameter."""
    _, tokens = chunks_of(mlp(2, 3, 1), 1, chunk_size=4)
    assert tokens.parameter.tolist() == [0, 0, 1, 2, 3]


def test_the_small_cnn_zoo_network_by_hand():
    """144, 16, 2304, 16, 2304, 16, 160 and 10 weights give 5, 1, 72, 1, 72, 1, 5 and 1 chunks of 32."""
    shapes = [(16, 1, 3, 3), (16,), (16, 16, 3, 3), (16,), (16, 16, 3, 3), (16,), (10, 16), (10,)]
    architecture = Architecture(
        layers=[
            Layer(kind="conv2d", parameters=[Parameter(name=str(i), shape=s) for i, s in enumerate(shapes)])
        ]
    )
    assert architecture.num_weights == 4970
    _, tokens = chunks_of(architecture, 1, chunk_size=32)
    assert tokens.counts == (5, 1, 72, 1, 72, 1, 5, 1)


# -- a sample of the chunks ------------------------------------------------------------------------------


def step(number, seed=0):
    return Draw(seed=seed, step=number, positions=np.arange(1), size=1)


def numbered(architecture):
    """One network whose weights are their own positions, so that a chunk shows where it was cut."""
    weights = torch.arange(1.0, architecture.num_weights + 1)[None]
    return join({architecture: weights}, {architecture: [0]})


def test_evaluation_takes_the_chunks_in_the_middle_of_equal_stretches():
    """Of 8 chunks two are the middle of the first and of the last four; by hand."""
    architecture = one_parameter(16)
    (tokens,) = tokenizer(architecture, chunk_size=2, max_chunks=2)(numbered(architecture))
    assert tokens.chunks[0].tolist() == [[5.0, 6.0], [13.0, 14.0]]
    assert (tokens.counts, tokens.parameter.tolist()) == ((2,), [0, 0])


@settings(max_examples=30, deadline=None)
@given(
    widths=st.lists(st.integers(1, 7), min_size=2, max_size=4), size=st.integers(1, 5), most=st.integers(1, 9)
)
def test_a_sample_has_at_most_so_many_chunks_of_each_parameter(widths, size, most):
    """Parameters with few chunks are whole; of the others the sample has distinct chunks, in order."""
    architecture = mlp(*widths)
    (whole,) = tokenizer(architecture, chunk_size=size)(numbered(architecture))
    (found,) = tokenizer(architecture, chunk_size=size, max_chunks=most)(numbered(architecture))
    assert found.counts == tuple(min(count, most) for count in whole.counts)
    for number in range(len(whole.counts)):
        rows = [tokens.chunks[0][tokens.parameter == number].tolist() for tokens in (whole, found)]
        places = [rows[0].index(chunk) for chunk in rows[1]]
        assert places == sorted(set(places))
    assert found.extent == (1, size)


def test_every_chunk_is_drawn_equally_often_in_training():
    """Of 7 chunks, 3 are drawn in each of 2000 steps: each one in 3/7 of them, by five standard errors."""
    architecture = one_parameter(7)
    part = tokenizer(architecture, chunk_size=1, max_chunks=3).train()
    counts = torch.zeros(7)
    for number in range(2000):
        (tokens,) = part(evolve(numbered(architecture), draw=step(number)))
        drawn = tokens.chunks[0, :, 0].long() - 1
        assert drawn.tolist() == sorted(drawn.tolist())
        counts += torch.bincount(drawn, minlength=7)
    assert float((counts / 2000 - 3 / 7).abs().max()) < 5 * (3 / 7 * 4 / 7 / 2000) ** 0.5


def test_a_step_draws_the_same_sample_again_and_another_one_with_another_seed():
    """The sample is a function of seed and step, so a run that was stopped continues bit for bit."""
    architecture = mlp(3, 40, 2)
    part = tokenizer(architecture, chunk_size=2, max_chunks=4).train()
    first, again, other = (
        part(evolve(numbered(architecture), draw=draw))[0].chunks for draw in (step(3), step(3), step(3, 1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_a_step_the_sample_is_that_of_evaluation():
    """Outside a training, and in evaluation mode within one, the sample is fixed."""
    architecture = mlp(3, 40, 2)
    part = tokenizer(architecture, chunk_size=2, max_chunks=4).eval()
    (fixed,) = part(numbered(architecture))
    assert torch.equal(part(evolve(numbered(architecture), draw=step(3)))[0].chunks, fixed.chunks)
    assert torch.equal(part.train()(numbered(architecture))[0].chunks, fixed.chunks)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(3, 5), (6,), (3, 2, 2, 2)]),
    size=st.integers(1, 5),
    most=st.integers(1, 9),
    views=st.sampled_from([("flat", "flat"), ("kernel", "row"), ("out_channel", "flat")]),
)
def test_a_sample_of_one_parameter_is_that_of_the_whole_network(shape, size, most, views):
    """What is cut from a parameter by itself equals what is cut from all networks at once."""
    architecture = one_parameter(*shape)
    part = tokenizer(architecture, chunk_size=size, max_chunks=most, conv_view=views[0], linear_view=views[1])
    batch = numbered(architecture)
    (tokens,) = part(batch)
    found = part.sample(architecture.parameters[0], batch.networks[0].weights[0], None)
    if found is None:
        assert (
            tokens.counts
            == tokenizer(architecture, chunk_size=size, conv_view=views[0], linear_view=views[1])(batch)[
                0
            ].counts
        )
        return
    assert torch.equal(found[0], tokens.chunks[0])
    assert torch.equal(found[1], tokens.mask)
    limited = tokenizer(architecture, chunk_size=size, conv_view=views[0], linear_view=views[1]).sample(
        architecture.parameters[0], batch.networks[0].weights[0], most
    )
    assert torch.equal(limited[0], found[0])
