"""``sne/pad-chunk`` compared with flatten, pad and cut written out; numbers of chunks by hand."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sneframe_sne.tokenizer import PadChunk

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.batch import Batch, join
from sneframe.parts.part import Spec
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
