"""The graph of ``sne/message``: of known networks its spaces and steps by hand, of any that nothing is left out."""

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from networks import NETWORKS
from sneframe_sne.message.build import graph_of
from sneframe_sne.message.graph import BEHIND, KERNEL, SEGMENT
from torch import nn

from sneframe.architecture import Architecture, Group, Layer, Parameter
from sneframe.testing import mlp


def of_network(name):
    make, example = NETWORKS[name]
    torch.manual_seed(0)
    return Architecture.from_module(make(), example)


def of_state(module):
    """Describe a network by names and shapes alone, where they leave doubt."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Architecture.from_state_dict(module.state_dict())


def spaces(graph):
    """Size of every space, and whether its nodes have places."""
    return [(space.size, "fixed" if space.fixed else "group") for space in graph.spaces]


def edges(architecture, graph):
    """By parameter: how many places of which space are written, and how many are read; vectors by their names."""
    names = [parameter.name for parameter in architecture.parameters]

    def ends(end):
        return {piece.space: len(piece.places) for piece in end.pieces} if end is not None else {}

    return {
        " ".join(
            names[n] for n in ([] if step.parameter is None else [step.parameter]) + list(step.vectors)
        ): (
            ends(step.written),
            ends(step.read),
        )
        for step in graph.steps
    }


def step_of(architecture, graph, name):
    numbers = {parameter.name: number for number, parameter in enumerate(architecture.parameters)}
    return next(step for step in graph.steps if step.parameter == numbers[name])


def told(end):
    """Along which coordinates the places of an end differ."""
    return {axis for axis in range(6) if not np.isnan(end.coordinates[:, axis]).all()}


def nodes(end, space):
    (piece,) = [piece for piece in end.pieces if piece.space == space]
    return piece.nodes[np.argsort(piece.places, kind="stable")].tolist()


# -- of any network -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("describe", ["module", "state dict"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_in_one_step(name, describe):
    torch.manual_seed(0)
    architecture = of_network(name) if describe == "module" else of_state(NETWORKS[name][0]())
    graph = graph_of(architecture)
    found = Counter(
        number
        for step in graph.steps
        for number in (*([] if step.parameter is None else [step.parameter]), *step.vectors)
    )
    assert found == dict.fromkeys(range(len(architecture.parameters)), 1)
    written = Counter(number for space in graph.spaces for number in set(space.parameters))
    assert set(written) == set(found)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_an_edge_or_lies_on_a_place(name):
    architecture = of_network(name)
    for step in graph_of(architecture).steps:
        for number in step.vectors:
            assert architecture.parameters[number].size == step.written.size
        if step.parameter is not None:
            places = 1 if step.read is None else step.read.size
            count = places if step.own else step.written.size * places
            assert architecture.parameters[step.parameter].size == count
            assert sorted(step.order) == list(range(len(step.shape)))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_node_of_a_space_that_is_written_stands_at_as_many_places(name):
    graph = graph_of(of_network(name))
    for end in (end for step in graph.steps for end in (step.written, step.read) if end is not None):
        for piece in end.pieces:
            counts = np.bincount(piece.nodes, minlength=graph.spaces[piece.space].size)
            if not graph.spaces[piece.space].fixed:
                assert len(set(counts)) == 1
            assert len(set(piece.places)) == len(piece.places)


# -- of known networks ------------------------------------------------------------------------------------------------


def test_an_mlp_is_a_chain_of_spaces():
    architecture = mlp(2, 5, 4, 3)
    graph = graph_of(architecture)
    assert spaces(graph) == [(2, "fixed"), (5, "group"), (4, "group"), (3, "fixed")]
    assert edges(architecture, graph) == {
        "0.weight 0.bias": ({1: 5}, {0: 2}),
        "1.weight 1.bias": ({2: 4}, {1: 5}),
        "2.weight 2.bias": ({3: 3}, {2: 4}),
    }
    assert [space.parameters for space in graph.spaces] == [(), (0, 1), (2, 3), (4, 5)]


def test_one_number_as_input_is_no_space():
    graph = graph_of(mlp(1, 5, 1))
    assert spaces(graph) == [(5, "group"), (1, "fixed")]
    assert graph.steps[0].read is None


def test_a_bottleneck_of_one_neuron_is_read():
    net = nn.Sequential(
        nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1), nn.Tanh(), nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 2)
    )
    architecture = Architecture.from_module(net)
    assert edges(architecture, graph_of(architecture))["4.weight 4.bias"] == ({3: 4}, {2: 1})


def test_small_cnn_reads_each_channel_once_for_each_position_of_the_kernel():
    architecture = of_network("small-cnn")
    graph = graph_of(architecture)
    assert spaces(graph) == [(16, "group"), (16, "group"), (16, "group"), (10, "fixed")]
    assert edges(architecture, graph) == {
        "convs.0.weight convs.0.bias": ({0: 16}, {}),
        "convs.1.weight convs.1.bias": ({1: 16}, {0: 144}),
        "convs.2.weight convs.2.bias": ({2: 16}, {1: 144}),
        "head.weight head.bias": ({3: 10}, {2: 16}),
    }
    read = graph.steps[1].read
    assert told(read) == {KERNEL, KERNEL + 1}
    assert nodes(read, 0) == [channel for channel in range(16) for _ in range(9)]
    third = [-2 / 3, 0, 2 / 3]
    assert np.allclose(read.coordinates[:9, KERNEL:][:, :2], [[a, b] for a in third for b in third])
    assert graph.steps[0].read.size == 9  # of the network's input, which is grey


def test_lenet_reads_a_flattened_map_in_blocks():
    architecture = of_network("lenet")
    graph = graph_of(architecture)
    assert spaces(graph) == [(6, "group"), (16, "group"), (20, "group"), (10, "fixed")]
    assert edges(architecture, graph)["7.weight 7.bias"] == ({2: 20}, {1: 256})
    read = step_of(architecture, graph, "7.weight").read
    assert told(read) == {BEHIND}
    assert nodes(read, 1) == [channel for channel in range(16) for _ in range(16)]
    assert np.allclose(read.coordinates[16:32, BEHIND], (2 * np.arange(16) + 1) / 16 - 1)


def test_a_residual_stream_is_one_space_that_several_layers_write():
    architecture = of_network("resnet18")
    graph = graph_of(architecture)
    found = edges(architecture, graph)
    groups = [4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32]
    assert sorted(spaces(graph)) == sorted([(3, "fixed"), *((n, "group") for n in groups), (10, "fixed")])
    (stream,) = found["stem.0.weight"][0]
    assert {name for name, (written, _) in found.items() if stream in written and "bn" not in name} == {
        "stem.0.weight",
        "blocks.0.conv2.weight",
        "blocks.1.conv2.weight",
        "stem.1.weight stem.1.bias stem.1.running_mean stem.1.running_var",
    }
    assert {name for name, (_, read) in found.items() if stream in read} == {
        "blocks.0.conv1.weight",
        "blocks.1.conv1.weight",
        "blocks.2.conv1.weight",
        "blocks.2.shortcut.0.weight",
    }


def test_a_depthwise_convolution_reads_itself():
    architecture = of_network("separable")
    graph = graph_of(architecture)
    assert spaces(graph) == [(3, "fixed"), (8, "group"), (12, "group"), (4, "fixed")]
    step = step_of(architecture, graph, "3.weight")
    assert step.own
    assert nodes(step.written, 1) == list(range(8))
    assert nodes(step.read, 1) == [channel for channel in range(8) for _ in range(9)]
    assert not step_of(architecture, graph, "6.weight").own


def test_a_grouped_convolution_reads_its_own_block():
    """Twelve channels in three blocks of four, six outputs in three blocks of two."""
    architecture = of_network("grouped")
    graph = graph_of(architecture)
    assert spaces(graph) == [(3, "fixed"), (3, "group"), (12, "group"), (6, "group"), (2, "fixed")]
    step = step_of(architecture, graph, "3.weight")
    assert step.own
    assert nodes(step.written, 1) == [0, 0, 1, 1, 2, 2]
    expected = [4 * (output // 2) + channel for output in range(6) for channel in range(4) for _ in range(9)]
    assert nodes(step.read, 2) == expected


class Transposed(nn.Sequential):
    """Six channels: each of its own, then two blocks of 3 → 2, then all four to one."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 6, 3),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 6, 2, groups=6),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 4, 2, groups=2),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 1, 2, bias=False),
        )


def test_a_grouped_transposed_convolution_reads_its_own_block():
    architecture = Architecture.from_module(Transposed(), torch.randn(2, 3, 8, 8))
    graph = graph_of(architecture)
    assert spaces(graph) == [(3, "fixed"), (2, "group"), (6, "group"), (4, "group"), (1, "fixed")]
    step = step_of(architecture, graph, "2.weight")
    assert nodes(step.written, 2) == list(range(6))
    assert nodes(step.read, 2) == [channel for channel in range(6) for _ in range(4)]
    step = step_of(architecture, graph, "4.weight")
    assert nodes(step.written, 3) == [0, 1, 2, 3]
    assert nodes(step.read, 2) == [3 * (o // 2) + i for o in range(4) for i in range(3) for _ in range(4)]
    assert (step.shape, step.order) == (
        (2, 3, 2, 2, 2),
        (0, 2, 1, 3, 4),
    )  # input 3 · block + i, output o of the block
    assert edges(architecture, graph)["6.weight"] == ({4: 1}, {1: 16, 3: 16})


def test_a_depthwise_multiplier_reads_the_channel_that_it_multiplies():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1, groups=4), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )
    architecture = Architecture.from_module(net, torch.randn(2, 3, 4, 4))
    graph = graph_of(architecture)
    assert spaces(graph) == [(3, "fixed"), (4, "group"), (8, "group"), (2, "fixed")]
    assert nodes(step_of(architecture, graph, "2.weight").read, 1) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_concatenation_is_read_as_pieces_of_two_spaces():
    architecture = of_network("unet")
    graph = graph_of(architecture)
    down1, down2, _, up2, _, up1, _, _ = range(8)
    assert spaces(graph) == [(n, "group") for n in (4, 8, 12, 8, 8, 4, 4)] + [(2, "fixed")]
    found = edges(architecture, graph)
    assert found["up2.weight up2.bias"] == ({up2: 8}, {2: 48})
    assert found["conv2.0.weight conv2.0.bias"] == ({4: 8}, {up2: 72, down2: 72})
    assert found["conv1.0.weight conv1.0.bias"] == ({6: 4}, {up1: 36, down1: 36})
    step = step_of(architecture, graph, "conv1.0.weight")
    first = {piece.space: int(piece.places.min()) for piece in step.read.pieces}
    assert first == {up1: 0, down1: 36}  # torch.cat([up1, down1])
    assert SEGMENT in told(step.read)


@pytest.mark.parametrize("name", ["vit", "gpt"])
def test_queries_and_keys_share_neurons_and_what_is_behind_values_reads_them_and_their_heads(name):
    architecture = of_network(name)
    graph = graph_of(architecture)
    found = edges(architecture, graph)
    stem = "blocks.0.attention"
    written, read = found[f"{stem}.qkv.weight {stem}.qkv.bias"]
    (stream,) = read
    assert (graph.spaces[stream].size, read[stream]) == (12, 12)
    heads, inner, values = written
    assert [(graph.spaces[s].size, written[s]) for s in written] == [(3, 36), (12, 24), (12, 12)]
    assert found[f"{stem}.proj.weight {stem}.proj.bias"] == ({stream: 12}, {heads: 12, values: 12})
    step = step_of(architecture, graph, f"{stem}.qkv.weight")
    assert nodes(step.written, heads) == [head for _ in range(3) for head in range(3) for _ in range(4)]
    assert nodes(step.written, inner) == [*range(12), *range(12)]
    assert told(step.written) == {SEGMENT}


def test_a_token_lies_on_the_stream_and_positions_are_read_from_places():
    architecture = of_network("vit")
    graph = graph_of(architecture)
    found = edges(architecture, graph)
    ((stream, _),) = found["token"][0].items()
    assert found["token"] == ({stream: 12}, {})
    (places,) = found["position"][1]
    assert found["position"] == ({stream: 12}, {places: 17})
    assert spaces(graph)[places] == (17, "fixed")


def test_the_gates_of_a_recurrence_are_places_of_one_node():
    architecture = of_network("gru")
    graph = graph_of(architecture)
    assert spaces(graph) == [(9, "fixed"), (5, "group"), (6, "group"), (3, "fixed")]
    assert edges(architecture, graph) == {
        "words.weight": ({1: 5}, {0: 9}),
        "rnn.weight_ih_l0 rnn.bias_ih_l0 rnn.bias_hh_l0": ({2: 18}, {1: 5}),
        "rnn.weight_hh_l0": ({2: 18}, {2: 6}),
        "head.weight head.bias": ({3: 3}, {2: 6}),
    }
    written = step_of(architecture, graph, "rnn.weight_hh_l0").written
    assert nodes(written, 2) == [*range(6)] * 3
    assert np.allclose(written.coordinates[:, SEGMENT], np.repeat([-2 / 3, 0, 2 / 3], 6))


def test_values_shared_by_all_heads_are_read_beside_the_head():
    """Two heads, each neuron of the values at one place of either; keys are rotated, so their places are fixed."""
    architecture = of_network("llama")
    graph = graph_of(architecture)
    words, stream, heads, keys, values, gated, logits = range(7)
    assert spaces(graph) == [
        *((7, "fixed"), (8, "group"), (2, "group"), (4, "fixed"), (4, "group"), (12, "group"), (7, "fixed"))
    ]
    assert edges(architecture, graph) == {
        "words.weight": ({stream: 8}, {words: 7}),
        "norm.weight": ({stream: 8}, {}),
        "q.weight q.bias": ({heads: 8}, {stream: 8}),
        "k.weight k.bias": ({keys: 4}, {stream: 8}),
        "v.weight v.bias": ({values: 4}, {stream: 8}),
        "o.weight o.bias": ({stream: 8}, {heads: 8, values: 8}),
        "gate.weight": ({gated: 12}, {stream: 8}),
        "up.weight": ({gated: 12}, {stream: 8}),
        "down.weight": ({stream: 8}, {gated: 12}),
        "head.weight head.bias": ({logits: 7}, {stream: 8}),
    }
    read = step_of(architecture, graph, "o.weight").read
    assert nodes(read, heads) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert nodes(read, values) == [0, 1, 2, 3, 0, 1, 2, 3]


# -- where no group moves an axis -------------------------------------------------------------------------------------


def test_without_groups_layers_are_connected_where_sizes_say_so():
    """A batch norm lies on what it rescales, a depthwise convolution reads its own, a map is read in blocks."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 6, 3, groups=2)),
        *(nn.Flatten(), nn.Linear(24, 5)),
    )
    architecture = of_state(net)
    graph = graph_of(architecture)
    assert architecture.groups == ()
    assert spaces(graph) == [(3, "fixed"), (4, "fixed"), (8, "fixed"), (6, "fixed"), (5, "fixed")]
    assert edges(architecture, graph) == {
        "0.weight 0.bias": ({1: 4}, {0: 27}),
        "1.weight 1.bias 1.running_mean 1.running_var": ({1: 4}, {}),
        "2.weight 2.bias": ({2: 8}, {1: 72}),
        "3.weight 3.bias": ({3: 6}, {2: 216}),
        "5.weight 5.bias": ({4: 5}, {3: 24}),
    }
    assert nodes(step_of(architecture, graph, "2.weight").read, 1)[::9] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (
        nodes(step_of(architecture, graph, "3.weight").read, 2)[::9] == [*range(4)] * 3 + [*range(4, 8)] * 3
    )
    assert nodes(step_of(architecture, graph, "5.weight").read, 3) == [c for c in range(6) for _ in range(4)]


def test_without_groups_what_sizes_do_not_say_is_left_open():
    graph = graph_of(of_state(NETWORKS["gru"][0]()))
    assert all(space.fixed for space in graph.spaces)


def test_segments_that_no_group_moves_are_one_space():
    """Rows of two fixed segments are eight places, not four that are written twice."""
    rows = ((4,), (4,))
    layers = [
        Layer(kind="linear", parameters=[Parameter(name="a", shape=(8, 2), axes=(rows, ((2,),)))]),
        Layer(kind="linear", parameters=[Parameter(name="b", shape=(1, 8))], inputs=(0,)),
    ]
    architecture = Architecture(layers=layers)
    graph = graph_of(architecture)
    assert edges(architecture, graph) == {"a": ({1: 8}, {0: 2}), "b": ({2: 1}, {1: 8})}


def test_a_map_for_each_head_reads_the_head_that_it_belongs_to():
    """``(heads, inner, stream)`` as it stands in an einsum: no convolution, and nested all the same."""
    groups = [
        Group(name="heads", size=2),
        Group(name="stream", size=3),
        Group(name="inner", size=4, parent="heads"),
    ]
    axes = ((("heads",),), (("inner",),), (("stream",),))
    layers = [
        Layer(
            kind="linear",
            parameters=[Parameter(name="a", shape=(3, 5), axes=((("stream",),), ((5,),)))],
        ),
        Layer(kind="parameter", parameters=[Parameter(name="b", shape=(2, 4, 3), axes=axes)], inputs=(0,)),
    ]
    architecture = Architecture(layers=layers, groups=groups)
    graph = graph_of(architecture)
    assert edges(architecture, graph)["b"] == ({2: 8, 3: 8}, {1: 3})
    assert nodes(graph.steps[1].written, 3) == list(range(8))
