"""Agreement with the original implementation: its float64 outputs for tiny models, its state dict mapped."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sneframe_dwsnet.aggregator import InvariantPooling
from sneframe_dwsnet.layer_encoder import DWSLayers
from sneframe_dwsnet.tokenizer import DWSChannels
from torch import Tensor, nn

from sneframe.batch import Batch, Networks
from sneframe.parts.part import Spec
from sneframe.testing import mlp

ORACLES = Path(__file__).parent / "oracles"
SETTINGS = {
    "dwsnet_deepsets_max": {
        "width": 4,
        "hidden_layers": 2,
        "set_layer": "deepsets",
        "reduction": "max",
        "batch_norm": False,
    },
    "dwsnet_sab_max": {"width": 8, "hidden_layers": 2, "set_layer": "sab", "heads": 8, "reduction": "max"},
    "dwsnet_sab_mean_deep": {
        "width": 8,
        "hidden_layers": 3,
        "set_layer": "sab",
        "heads": 4,
        "reduction": "mean",
        "depth": 2,
        "batch_norm": False,
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_layer_encoder_equals_the_original(name):
    """Features on weights and biases are those that the original computed, to 1e-9."""
    stored = load(name)
    features, _ = run(stored, SETTINGS[name])

    for number, (weight, bias) in enumerate(zip(features.weights, features.biases, strict=True)):
        expected = stored[f"equivariant/weight_{number}"]
        torch.testing.assert_close(weight.permute(0, 3, 2, 1), expected, rtol=0, atol=1e-9)
        expected = stored[f"equivariant/bias_{number}"]
        torch.testing.assert_close(bias.permute(0, 2, 1), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_whole_model_equals_the_original(name):
    """Outputs after pooling and head are those that the original computed, to 1e-9."""
    stored = load(name)
    _, values = run(stored, SETTINGS[name])

    torch.testing.assert_close(values, stored["output"], rtol=0, atol=1e-9)


def load(name: str) -> dict[str, Tensor]:
    with np.load(ORACLES / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def run(stored, options):
    """Return the features and outputs of our model for the original's state and inputs."""
    depth = sum(key.startswith("input/weight_") for key in stored)
    shapes = [stored[f"input/weight_{number}"].shape for number in range(depth)]
    architecture = mlp(shapes[0][1], *(shape[2] for shape in shapes))
    spec = Spec(carrier=Batch, width=1, architectures=(architecture,))
    tokenizer = DWSChannels(DWSChannels.Config(), spec)
    encoder = DWSLayers(DWSLayers.Config(**options), tokenizer.out).double().eval()
    pooling = InvariantPooling(InvariantPooling.Config(reduction=options["reduction"]), encoder.out).eval()
    states = {"encoder": {}, "head": {}}
    for key in stored:
        if key.startswith("state/"):
            part, name = our_key(key.removeprefix("state/"), batch_norm=options.get("batch_norm", True))
            states[part][name] = stored[key]
    encoder.load_state_dict(states["encoder"], strict=True)
    (features,) = encoder(tokenizer(batch(stored, architecture)))
    (embedding,) = pooling((features,))
    return features, head(states["head"])(embedding.values)


def batch(stored, architecture):
    """Return the stored inputs, weights ``(B, in, out, 1)`` and biases ``(B, out, 1)``, as a batch."""
    flat = []
    for number in range(len(architecture.layers)):
        weight, bias = (stored[f"input/{role}_{number}"] for role in ("weight", "bias"))
        flat += [weight.squeeze(-1).transpose(1, 2).flatten(1), bias.squeeze(-1)]
    weights = torch.cat(flat, dim=1)
    ids = np.arange(len(weights))
    return Batch(networks=[Networks(architecture=architecture, weights=weights)], order=ids, ids=ids)


def our_key(key: str, *, batch_norm: bool) -> tuple[str, str]:
    """Return the part and its key for a key of the original's state dict.

    The original also counts batch norm, ReLU and dropout in its layer numbers. The axes i and i + 1 of weight
    i are its dimensions 1 and 2.
    """
    if key.startswith("clf.layer."):
        return "head", key.removeprefix("clf.layer.")
    if norm := re.fullmatch(r"layers\.layers\.(\d+)\.(weight|biase)s_bn\.(\d+)\.(\w+)", key):
        number, role, member, rest = norm.groups()
        return "encoder", f"norms.{int(number) // 4}.{role.removesuffix('e')}_{member}.{rest}"
    found = re.fullmatch(r"layers\.layers\.(\d+)\.(\w+)_to_(\w+)\.layers\.(\d+)_(\d+)\.(.+)", key)
    number, source_role, target_role, source, target, rest = found.groups()
    layer = int(number) // (4 if batch_norm else 3)
    shared = axes(source_role, int(source)) & axes(target_role, int(target))
    kind, _, rest = rest.removeprefix("set_layer.").removeprefix("layer.").partition(".")
    if kind == "set_layer":
        words = f"along_{min(shared)}"
        for theirs, ours in SET_LAYER.items():
            rest = rest.replace(theirs, ours)
    elif kind.startswith("lin_"):
        first, second = sorted(shared)
        words = {
            "lin_all": f"along_{first}_{second}",
            "lin_n": f"along_{second}",
            "lin_m": f"along_{first}",
            "lin_both": "pooled",
        }[kind]
    else:
        words, rest = "pooled", f"{kind}.{rest}"
    return "encoder", f"layers.{layer}.maps.{source_role}_{source}_to_{target_role}_{target}_{words}.{rest}"


SET_LAYER = {
    "mab.fc_q": "query",
    "mab.fc_k": "key",
    "mab.fc_v": "value",
    "mab.fc_o": "output",
    "Gamma": "gamma",
    "Lambda": "lambda_",
}


def axes(role: str, layer: int) -> set[int]:
    """Return the axes of a weight or bias without the input axis.

    The output axis needs no exception: only the last weight and bias share it, and their map has no set
    layer.
    """
    return {layer + 1} if role == "bias" else {layer, layer + 1} - {0}


def head(state: dict[str, Tensor]) -> nn.Module:
    weights = [tensor for key, tensor in state.items() if key.endswith("weight")]
    layers = [nn.Linear(*reversed(weight.shape)) for weight in weights]
    module = nn.Sequential(layers[0], *(m for layer in layers[1:] for m in (nn.ReLU(), layer))).double()
    module.load_state_dict(state, strict=True)
    return module
