from __future__ import annotations

import pytest
import torch
from sneframe_formats.kernel_order import in_torch_order, says_kernel, without_collections
from torch import Tensor, nn
from torch.nn import functional

from sneframe.errors import FileError


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_a_linear_kernel_is_transposed() -> None:
    """A linear kernel (in, out) becomes a weight (out, in) that computes the same, before its bias."""
    kernel, bias, x = torch.randn(3, 5), torch.randn(5), torch.randn(2, 3)
    found, notes = in_torch_order({"a.bias": bias, "a.kernel": kernel})
    assert list(found) == ["a.weight", "a.bias"]
    assert torch.allclose(functional.linear(x, found["a.weight"], found["a.bias"]), x @ kernel + bias)
    assert len(notes) == 1
    assert "(out, in, …)" in notes[0]


@pytest.mark.parametrize("spatial", [(3,), (3, 2), (3, 2, 4)])
def test_convolution_kernels_get_torchs_order(spatial: tuple[int, ...]) -> None:
    """A convolution (…, in, out) of one to three spatial axes becomes (out, in, …)."""
    kernel = torch.randn(*spatial, 5, 7)
    found, _ = in_torch_order({"c.kernel": kernel, "c.bias": torch.zeros(7)})
    assert torch.equal(found["c.weight"], kernel.movedim(-1, 0).movedim(-1, 1))


def test_a_depthwise_kernel_is_known_by_its_bias() -> None:
    """A depthwise kernel (h, w, channels, multiplier) has one bias for each channel and multiplier."""
    kernel = torch.randn(3, 3, 4, 2)
    found, _ = in_torch_order({"c.kernel": kernel, "c.bias": torch.zeros(8)})
    assert found["c.weight"].shape == (8, 1, 3, 3)
    assert torch.equal(found["c.weight"][5, 0], kernel[..., 2, 1])


def test_a_separable_convolution_becomes_two_layers() -> None:
    """The two kernels of a separable convolution become a depthwise and a pointwise layer."""
    tensors = {
        "s.depthwise_kernel": torch.zeros(3, 3, 4, 2),
        "s.pointwise_kernel": torch.zeros(1, 1, 8, 5),
        "s.bias": torch.zeros(5),
    }
    assert shapes(in_torch_order(tensors)[0]) == {
        "s.depthwise.weight": (8, 1, 3, 3),
        "s.pointwise.weight": (5, 8, 1, 1),
        "s.pointwise.bias": (5,),
    }


def test_transposed_convolutions_get_torchs_order() -> None:
    """A transposed kernel is (…, out, in) in Keras and (…, in, out) in Flax, and (in, out, …) in torch."""
    keras = torch.zeros(3, 2, 7, 5)
    found, _ = in_torch_order({"conv2d_transpose.kernel": keras, "conv2d_transpose.bias": torch.zeros(7)})
    assert found["conv2d_transpose.weight"].shape == (5, 7, 3, 2)
    flax = torch.randn(3, 2, 5, 7)
    found, _ = in_torch_order({"ConvTranspose_0.kernel": flax})
    assert torch.equal(found["ConvTranspose_0.weight"], flax.flip((0, 1)).permute(2, 3, 0, 1))


def test_the_kind_of_a_layer_may_be_given() -> None:
    """A format that says what a layer computes overrides what names and shapes suggest."""
    tensors = {"c.kernel": torch.zeros(3, 3, 4, 1)}
    assert in_torch_order(tensors)[0]["c.weight"].shape == (1, 4, 3, 3)
    assert in_torch_order(tensors, {"c": "depthwise"})[0]["c.weight"].shape == (4, 1, 3, 3)
    assert in_torch_order(tensors, {"c": "kept"})[0]["c.kernel"].shape == (3, 3, 4, 1)


def test_the_heads_of_an_attention_become_one_axis() -> None:
    """Queries (in, heads, size) and the output (heads, size, out) of an attention become linear layers."""
    tensors = {}
    for each in ("query", "key", "value"):
        tensors |= {f"a.{each}.kernel": torch.randn(6, 2, 3), f"a.{each}.bias": torch.randn(2, 3)}
    tensors |= {"a.out.kernel": torch.randn(2, 3, 7), "a.out.bias": torch.randn(7)}
    found, _ = in_torch_order(tensors)
    x = torch.randn(4, 6)
    heads = torch.einsum("bi,ihd->bhd", x, tensors["a.query.kernel"]) + tensors["a.query.bias"]
    linear = functional.linear(x, found["a.query.weight"], found["a.query.bias"])
    assert torch.allclose(linear, heads.flatten(1), atol=1e-6)
    joined = torch.einsum("bhd,hdo->bo", heads, tensors["a.out.kernel"])
    assert torch.allclose(functional.linear(heads.flatten(1), found["a.out.weight"]), joined, atol=1e-5)


def test_normalisations_and_embeddings_are_renamed() -> None:
    """The tensors of normalisations and embeddings get torch's names, in torch's order."""
    flax = {f"n.{last}": torch.zeros(4) for last in ("bias", "scale", "var", "mean")}
    keras = {f"k.{last}": torch.zeros(4) for last in ("beta", "gamma", "moving_variance", "moving_mean")}
    found, notes = in_torch_order({**flax, **keras, "e.embedding": torch.zeros(9, 4)})
    want = [name for name in nn.BatchNorm1d(4).state_dict() if name != "num_batches_tracked"]
    assert list(found) == [*(f"n.{each}" for each in want), *(f"k.{each}" for each in want), "e.weight"]
    assert notes == ()


def test_names_outside_layers_stay() -> None:
    """A scale beside layers is not the weight of a normalisation, and unknown names stay."""
    tensors = {"b.gamma": torch.zeros(4), "b.d.kernel": torch.zeros(4, 4), "c.scale": torch.zeros(2, 2)}
    assert list(in_torch_order(tensors)[0]) == ["b.gamma", "b.d.weight", "c.scale"]


def test_recurrent_layers_stay_and_are_noted() -> None:
    """A recurrent layer keeps its names and axes, because its gates may have another order than torch's."""
    tensors = {"r.kernel": torch.zeros(3, 8), "r.recurrent_kernel": torch.zeros(2, 8)}
    found, notes = in_torch_order(tensors)
    assert found == tensors
    assert "'r'" in notes[0]


def test_channels_last_flattening_is_noted() -> None:
    """A note says that a linear layer after a convolution reads the channels last."""
    _, notes = in_torch_order({"c.kernel": torch.zeros(3, 3, 1, 2), "d.kernel": torch.zeros(8, 2)})
    assert any("channels last" in note for note in notes)
    assert any(note.startswith("if a linear layer reads the flattened output") for note in notes)


def test_kernels_read_as_convolutions_are_noted() -> None:
    """A note names the first kernel that is taken for a convolution only because it has three axes."""
    tensors = {"a.q.kernel": torch.zeros(6, 2, 3), "a.out.kernel": torch.zeros(2, 3, 6)}
    said = "the kernels with three axes, the first of which is 'a.q.kernel', were read as one-dimensional"
    assert any(note.startswith(said) for note in in_torch_order(tensors)[1])
    stated = in_torch_order(tensors, {"a.q": "plain", "a.out": "plain"})[1]
    assert not any("three axes" in note for note in stated)
    heads = {f"a.{each}.kernel": torch.zeros(6, 2, 3) for each in ("query", "key", "value")}
    assert not any("three axes" in note for note in in_torch_order(heads)[1])


def test_two_tensors_with_one_name_are_refused() -> None:
    """A kernel beside a weight is refused, because both would have the same name."""
    with pytest.raises(FileError, match=r"both get the name 'a\.weight'"):
        in_torch_order({"a.kernel": torch.zeros(2, 2), "a.weight": torch.zeros(2, 2)})
    with pytest.raises(FileError, match="must have two or more axes"):
        in_torch_order({"a.depthwise_kernel": torch.zeros(2)})


def test_the_collections_of_flax_are_merged() -> None:
    """The statistics of a batch norm follow the parameters of their layer, whichever collection is first."""
    one = torch.zeros(1)
    names = ("batch_stats.n.mean", "params.n.bias", "params.d.kernel")
    assert list(without_collections(dict.fromkeys(names, one))) == ["n.bias", "n.mean", "d.kernel"]
    assert list(without_collections({"params.a": one, "b.c": one})) == ["params.a", "b.c"]
    with pytest.raises(FileError, match=r"two collections hold a tensor 'n\.a'"):
        without_collections({"params.n.a": one, "batch_stats.n.a": one})


def test_the_convention_is_known_by_the_word_kernel() -> None:
    """Only names that end in a word for a kernel follow the convention of Flax and Keras."""
    assert says_kernel(["a.kernel", "a.bias"])
    assert says_kernel(["kernel"])
    assert not says_kernel(["a.weight", "kernel.weight"])
