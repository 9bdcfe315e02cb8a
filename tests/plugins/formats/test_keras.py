"""Reading the files of Keras, and the computation that their configs describe."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sneframe_formats.keras_reader import KerasReader
from torch import Tensor, nn

import sneframe.plugins
from sneframe.architecture import Architecture
from sneframe.architecture.identity import fingerprint
from sneframe.files.network_reader import NetworkReader
from sneframe.files.reader import Candidate

os.environ["KERAS_BACKEND"] = "torch"
h5py = pytest.importorskip("h5py")
computed = pytest.importorskip("keras_files").computed
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")
L = keras.layers

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns about its own code
ENDS = (".keras", ".h5", ".weights.h5")


def sequential(*layers: Any) -> Any:
    return drawn(keras.Sequential(list(layers)))


def drawn(model: Any) -> Any:
    """Draw all weights, so that no bias is zero and no variance is one."""
    generator = np.random.default_rng(0)
    model.set_weights(
        [
            generator.uniform(0.5, 1.5, weight.shape)
            if weight.ndim == 1
            else generator.normal(0, 0.3, weight.shape)
            for weight in model.get_weights()
        ]
    )
    return model


def mlp() -> Any:
    return sequential(
        keras.Input((5,)),
        L.Dense(7, activation="relu", name="one"),
        L.Dense(6, activation="tanh", name="two"),
        L.Dense(3, activation="softmax", name="three"),
    )


def cnn() -> Any:
    return sequential(
        keras.Input((9, 9, 3)),
        L.Conv2D(4, 3, padding="same", strides=2, name="conv"),
        L.BatchNormalization(name="norm"),
        L.ReLU(),
        L.MaxPooling2D(2, padding="same"),
        L.Conv2D(5, 2, activation="relu", name="second"),
        L.Flatten(),
        L.Dense(6, activation="elu", name="dense"),
        L.Dense(2, name="out"),
    )


def residual() -> Any:
    first = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same")(first)
    x = L.ReLU()(L.BatchNormalization()(x))
    y = L.Conv2D(4, 3, padding="same")(x)
    x = L.Add()([x, y]) * 2.0 + 1.0
    x = L.GlobalAveragePooling2D()(L.Concatenate()([x, y]))
    return drawn(keras.Model(first, L.Dense(3, activation="softmax")(x)))


def depthwise() -> Any:
    return sequential(
        keras.Input((9, 9, 3)),
        L.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same"),
        L.SeparableConv2D(5, 3, activation="relu"),
        L.AveragePooling2D(2, padding="same"),
        L.GlobalMaxPooling2D(),
        L.Dense(3),
    )


def enlarging() -> Any:
    return sequential(
        keras.Input((5, 5, 3)),
        L.Conv2DTranspose(4, 3, strides=2, padding="same"),
        L.Conv2DTranspose(4, 2, strides=3, padding="valid"),
        L.Conv2DTranspose(4, 4, padding="same", activation="gelu"),
        L.PReLU(shared_axes=[1, 2]),
        L.UpSampling2D(2, interpolation="bilinear"),
        L.ZeroPadding2D(((1, 0), (2, 1))),
        L.Cropping2D(1),
        L.GlobalMaxPooling2D(keepdims=True),
        L.LayerNormalization(),
        L.Flatten(),
        L.PReLU(),
        L.Dense(3),
    )


def nested() -> Any:
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.BatchNormalization(), L.Dense(3)], name="inner"
    )
    entry = keras.Input((8, 8, 3))
    outer = keras.Model(entry, inner(L.Conv2D(3, 1)(entry)), name="outer")
    first = keras.Input((8, 8, 3))
    x = L.Reshape((-1, 9))(L.Permute((2, 1, 3))(outer(first)))
    x = L.Conv1D(6, 2, padding="causal", dilation_rate=2)(x)
    return drawn(keras.Model(first, L.GlobalMaxPooling1D()(x)))


def shared() -> Any:
    one, two = keras.Input((5,)), keras.Input((6,))
    layer, start = L.Dense(4, activation="relu"), L.Dense(4)(two)
    x = layer(layer(start))
    return drawn(keras.Model([one, two], L.Maximum()([L.Average()([x, L.Dense(4)(one)]), start])))


def normalising() -> Any:
    return sequential(
        keras.Input((6,)),
        L.Normalization(),
        L.Rescaling(0.5, 1.0),
        L.Dense(4, use_bias=False),
        L.BatchNormalization(scale=False),
        L.LeakyReLU(),
        L.Dense(4),
        L.BatchNormalization(center=False),
        L.Dropout(0.3),
        L.Dense(4, activation="silu"),
        L.Activation("hard_sigmoid"),
        L.LayerNormalization(center=False),
        L.ELU(),
    )


NETWORKS = (mlp, cnn, residual, depthwise, enlarging, nested, shared, normalising)


def saved(model: Any, folder: Path, end: str = ".keras") -> Path:
    path = folder / f"network{end}"
    (model.save_weights if end == ".weights.h5" else model.save)(path)
    return path


def inputs(model: Any) -> list[np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)
    return [generator.normal(size=(2, *each.shape[1:])).astype("float32") for each in model.inputs]


def described(path: Path) -> Architecture:
    reader = NetworkReader(readers=sneframe.plugins.readers())
    found = reader.read(path)
    assert found.reader == "formats/keras"
    return reader.describe(found.tensors, content=found.content)


@pytest.mark.parametrize("end", [".keras", ".h5"])
@pytest.mark.parametrize("network", NETWORKS)
def test_module_computes_what_keras_does(network: Any, end: str, tmp_path: Path) -> None:
    """The module of a file computes the outputs of the Keras model."""
    model = network()
    content = KerasReader().read(saved(model, tmp_path, end))
    given = inputs(model)
    wanted = model.predict(given if len(given) > 1 else given[0], verbose=0)
    np.testing.assert_allclose(computed(content, given), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", [mlp, cnn, residual, depthwise, nested])
def test_every_format_gives_equal_weights(network: Any, tmp_path: Path) -> None:
    """The files of one network give the same names and values."""
    model = network()
    first, *others = (KerasReader().read(saved(model, tmp_path, end)).values for end in ENDS)
    for other in others:
        assert first.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in first.items())


def embedding() -> Any:
    return sequential(
        keras.Input((6,)),
        L.Embedding(10, 4),
        L.Conv1D(5, 3, activation="silu"),
        L.GlobalAveragePooling1D(),
        L.Dense(2),
    )


def test_an_embedding_is_computed(tmp_path: Path) -> None:
    """A network that reads tokens computes the outputs of the Keras model."""
    model = embedding()
    path = saved(model, tmp_path)
    given = [np.arange(12).reshape(2, 6) % 10]
    wanted = model.predict(given[0], verbose=0)
    np.testing.assert_allclose(computed(KerasReader().read(path), given), wanted, rtol=1e-5, atol=1e-5)
    assert described(path).symmetry == "verified"


# -- architectures ----------------------------------------------------------------------------------------


class TwinCNN(nn.Module):
    """The network of ``cnn`` in torch, which flattens with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4, eps=1e-3)
        self.second, self.dense, self.out = nn.Conv2d(4, 5, 2), nn.Linear(20, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(nn.functional.pad(x, (1, 1, 1, 1)))).relu()
        x = self.second(nn.functional.max_pool2d(x, 2, ceil_mode=True)).relu()
        return self.out(nn.functional.elu(self.dense(x.permute(0, 2, 3, 1).flatten(1))))


class TwinMLP(nn.Module):
    """The network of ``mlp`` in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(5, 7), nn.Linear(7, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.two(self.one(x).relu()).tanh()).softmax(-1)


TWINS = (
    (mlp, TwinMLP, (2, 5)),
    (cnn, TwinCNN, (2, 3, 9, 9)),
)


@pytest.mark.parametrize(("network", "twin", "shape"), TWINS)
def test_twin_in_torch_has_the_same_weights(network: Any, twin: Any, shape: Any, tmp_path: Path) -> None:
    """A twin in torch computes the same from the values, so they have torch's order of axes."""
    model, module = network(), twin().eval()
    values = KerasReader().read(saved(model, tmp_path)).values
    module.load_state_dict(values, strict=False)
    given = inputs(model)[0]
    ours = torch.tensor(given).movedim(-1, 1) if len(shape) == 4 else torch.tensor(given)
    with torch.no_grad():
        found = module(ours).numpy()
    np.testing.assert_allclose(found, model.predict(given, verbose=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("end", [".keras", ".h5"])
@pytest.mark.parametrize(("network", "twin", "shape"), TWINS)
def test_architecture_is_that_of_the_twin(
    network: Any, twin: Any, shape: Any, end: str, tmp_path: Path
) -> None:
    """The architecture of a file has the groups and actions of the twin in torch."""
    found = described(saved(network(), tmp_path, end))
    wanted = Architecture.from_module(twin(), torch.randn(shape))
    assert found.symmetry == "verified"
    assert groups(found) == groups(wanted)


def groups(architecture: Architecture) -> tuple[Any, Any]:
    axes = {each.name: each.axes for each in architecture.parameters}
    return {(each.name, each.size, each.actions) for each in architecture.groups}, axes


def test_networks_of_one_zoo_are_described_once(tmp_path: Path) -> None:
    """The modules of networks with other weights have the same fingerprint."""
    model = cnn()
    first = KerasReader().read(saved(model, tmp_path)).module
    model.set_weights([weight + 1 for weight in model.get_weights()])
    second = KerasReader().read(saved(model, tmp_path, ".h5")).module
    assert first is not None
    assert second is not None
    prints = [fingerprint(each()[0]) for each in (first, second)]  # type: ignore[index]
    assert prints[0] == prints[1] is not None


def test_a_config_with_open_sizes_is_described(tmp_path: Path) -> None:
    """Sizes of the input that the config leaves open are made up."""
    model = sequential(
        keras.Input((None, None, 3)),
        L.Conv2D(4, 3, activation="relu"),
        L.MaxPooling2D(3, strides=2),
        L.GlobalAveragePooling2D(),
        L.Dense(2),
    )
    assert [each.size for each in described(saved(model, tmp_path)).groups] == [4]


# -- networks that are read without their computation -----------------------------------------------------


@keras.saving.register_keras_serializable(package="own")
class Own(L.Layer):
    def call(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize("end", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (lambda: L.Lambda(lambda x: x * 2, name="code"), "code"),
        (lambda: Own(name="mine"), "mine"),
        (lambda: L.GroupNormalization(2, name="groups"), "groups"),
        (lambda: L.Activation("hard_shrink", name="rare"), "rare"),
    ],
)
def test_unknown_layers_forbid_guessing(layer: Any, named: str, end: str, tmp_path: Path) -> None:
    """A network with an unknown layer is read, a note names the layer, and no group is guessed."""
    path = saved(sequential(keras.Input((6,)), L.Dense(4), layer(), L.Dense(3)), tmp_path, end)
    content = KerasReader().read(path)
    assert content.module is None
    assert not content.guess
    assert any(named in note for note in content.notes)
    assert not described(path).groups


def test_recurrent_layers_are_read(tmp_path: Path) -> None:
    """The weights of an LSTM keep Keras's names and order, and a note says so."""
    model = sequential(keras.Input((6, 3)), L.LSTM(4, name="cells"), L.Dense(2))
    for end in ENDS:
        content = KerasReader().read(saved(model, tmp_path, end))
        assert content.values["cells.lstm_cell.kernel"].shape == (3, 16)
        assert any("cells.lstm_cell" in note for note in content.notes)


def test_attention_is_read(tmp_path: Path) -> None:
    """The heads of an attention become one axis, as in torch."""
    first = keras.Input((6, 8))
    model = drawn(keras.Model(first, L.MultiHeadAttention(2, 3, name="heads")(first, first)))
    for end in ENDS:
        values = KerasReader().read(saved(model, tmp_path, end)).values
        assert values["heads.query.weight"].shape == (6, 8)
        assert values["heads.attention_output.weight"].shape == (8, 6)


def test_masks_are_not_computed(tmp_path: Path) -> None:
    """An embedding that masks tokens has no module, because later layers would skip these tokens."""
    model = sequential(
        keras.Input((6,)), L.Embedding(10, 4, mask_zero=True), L.GlobalAveragePooling1D(), L.Dense(2)
    )
    assert KerasReader().read(saved(model, tmp_path)).module is None


def test_weights_alone_say_what_is_assumed(tmp_path: Path) -> None:
    """A file of weights has notes about the order of layers and of axes."""
    content = KerasReader().read(saved(cnn(), tmp_path, ".weights.h5"))
    assert content.module is None
    assert content.guess
    assert any("order of the layers" in note for note in content.notes)
    assert any("(out, in, …)" in note for note in content.notes)
    assert any("flattened" in note for note in content.notes)


def test_the_state_of_training_is_left_out(tmp_path: Path) -> None:
    """The variables of the optimiser and of random layers are no weights."""
    model = sequential(keras.Input((5,)), L.Dense(4), L.Dropout(0.5), L.Dense(2))
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 5)), np.zeros((2, 2)), verbose=0)
    for end in ENDS:
        content = KerasReader().read(saved(model, tmp_path, end))
        assert len(content.values) == 4
        assert not any("left out" in note for note in content.notes)


def test_half_precision_is_read(tmp_path: Path) -> None:
    """Weights in bfloat16 are read as such."""
    model = sequential(keras.Input((5,)), L.Dense(4, dtype="bfloat16", name="small"))
    value = KerasReader().read(saved(model, tmp_path)).values["small.weight"]
    assert value.dtype == torch.bfloat16
    assert torch.equal(value.T.float(), model.get_layer("small").kernel.value.detach().float().cpu())


def test_content_is_recognised_not_the_name(tmp_path: Path) -> None:
    """HDF5 files and Keras archives are recognised under any name."""
    for end in ENDS:
        path = saved(mlp(), tmp_path, end)
        assert KerasReader().recognises(Candidate(path.rename(tmp_path / "other")))
    (tmp_path / "other").write_bytes(b"PK\x03\x04")
    assert not KerasReader().recognises(Candidate(tmp_path / "other"))
