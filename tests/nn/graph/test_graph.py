"""The graph of a network is checked by hand for known networks, and is complete for any network."""

import doctest
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from attrs import evolve
from networks import NETWORKS
from sneframe_sne import message
from torch import nn

from sneframe.architecture import Architecture, Layer, NeuronGroup, Parameter
from sneframe.architecture.layer import INPUT
from sneframe.nn import graph as graph_package
from sneframe.nn.graph.graph import BEHIND, KERNEL, SEGMENT
from sneframe.nn.graph.graph_builder import graph_of
from sneframe.testing import mlp


def of_network(name):
    make, example = NETWORKS[name]
    torch.manual_seed(0)
    return Architecture.from_module(make(), example)


def of_state(module):
    """Describe a network by names and shapes alone, where these leave doubt."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Architecture.from_state_dict(module.state_dict())


def node_sets(graph):
    """Return the size of every node set, and whether it is a fixed axis or a group."""
    return [(node_set.size, "fixed" if node_set.fixed else "group") for node_set in graph.node_sets]


def by_parameter(architecture, graph):
    """Return by the names of parameter and vectors the number of targets and of sources in each node set."""
    names = [parameter.name for parameter in architecture.parameters]

    def counts(slots):
        return {held.node_set: len(held.slots) for held in slots.nodes} if slots is not None else {}

    return {
        " ".join(
            names[n] for n in ([] if edges.parameter is None else [edges.parameter]) + list(edges.vectors)
        ): (
            counts(edges.targets),
            counts(edges.sources),
        )
        for edges in graph.edges
    }


def edges_of(architecture, graph, name):
    """Return the edges of the parameter with this name."""
    numbers = {parameter.name: number for number, parameter in enumerate(architecture.parameters)}
    return next(edges for edges in graph.edges if edges.parameter == numbers[name])


def coordinates_of(slots):
    """Return the coordinates that some slot has."""
    return {axis for axis in range(6) if not np.isnan(slots.coordinates[:, axis]).all()}


def nodes(slots, node_set):
    """Return the node of a node set that each slot holds, in the order of the slots."""
    (held,) = [held for held in slots.nodes if held.node_set == node_set]
    return held.nodes[np.argsort(held.slots, kind="stable")].tolist()


# -- any network ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("describe", ["module", "state dict"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_in_the_graph_once(name, describe):
    """Each parameter is the weights or a vector of exactly one ``Edges``, and is recorded at a node set."""
    torch.manual_seed(0)
    architecture = of_network(name) if describe == "module" else of_state(NETWORKS[name][0]())
    graph = graph_of(architecture)
    found = Counter(
        number
        for edges in graph.edges
        for number in (*([] if edges.parameter is None else [edges.parameter]), *edges.vectors)
    )
    assert found == dict.fromkeys(range(len(architecture.parameters)), 1)
    written = Counter(number for node_set in graph.node_sets for number in set(node_set.parameters))
    assert set(written) == set(found)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_an_edge_or_lies_on_a_target(name):
    """There are as many edges as weights in a matrix, and as many targets as weights in a vector."""
    architecture = of_network(name)
    for edges in graph_of(architecture).edges:
        for number in edges.vectors:
            assert architecture.parameters[number].size == edges.targets.size
        if edges.parameter is not None:
            sources = 1 if edges.sources is None else edges.sources.size
            count = sources if edges.own_sources else edges.targets.size * sources
            assert architecture.parameters[edges.parameter].size == count
            assert sorted(edges.order) == list(range(len(edges.shape)))


@pytest.mark.parametrize("name", NETWORKS)
def test_nodes_of_a_group_are_held_equally_often(name):
    """Slots hold every node of a group equally often, and no slot holds two nodes of one set."""
    graph = graph_of(of_network(name))
    ends = [slots for edges in graph.edges for slots in (edges.targets, edges.sources) if slots is not None]
    for slots in ends:
        for held in slots.nodes:
            counts = np.bincount(held.nodes, minlength=graph.node_sets[held.node_set].size)
            if not graph.node_sets[held.node_set].fixed:
                assert len(set(counts)) == 1
            assert len(set(held.slots)) == len(held.slots)


# -- known networks ------------------------------------------------------------------------------------------


def test_an_mlp_is_a_chain_of_node_sets():
    """Each layer has one node set, and its weight and bias lead to it from the set before."""
    architecture = mlp(2, 5, 4, 3)
    graph = graph_of(architecture)
    assert node_sets(graph) == [(2, "fixed"), (5, "group"), (4, "group"), (3, "fixed")]
    assert by_parameter(architecture, graph) == {
        "0.weight 0.bias": ({1: 5}, {0: 2}),
        "1.weight 1.bias": ({2: 4}, {1: 5}),
        "2.weight 2.bias": ({3: 3}, {2: 4}),
    }
    assert [node_set.parameters for node_set in graph.node_sets] == [(), (0, 1), (2, 3), (4, 5)]


def test_an_input_of_one_number_has_no_node():
    """A network with a single input reads from no node set."""
    graph = graph_of(mlp(1, 5, 1))
    assert node_sets(graph) == [(5, "group"), (1, "fixed")]
    assert graph.edges[0].sources is None


def test_a_bottleneck_of_one_neuron_is_a_source():
    """A hidden layer of one neuron is a node set, although the next layer reads a single number."""
    net = nn.Sequential(
        nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1), nn.Tanh(), nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 2)
    )
    architecture = Architecture.from_module(net)
    assert by_parameter(architecture, graph_of(architecture))["4.weight 4.bias"] == ({3: 4}, {2: 1})


def test_a_channel_is_in_a_slot_for_each_kernel_position():
    """The sources of a 3 × 3 convolution hold each channel nine times, with two coordinates."""
    architecture = of_network("small-cnn")
    graph = graph_of(architecture)
    assert node_sets(graph) == [(16, "group"), (16, "group"), (16, "group"), (10, "fixed")]
    assert by_parameter(architecture, graph) == {
        "convs.0.weight convs.0.bias": ({0: 16}, {}),
        "convs.1.weight convs.1.bias": ({1: 16}, {0: 144}),
        "convs.2.weight convs.2.bias": ({2: 16}, {1: 144}),
        "head.weight head.bias": ({3: 10}, {2: 16}),
    }
    read = graph.edges[1].sources
    assert coordinates_of(read) == {KERNEL, KERNEL + 1}
    assert nodes(read, 0) == [channel for channel in range(16) for _ in range(9)]
    third = [-2 / 3, 0, 2 / 3]
    assert np.allclose(read.coordinates[:9, KERNEL:][:, :2], [[a, b] for a in third for b in third])
    assert graph.edges[0].sources.size == 9  # the kernel positions of the grey input, which has no node


def test_a_flattened_map_is_read_channel_by_channel():
    """The linear layer after ``Flatten`` has one source for each position of each channel."""
    architecture = of_network("lenet")
    graph = graph_of(architecture)
    assert node_sets(graph) == [(6, "group"), (16, "group"), (20, "group"), (10, "fixed")]
    assert by_parameter(architecture, graph)["7.weight 7.bias"] == ({2: 20}, {1: 256})
    read = edges_of(architecture, graph, "7.weight").sources
    assert coordinates_of(read) == {BEHIND}
    assert nodes(read, 1) == [channel for channel in range(16) for _ in range(16)]
    assert np.allclose(read.coordinates[16:32, BEHIND], (2 * np.arange(16) + 1) / 16 - 1)


def test_a_residual_stream_is_one_node_set():
    """The edges of all layers that add to a residual stream lead to the same node set."""
    architecture = of_network("resnet18")
    graph = graph_of(architecture)
    found = by_parameter(architecture, graph)
    groups = [4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32]
    assert sorted(node_sets(graph)) == sorted([(3, "fixed"), *((n, "group") for n in groups), (10, "fixed")])
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


def test_each_channel_of_a_depthwise_convolution_reads_itself():
    """The edges of a depthwise convolution lead from every channel to the same channel."""
    architecture = of_network("separable")
    graph = graph_of(architecture)
    assert node_sets(graph) == [(3, "fixed"), (8, "group"), (12, "group"), (4, "fixed")]
    edges = edges_of(architecture, graph, "3.weight")
    assert edges.own_sources
    assert nodes(edges.targets, 1) == list(range(8))
    assert nodes(edges.sources, 1) == [channel for channel in range(8) for _ in range(9)]
    assert not edges_of(architecture, graph, "6.weight").own_sources


def test_a_grouped_convolution_reads_its_own_block():
    """Each of six outputs in three blocks of two reads its block of four of the twelve channels."""
    architecture = of_network("grouped")
    graph = graph_of(architecture)
    assert node_sets(graph) == [(3, "fixed"), (3, "group"), (12, "group"), (6, "group"), (2, "fixed")]
    edges = edges_of(architecture, graph, "3.weight")
    assert edges.own_sources
    assert nodes(edges.targets, 1) == [0, 0, 1, 1, 2, 2]
    expected = [4 * (output // 2) + channel for output in range(6) for channel in range(4) for _ in range(9)]
    assert nodes(edges.sources, 2) == expected


class Transposed(nn.Sequential):
    """Six channels pass one by one, then in two blocks of 3 → 2, and then all four lead to one."""

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


def test_a_transposed_convolution_reads_its_own_block():
    """The first axis of a grouped transposed kernel is split into blocks, and each output reads its block."""
    architecture = Architecture.from_module(Transposed(), torch.randn(2, 3, 8, 8))
    graph = graph_of(architecture)
    assert node_sets(graph) == [(3, "fixed"), (2, "group"), (6, "group"), (4, "group"), (1, "fixed")]
    edges = edges_of(architecture, graph, "2.weight")
    assert nodes(edges.targets, 2) == list(range(6))
    assert nodes(edges.sources, 2) == [channel for channel in range(6) for _ in range(4)]
    edges = edges_of(architecture, graph, "4.weight")
    assert nodes(edges.targets, 3) == [0, 1, 2, 3]
    assert nodes(edges.sources, 2) == [3 * (o // 2) + i for o in range(4) for i in range(3) for _ in range(4)]
    # The axes are block, input in the block, output in the block, and two of the kernel.
    assert edges.shape == (2, 3, 2, 2, 2)
    assert edges.order == (0, 2, 1, 3, 4)
    assert by_parameter(architecture, graph)["6.weight"] == ({4: 1}, {1: 16, 3: 16})


def test_a_depthwise_multiplier_reads_its_channel():
    """With two outputs for each channel, both read the channel that they are computed from."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1, groups=4), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )
    architecture = Architecture.from_module(net, torch.randn(2, 3, 4, 4))
    graph = graph_of(architecture)
    assert node_sets(graph) == [(3, "fixed"), (4, "group"), (8, "group"), (2, "fixed")]
    assert nodes(edges_of(architecture, graph, "2.weight").sources, 1) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_sources_of_a_concatenation_are_two_node_sets():
    """A layer that reads a concatenation has sources from both node sets, with different segments."""
    architecture = of_network("unet")
    graph = graph_of(architecture)
    down1, down2, _, up2, _, up1, _, _ = range(8)
    assert node_sets(graph) == [(n, "group") for n in (4, 8, 12, 8, 8, 4, 4)] + [(2, "fixed")]
    found = by_parameter(architecture, graph)
    assert found["up2.weight up2.bias"] == ({up2: 8}, {2: 48})
    assert found["conv2.0.weight conv2.0.bias"] == ({4: 8}, {up2: 72, down2: 72})
    assert found["conv1.0.weight conv1.0.bias"] == ({6: 4}, {up1: 36, down1: 36})
    edges = edges_of(architecture, graph, "conv1.0.weight")
    first = {held.node_set: int(held.slots.min()) for held in edges.sources.nodes}
    assert first == {up1: 0, down1: 36}  # torch.cat([up1, down1])
    assert SEGMENT in coordinates_of(edges.sources)


@pytest.mark.parametrize("name", ["vit", "gpt"])
def test_attention_has_nodes_for_heads_keys_and_values(name):
    """Queries and keys share nodes, each slot also holds its head, and heads and values are read."""
    architecture = of_network(name)
    graph = graph_of(architecture)
    found = by_parameter(architecture, graph)
    stem = "blocks.0.attention"
    written, read = found[f"{stem}.qkv.weight {stem}.qkv.bias"]
    (stream,) = read
    assert (graph.node_sets[stream].size, read[stream]) == (12, 12)
    heads, inner, values = written
    assert [(graph.node_sets[s].size, written[s]) for s in written] == [(3, 36), (12, 24), (12, 12)]
    assert found[f"{stem}.proj.weight {stem}.proj.bias"] == ({stream: 12}, {heads: 12, values: 12})
    edges = edges_of(architecture, graph, f"{stem}.qkv.weight")
    assert nodes(edges.targets, heads) == [head for _ in range(3) for head in range(3) for _ in range(4)]
    assert nodes(edges.targets, inner) == [*range(12), *range(12)]
    assert coordinates_of(edges.targets) == {SEGMENT}


def test_a_token_is_a_vector_and_positions_are_sources():
    """A class token is a vector on the stream; position embeddings lead to it from a fixed node set."""
    architecture = of_network("vit")
    graph = graph_of(architecture)
    found = by_parameter(architecture, graph)
    ((stream, _),) = found["token"][0].items()
    assert found["token"] == ({stream: 12}, {})
    (places,) = found["position"][1]
    assert found["position"] == ({stream: 12}, {places: 17})
    assert node_sets(graph)[places] == (17, "fixed")


def test_the_gates_of_a_gru_are_slots_of_one_node():
    """Each neuron of a GRU is held by three slots, one for each gate, with different segments."""
    architecture = of_network("gru")
    graph = graph_of(architecture)
    assert node_sets(graph) == [(9, "fixed"), (5, "group"), (6, "group"), (3, "fixed")]
    assert by_parameter(architecture, graph) == {
        "words.weight": ({1: 5}, {0: 9}),
        "rnn.weight_ih_l0 rnn.bias_ih_l0 rnn.bias_hh_l0": ({2: 18}, {1: 5}),
        "rnn.weight_hh_l0": ({2: 18}, {2: 6}),
        "head.weight head.bias": ({3: 3}, {2: 6}),
    }
    written = edges_of(architecture, graph, "rnn.weight_hh_l0").targets
    assert nodes(written, 2) == [*range(6)] * 3
    assert np.allclose(written.coordinates[:, SEGMENT], np.repeat([-2 / 3, 0, 2 / 3], 6))


def test_values_shared_by_heads_are_read_with_each_head():
    """A value is in one slot of each of two heads. Keys are rotated, so their node set is fixed."""
    architecture = of_network("llama")
    graph = graph_of(architecture)
    words, stream, heads, keys, values, gated, logits = range(7)
    assert node_sets(graph) == [
        *((7, "fixed"), (8, "group"), (2, "group"), (4, "fixed"), (4, "group"), (12, "group"), (7, "fixed"))
    ]
    assert by_parameter(architecture, graph) == {
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
    read = edges_of(architecture, graph, "o.weight").sources
    assert nodes(read, heads) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert nodes(read, values) == [0, 1, 2, 3, 0, 1, 2, 3]


# -- networks without neuron groups --------------------------------------------------------------------------


def test_without_groups_sizes_connect_the_layers():
    """Sizes alone show what a batch norm rescales, what a depthwise layer reads, and what was flattened."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 6, 3, groups=2)),
        *(nn.Flatten(), nn.Linear(24, 5)),
    )
    architecture = of_state(net)
    graph = graph_of(architecture)
    assert architecture.groups == ()
    assert node_sets(graph) == [(3, "fixed"), (4, "fixed"), (8, "fixed"), (6, "fixed"), (5, "fixed")]
    assert by_parameter(architecture, graph) == {
        "0.weight 0.bias": ({1: 4}, {0: 27}),
        "1.weight 1.bias 1.running_mean 1.running_var": ({1: 4}, {}),
        "2.weight 2.bias": ({2: 8}, {1: 72}),
        "3.weight 3.bias": ({3: 6}, {2: 216}),
        "5.weight 5.bias": ({4: 5}, {3: 24}),
    }
    assert nodes(edges_of(architecture, graph, "2.weight").sources, 1)[::9] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (
        nodes(edges_of(architecture, graph, "3.weight").sources, 2)[::9]
        == [*range(4)] * 3 + [*range(4, 8)] * 3
    )
    assert nodes(edges_of(architecture, graph, "5.weight").sources, 3) == [
        c for c in range(6) for _ in range(4)
    ]


def test_without_groups_all_node_sets_are_fixed():
    """A GRU without neuron groups has fixed node sets only."""
    graph = graph_of(of_state(NETWORKS["gru"][0]()))
    assert all(node_set.fixed for node_set in graph.node_sets)


def test_segments_without_groups_are_one_node_set():
    """Rows in two fixed segments of four are eight nodes, not four in two slots each."""
    rows = ((4,), (4,))
    layers = [
        Layer(kind="linear", parameters=[Parameter(name="a", shape=(8, 2), axes=(rows, ((2,),)))]),
        Layer(kind="linear", parameters=[Parameter(name="b", shape=(1, 8))], inputs=(0,)),
    ]
    architecture = Architecture(layers=layers)
    graph = graph_of(architecture)
    assert by_parameter(architecture, graph) == {"a": ({1: 8}, {0: 2}), "b": ({2: 1}, {1: 8})}


def test_a_map_for_each_head_leads_to_its_head():
    """The targets of an einsum parameter ``(heads, inner, stream)`` hold the head and the neuron in it."""
    groups = [
        NeuronGroup(name="heads", size=2),
        NeuronGroup(name="stream", size=3),
        NeuronGroup(name="inner", size=4, parent="heads"),
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
    assert by_parameter(architecture, graph)["b"] == ({2: 8, 3: 8}, {1: 3})
    assert nodes(graph.edges[1].targets, 3) == list(range(8))


@pytest.mark.parametrize("package", [graph_package, message])
def test_the_worked_example_of_the_package_is_true(package):
    """The example in the package's docstring runs and prints what it says."""
    result = doctest.testmod(package)
    assert result.attempted > 5
    assert result.failed == 0


def test_a_named_input_of_the_network_changes_nothing():
    """The first layer may say that it reads the input of the network, or leave it out."""
    left_out = mlp(2, 4, 3, 1)
    first, *others = left_out.layers
    named = evolve(left_out, layers=[evolve(first, inputs=(INPUT,)), *others])
    graphs = [graph_of(architecture) for architecture in (left_out, named)]
    assert node_sets(graphs[0]) == node_sets(graphs[1])
    assert by_parameter(left_out, graphs[0]) == by_parameter(named, graphs[1])
