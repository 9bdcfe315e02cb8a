"""The groups of known networks are derived as written by hand, and wrong groups are refused."""

import re
from itertools import combinations

import pytest
import torch
from attrs import evolve
from networks import NETWORKS, TOKENS, ResNet
from torch import nn

from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError
from sneframe.symmetry import verify


def derived(name):
    make, example = NETWORKS[name]
    torch.manual_seed(0)
    module = make()
    return module, Architecture.from_module(module, example), example


def members(architecture):
    """Return the axes of each group, as ``parameter:axis``."""
    named_axes = {group.name: set() for group in architecture.groups}
    for parameter in architecture.parameters:
        for axis, segments in enumerate(parameter.axes):
            for segment in segments:
                for factor in segment:
                    if isinstance(factor, str):
                        named_axes[factor].add(f"{parameter.name}:{axis}")
    return named_axes


def groups(architecture):
    """Return the size and the axes of each group, and the axes of its parent, without names of groups."""
    named_axes = members(architecture)
    return sorted(
        (g.size, sorted(named_axes[g.name]), sorted(named_axes.get(g.parent, ())))
        for g in architecture.groups
    )


def norm(name, *, running=True):
    last = ("weight", "bias", "running_mean", "running_var") if running else ("weight", "bias")
    return [f"{name}.{word}:0" for word in last]


def expect(*described):
    return sorted((size, sorted(named_axes), sorted(parent)) for size, named_axes, parent in described)


def plain(size, *named_axes):
    return (
        size,
        [named_axis for each in named_axes for named_axis in ([each] if isinstance(each, str) else each)],
        [],
    )


def test_small_cnn_zoo_network_has_three_groups_of_sixteen():
    """The network of the Small CNN Zoo has one group of 16 channels for each convolution."""
    _, architecture, _ = derived("small-cnn")
    assert groups(architecture) == expect(
        plain(16, "convs.0.weight:0", "convs.0.bias:0", "convs.1.weight:1"),
        plain(16, "convs.1.weight:0", "convs.1.bias:0", "convs.2.weight:1"),
        plain(16, "convs.2.weight:0", "convs.2.bias:0", "head.weight:1"),
    )


def test_lenet_reads_flattened_channels_as_blocks():
    """LeNet has three groups; its first linear layer reads 16 columns of each flattened channel."""
    _, architecture, _ = derived("lenet")
    assert groups(architecture) == expect(
        plain(6, "0.weight:0", "0.bias:0", "3.weight:1"),
        plain(16, "3.weight:0", "3.bias:0", "7.weight:1"),
        plain(20, "7.weight:0", "7.bias:0", "9.weight:1"),
    )
    columns = next(p for p in architecture.parameters if p.name == "7.weight").axes[1]
    assert columns == (("hidden1", 16),)


def test_batch_norm_belongs_to_the_channels_before_it():
    """The parameters of a batch norm are in the group of the channels before it."""
    _, architecture, _ = derived("vgg")
    assert groups(architecture) == expect(
        plain(8, "0.weight:0", "0.bias:0", norm("1"), "4.weight:1"),
        plain(16, "4.weight:0", "4.bias:0", norm("5"), "7.weight:1"),
        plain(16, "7.weight:0", "7.bias:0", norm("8"), "13.weight:1"),
        plain(24, "13.weight:0", "13.bias:0", "16.weight:1"),
    )


def stages(blocks, convs):
    """Return the streams of a residual network: the axes that write to each, and those that read it."""
    streams = [["stem.0.weight:0", *norm("stem.1")]]
    for number, has_shortcut in enumerate(blocks):
        name = f"blocks.{number}"
        streams[-1].append(f"{name}.conv1.weight:1")
        if has_shortcut:
            streams[-1].append(f"{name}.shortcut.0.weight:1")
            streams.append([f"{name}.shortcut.0.weight:0", *norm(f"{name}.shortcut.1")])
        streams[-1] += [f"{name}.conv{convs}.weight:0", *norm(f"{name}.bn{convs}")]
    streams[-1].append("head.weight:1")
    return streams


def test_resnet18_has_four_streams_and_eight_inner_groups():
    """A ResNet-18 has one group for each stage of its stream, and one within each block."""
    _, architecture, _ = derived("resnet18")
    widths = (4, 8, 16, 32)
    streams = stages((False, False, True, False, True, False, True, False), convs=2)
    inner = [
        plain(width, f"blocks.{b}.conv1.weight:0", norm(f"blocks.{b}.bn1"), f"blocks.{b}.conv2.weight:1")
        for stage, width in enumerate(widths)
        for b in (2 * stage, 2 * stage + 1)
    ]
    expected = [
        *(plain(width, named_axes) for width, named_axes in zip(widths, streams, strict=True)),
        *inner,
    ]
    assert len(expected) == 12
    assert groups(architecture) == expect(*expected)


def test_bottleneck_resnet_has_five_streams():
    """Its first block widens the channels, so the stem has a stream of its own; each block has two groups."""
    _, architecture, _ = derived("bottleneck")
    widths = (4, 16, 32, 64, 128)
    streams = stages((True, False, True, False, True, False, True, False), convs=3)
    inner = [
        plain(
            (4, 8, 16, 32)[b // 2],
            f"blocks.{b}.conv{conv}.weight:0",
            norm(f"blocks.{b}.bn{conv}"),
            f"blocks.{b}.conv{conv + 1}.weight:1",
        )
        for b in range(8)
        for conv in (1, 2)
    ]
    expected = [
        *(plain(width, named_axes) for width, named_axes in zip(widths, streams, strict=True)),
        *inner,
    ]
    assert groups(architecture) == expect(*expected)


def test_depthwise_convolution_shares_the_group_it_reads():
    """A depthwise convolution is in the group of the channels that it reads."""
    _, architecture, _ = derived("separable")
    assert groups(architecture) == expect(
        plain(8, "0.weight:0", "0.bias:0", norm("1"), "3.weight:0", "3.bias:0", norm("4"), "6.weight:1"),
        plain(12, "6.weight:0", "6.bias:0", "10.weight:1"),
    )


def test_grouped_convolution_moves_whole_blocks():
    """Blocks of a grouped convolution are a group, with nested groups for inputs and outputs."""
    _, architecture, _ = derived("grouped")
    blocks = ["0.weight:0", "0.bias:0", *norm("1", running=False), "3.weight:0", "3.bias:0", "7.weight:1"]
    inputs = ["0.weight:0", "0.bias:0", *norm("1", running=False), "3.weight:1"]
    outputs = ["3.weight:0", "3.bias:0", "7.weight:1"]
    assert groups(architecture) == expect((3, blocks, []), (4, inputs, blocks), (2, outputs, blocks))


def transformer(blocks, stream, attention, *, width, heads):
    """Return one stream; and for each block, heads, queries with keys, values with outputs, and an MLP."""
    expected = [(width, stream, [])]
    for block in blocks:
        qkv, out, mlp1, mlp2 = attention(block)
        rows = [f"{qkv}weight:0", f"{qkv}bias:0"]
        expected += [
            (heads, [*rows, f"{out}.weight:1"], []),
            (width // heads, rows, [*rows, f"{out}.weight:1"]),
            (width // heads, [*rows, f"{out}.weight:1"], [*rows, f"{out}.weight:1"]),
            (mlp1[1], [f"{mlp1[0]}.weight:0", f"{mlp1[0]}.bias:0", f"{mlp2}.weight:1"], []),
        ]
    return expect(*expected)


def stream_of(block, qkv):
    attention = f"{block}.attention"
    return [
        *norm(f"{block}.norm1", running=False),
        *norm(f"{block}.norm2", running=False),
        f"{attention}.{qkv}.weight:1",
        f"{attention}.proj.weight:0",
        f"{attention}.proj.bias:0",
        f"{block}.mlp.0.weight:1",
        f"{block}.mlp.2.weight:0",
        f"{block}.mlp.2.bias:0",
    ]


def parts_of(block):
    return f"{block}.attention.qkv.", f"{block}.attention.proj", (f"{block}.mlp.0", 24), f"{block}.mlp.2"


def test_vision_transformer_groups():
    """A ViT has one stream; each block has heads, queries with keys, values with outputs, and an MLP."""
    _, architecture, _ = derived("vit")
    blocks = ["blocks.0", "blocks.1"]
    stream = [
        "patch.weight:0",
        "patch.bias:0",
        "token:2",
        "position:2",
        *norm("norm", running=False),
        "head.weight:1",
    ]
    stream += [named_axis for block in blocks for named_axis in stream_of(block, "qkv")]
    assert groups(architecture) == transformer(blocks, stream, parts_of, width=12, heads=3)


def test_gpt_groups_and_tied_table():
    """A GPT has the groups of a ViT, and its tied embedding table is described once."""
    _, architecture, _ = derived("gpt")
    blocks = ["blocks.0", "blocks.1"]
    stream = ["words.weight:1", "positions.weight:1", *norm("norm", running=False)]
    stream += [named_axis for block in blocks for named_axis in stream_of(block, "qkv")]
    assert groups(architecture) == transformer(blocks, stream, parts_of, width=12, heads=3)
    assert architecture.layers[0].attributes["tied"] == {"head.weight": "words.weight"}


def test_torch_transformer_encoder_groups():
    """``nn.TransformerEncoder`` has the same groups as a hand-written transformer."""
    _, architecture, _ = derived("transformer-encoder")
    blocks = ["1.layers.0", "1.layers.1"]
    stream = ["0.weight:0", "0.bias:0", "2.weight:1"]
    for block in blocks:
        stream += [*norm(f"{block}.norm1", running=False), *norm(f"{block}.norm2", running=False)]
        stream += [f"{block}.self_attn.in_proj_weight:1", f"{block}.linear1.weight:1"]
        stream += [
            f"{block}.{name}.{word}:0"
            for name in ("self_attn.out_proj", "linear2")
            for word in ("weight", "bias")
        ]
    parts = {
        block: (
            f"{block}.self_attn.in_proj_",
            f"{block}.self_attn.out_proj",
            (f"{block}.linear1", 16),
            f"{block}.linear2",
        )
        for block in blocks
    }
    assert groups(architecture) == transformer(blocks, stream, parts.get, width=12, heads=3)


def recurrent(suffix, *readers):
    rows = [f"rnn.{word}_{suffix}:0" for word in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    return plain(6, rows, f"rnn.weight_hh_{suffix}:1", *readers)


def test_gates_of_a_gru_share_one_group():
    """The three gates of a GRU share the group of its state."""
    _, architecture, _ = derived("gru")
    assert groups(architecture) == expect(
        plain(5, "words.weight:1", "rnn.weight_ih_l0:1"), recurrent("l0", "head.weight:1")
    )
    rows = next(p for p in architecture.parameters if p.name == "rnn.weight_hh_l0").axes[0]
    assert rows == (("hidden1",),) * 3


def test_bidirectional_lstm_groups():
    """A bidirectional LSTM has one group for each layer and direction."""
    _, architecture, _ = derived("lstm")
    readers = ("rnn.weight_ih_l1:1", "rnn.weight_ih_l1_reverse:1")
    assert groups(architecture) == expect(
        plain(5, "words.weight:1", "rnn.weight_ih_l0:1", "rnn.weight_ih_l0_reverse:1"),
        recurrent("l0", *readers),
        recurrent("l0_reverse", *readers),
        recurrent("l1", "head.weight:1"),
        recurrent("l1_reverse", "head.weight:1"),
    )


def test_concatenated_channels_become_segments():
    """A layer after a concatenation in a U-Net has one segment for each part."""
    _, architecture, _ = derived("unet")
    assert groups(architecture) == expect(
        plain(4, "down1.0.weight:0", "down1.0.bias:0", "down2.0.weight:1", "conv1.0.weight:1"),
        plain(8, "down2.0.weight:0", "down2.0.bias:0", "middle.0.weight:1", "conv2.0.weight:1"),
        plain(12, "middle.0.weight:0", "middle.0.bias:0", "up2.weight:0"),
        plain(8, "up2.weight:1", "up2.bias:0", "conv2.0.weight:1"),
        plain(8, "conv2.0.weight:0", "conv2.0.bias:0", "up1.weight:0"),
        plain(4, "up1.weight:1", "up1.bias:0", "conv1.0.weight:1"),
        plain(4, "conv1.0.weight:0", "conv1.0.bias:0", "head.weight:1"),
    )


def test_two_branches_have_one_group_each():
    """Two branches that are concatenated have a group each."""
    _, architecture, _ = derived("two-branches")
    assert groups(architecture) == expect(
        plain(8, "left.0.weight:0", "left.0.bias:0", "joint.weight:1"),
        plain(6, "right.0.weight:0", "right.0.bias:0", "joint.weight:1"),
        plain(7, "joint.weight:0", "joint.bias:0", "head.weight:1"),
    )


def test_llama_fixes_rotated_neurons():
    """Rotary positions fix queries and keys within a head; values shared by all heads are one group."""
    _, architecture, _ = derived("llama")
    heads = plain(2, "q.weight:0", "q.bias:0", "o.weight:1")
    values = plain(4, "v.weight:0", "v.bias:0", "o.weight:1")
    mlp = plain(12, "gate.weight:0", "up.weight:0", "down.weight:1")
    reads = [f"{name}.weight:1" for name in ("q", "k", "v", "gate", "up", "head")]
    stream = plain(8, "words.weight:1", "norm.weight:0", "o.weight:0", "o.bias:0", "down.weight:0", reads)
    assert groups(architecture) == expect(heads, values, mlp, stream)


def test_torchvision_resnet18_groups():
    """The ResNet-18 of torchvision has four streams and eight groups within blocks."""
    models = pytest.importorskip("torchvision").models
    architecture = Architecture.from_module(models.resnet18(), torch.randn(1, 3, 64, 64))
    assert sorted(g.size for g in architecture.groups) == [64] * 3 + [128] * 3 + [256] * 3 + [512] * 3


# -- verify --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_derived_groups_are_verified(name):
    """Every group of every known network is verified, and the module is not changed."""
    module, architecture, example = derived(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    seen = verify(module, architecture, example)
    assert seen.error <= 1e-10
    assert seen.groups == len(architecture.groups)
    assert seen.moved > 0.5
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def replace(architecture, name, axes):
    """Return an architecture with other axes for one parameter."""
    layers = [
        evolve(
            layer,
            parameters=[
                evolve(p, axes=axes, scale=(), sign=()) if p.name == name else p for p in layer.parameters
            ],
        )
        for layer in architecture.layers
    ]
    return evolve(architecture, layers=layers)


def permuting(architecture):
    """Return an architecture without scales and signs."""
    layers = [
        evolve(layer, parameters=[evolve(p, scale=(), sign=()) for p in layer.parameters])
        for layer in architecture.layers
    ]
    return evolve(
        architecture,
        layers=layers,
        groups=[evolve(group, actions=("permute",)) for group in architecture.groups],
    )


def without(axis, groups):
    sizes = {group.name: group.size for group in groups}
    return tuple(tuple(sizes.get(factor, factor) for factor in segment) for segment in axis)


@pytest.mark.parametrize("name", NETWORKS)
def test_architecture_with_one_axis_fixed_is_refused(name):
    """An architecture in which one axis of a group is fixed is refused."""
    module, architecture, example = derived(name)
    architecture = permuting(architecture)
    dropped = {}
    for parameter in architecture.parameters:
        for number, axis in enumerate(parameter.axes):
            fixed = without(axis, architecture.groups)
            if fixed != axis:
                kind = re.sub(r"\d+", "#", f"{parameter.name}:{number}")
                dropped[kind] = (
                    parameter.name,
                    (*parameter.axes[:number], fixed, *parameter.axes[number + 1 :]),
                )
    for parameter, axes in dropped.values():
        with pytest.raises(ArchitectureError, match=r"no symmetry|moves no weight|occurs \d times"):
            verify(module, replace(architecture, parameter, axes), example)


@pytest.mark.parametrize("name", NETWORKS)
def test_architecture_with_swapped_groups_is_refused(name):
    """An architecture in which two groups are swapped in one parameter is refused."""
    module, architecture, example = derived(name)
    architecture = permuting(architecture)
    alike = [
        (a.name, b.name)
        for a, b in combinations(architecture.groups, 2)
        if a.size == b.size and a.parent == b.parent and a.size > 2
    ]
    for a, b in alike[:3]:
        swap = {a: b, b: a}
        named_axes = members(architecture)
        only = sorted(
            {named_axis.rpartition(":")[0] for named_axis in named_axes[a]}
            - {p.rpartition(":")[0] for p in named_axes[b]}
        )
        if not only:  # both groups are on the fused projection
            continue
        parameter = next(p for p in architecture.parameters if p.name == only[0])
        axes = tuple(
            tuple(tuple(swap.get(factor, factor) for factor in segment) for segment in axis)
            for axis in parameter.axes
        )
        with pytest.raises(ArchitectureError, match=r"no symmetry|occurs 0 times"):
            verify(module, replace(architecture, parameter.name, axes), example)


def test_architecture_of_another_module_is_refused():
    """An architecture with other shapes than the module is refused."""
    module, _, example = derived("lenet")
    with pytest.raises(ArchitectureError, match="is described as"):
        verify(module, Architecture.from_module(nn.Sequential(nn.Conv2d(1, 5, 5))), example)


def test_wrong_scale_is_refused():
    """A scale that holds for ReLU is refused for tanh."""
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    relu = Architecture.from_module(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))
    assert relu.groups[0].actions == ("permute", "scale")
    with pytest.raises(ArchitectureError, match="'hidden0' changes the outputs"):
        verify(network, relu, torch.randn(4, 3))


def test_resnet_groups_do_not_depend_on_image_size():
    """A ResNet has the same layers and groups for images of any size."""
    torch.manual_seed(0)
    module = ResNet()
    given = Architecture.from_module(module, torch.randn(1, 3, 96, 64))
    assert Architecture.from_module(module) == evolve(given, input_shapes=())


def test_gpt_groups_do_not_depend_on_token_count():
    """A GPT has the same groups and the same axes for any number of tokens."""
    make, _ = NETWORKS["gpt"]
    module = make()
    long, short = (Architecture.from_module(module, tokens) for tokens in (TOKENS, TOKENS[:1, :2]))
    assert long.groups == short.groups
    assert long.parameters == short.parameters
