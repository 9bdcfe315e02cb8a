"""Low-rank adapters of every library get the same names, a scaling, and a linear symmetry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.batch import flatten, join
from sneframe.errors import FileError
from sneframe.files.network_reader import NetworkReader
from sneframe.symmetry import apply, sample

MODULE = "model.layers.0.q_proj"
PEFT = f"base_model.model.{MODULE}"


def factors(rank: int = 4, inputs: int = 16, outputs: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator)


def written(folder: Path, tensors: Mapping[str, Tensor], config: object = None) -> Path:
    """Write an adapter as PEFT does, and return its folder."""
    save_file({name: value.clone() for name, value in tensors.items()}, folder / "adapter_model.safetensors")
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        (folder / "adapter_config.json").write_text(text)
    return folder


def read(path: Path) -> tuple[Mapping[str, Tensor], Architecture, tuple[str, ...]]:
    reader = NetworkReader()
    found = reader.read(path)
    return found.tensors, reader.describe(found.tensors, content=found.content, path=path), found.notes


A, B = factors()
SPELLINGS = {
    "peft": {f"{PEFT}.lora_A.weight": A, f"{PEFT}.lora_B.weight": B},
    "peft with the name of the adapter": {f"{PEFT}.lora_A.style.weight": A, f"{PEFT}.lora_B.style.weight": B},
    "diffusers": {f"{MODULE}_lora.down.weight": A, f"{MODULE}_lora.up.weight": B},
    "diffusers, a layer": {
        f"{MODULE}.lora_linear_layer.down.weight": A,
        f"{MODULE}.lora_linear_layer.up.weight": B,
    },
    "down and up without a prefix": {f"{MODULE}.lora_down.weight": A, f"{MODULE}.lora_up.weight": B},
    "bare": {f"{MODULE}.lora_A": A, f"{MODULE}.lora_B": B},
    "diffusers, short": {f"{MODULE}.lora.down.weight": A, f"{MODULE}.lora.up.weight": B},
}


@pytest.mark.parametrize("tensors", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_spelling_gives_the_same_architecture(tensors: Mapping[str, Tensor], tmp_path: Path) -> None:
    weights, architecture, _ = read(written(tmp_path, tensors, {"lora_alpha": 8}))
    assert [parameter.name for parameter in architecture.parameters] == [
        f"{MODULE}.lora_A.weight",
        f"{MODULE}.lora_B.weight",
        f"{MODULE}.lora_scaling",
    ]
    assert architecture.types == ("lora.a", "lora.b", "lora.scaling")
    assert [(group.name, group.size, group.actions) for group in architecture.groups] == [
        (f"{MODULE}.rank", 4, ("linear",))
    ]
    assert architecture.symmetry == "stated"
    assert float(weights[f"{MODULE}.lora_scaling"]) == 2.0
    torch.testing.assert_close(weights[f"{MODULE}.lora_A.weight"], A, rtol=0, atol=0)


def test_kohya_alpha_becomes_the_scaling(tmp_path: Path) -> None:
    name = "lora_unet_down_blocks_0_to_q"
    tensors = {
        f"{name}.lora_down.weight": A,
        f"{name}.lora_up.weight": B,
        f"{name}.alpha": torch.tensor(2.0),
    }
    save_file(tensors, tmp_path / "style.safetensors")
    weights, architecture, notes = read(tmp_path / "style.safetensors")
    assert float(weights[f"{name}.lora_scaling"]) == 0.5
    assert f"{name}.alpha" not in weights
    assert len(architecture.groups) == 1
    assert notes == ("a low-rank adapter: 1 module, rank 4",)


def test_older_bin_files_are_read(tmp_path: Path) -> None:
    torch.save(SPELLINGS["peft"], tmp_path / "adapter_model.bin")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, "peft_type": "LORA"}))
    weights, _, _ = read(tmp_path)
    assert float(weights[f"{MODULE}.lora_scaling"]) == 2.0


def test_a_file_beside_its_config_is_read_as_its_folder_is(tmp_path: Path) -> None:
    written(tmp_path, SPELLINGS["peft"], {"lora_alpha": 8})
    weights, _, _ = read(tmp_path / "adapter_model.safetensors")
    assert float(weights[f"{MODULE}.lora_scaling"]) == 2.0


@pytest.mark.parametrize(
    ("config", "scaling"),
    [
        ({"lora_alpha": 8, "use_rslora": True}, 4.0),
        ({"lora_alpha": 8, "alpha_pattern": {"q_proj": 2}}, 0.5),
        ({"lora_alpha": 8, "alpha_pattern": {r"layers\.1\.q_proj": 2}}, 2.0),
        ({"lora_alpha": 8, "alpha_pattern": {"model.layers.0.q_proj": 16}}, 4.0),
    ],
)
def test_scaling_follows_the_config_of_peft(config: object, scaling: float, tmp_path: Path) -> None:
    """α / r, or α / √r if rank-stabilised; a pattern gives a module its own α."""
    weights, _, _ = read(written(tmp_path, SPELLINGS["peft"], config))
    assert float(weights[f"{MODULE}.lora_scaling"]) == scaling


@pytest.mark.parametrize("config", [{"r": 4}, {"r": 8, "rank_pattern": {"q_proj": 4}}])
def test_a_rank_that_the_config_says_is_accepted(config: dict[str, object], tmp_path: Path) -> None:
    weights, _, _ = read(written(tmp_path, SPELLINGS["peft"], {"lora_alpha": 8, **config}))
    assert float(weights[f"{MODULE}.lora_scaling"]) == 2.0


def test_an_alpha_beside_names_of_peft_is_used(tmp_path: Path) -> None:
    save_file({**SPELLINGS["peft"], f"{PEFT}.alpha": torch.tensor(2.0)}, tmp_path / "style.safetensors")
    weights, architecture, notes = read(tmp_path / "style.safetensors")
    assert float(weights[f"{MODULE}.lora_scaling"]) == 0.5
    assert len(architecture.layers) == 1
    assert notes == ("a low-rank adapter: 1 module, rank 4",)


def test_an_alpha_of_an_activation_is_no_part_of_the_adapter(tmp_path: Path) -> None:
    tensors = {**SPELLINGS["peft"], "base_model.model.act.alpha": torch.ones(5)}
    weights, architecture, _ = read(written(tmp_path, tensors, {"lora_alpha": 8}))
    assert weights["act.alpha"].shape == (5,)
    assert [layer.kind for layer in architecture.layers] == ["lora", "parameter"]


def test_two_layers_with_the_names_of_factors_and_a_bias_between_are_no_adapter() -> None:
    """A bias of A is added between A and B, so no matrix can mix what lies between."""
    state = {"q.lora_A.weight": torch.randn(4, 8), "q.lora_A.bias": torch.randn(4)}
    state |= {"q.lora_B.weight": torch.randn(8, 4), "q.lora_B.bias": torch.randn(8)}
    with pytest.warns(UserWarning, match="an adapter that is no product of two matrices"):
        assert not Architecture.from_state_dict(state).groups


def test_without_a_config_the_note_says_that_the_scaling_is_assumed(tmp_path: Path) -> None:
    weights, _, notes = read(written(tmp_path, SPELLINGS["peft"]) / "adapter_model.safetensors")
    assert float(weights[f"{MODULE}.lora_scaling"]) == 1.0
    assert notes[-1].startswith("there is no adapter_config.json, so alpha is not known")


def test_a_state_dict_in_memory_warns_that_the_scaling_is_assumed() -> None:
    with pytest.warns(UserWarning, match=r"there is no adapter_config\.json"):
        found = NetworkReader().weights_of(SPELLINGS["peft"], "state dict")
    assert float(found[f"{MODULE}.lora_scaling"]) == 1.0


def test_modules_follow_each_other_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"base_model.model.layers.{number}.v" for number in (10, 2)]
    tensors = {f"{name}.lora_{end}.weight": value for name in names for end, value in (("A", A), ("B", B))}
    _, architecture, _ = read(written(tmp_path, tensors, {"lora_alpha": 8}))
    assert [group.name for group in architecture.groups] == ["layers.2.v.rank", "layers.10.v.rank"]
    assert architecture.levels == (0, 1)


def test_embeddings_convolutions_biases_and_magnitudes_are_parts_of_their_modules(tmp_path: Path) -> None:
    tensors = {
        "base_model.model.embed.lora_embedding_A": torch.randn(2, 50),
        "base_model.model.embed.lora_embedding_B": torch.randn(8, 2),
        "base_model.model.conv.lora_A.weight": torch.randn(3, 4, 3, 3),
        "base_model.model.conv.lora_B.weight": torch.randn(6, 3, 1, 1),
        "base_model.model.conv.lora_B.bias": torch.randn(6),
        "base_model.model.fc.lora_A.weight": torch.randn(2, 8),
        "base_model.model.fc.lora_B.weight": torch.randn(5, 2),
        "base_model.model.fc.lora_magnitude_vector.weight": torch.randn(5),
        "base_model.model.classifier.weight": torch.randn(3, 5),
    }
    _, architecture, _ = read(written(tmp_path, tensors, {"lora_alpha": 4}))
    roles = [[parameter.role for parameter in layer.parameters] for layer in architecture.layers]
    assert roles == [
        ["a", "b", "scaling", "bias"],
        ["a", "b", "scaling"],
        ["a", "b", "scaling", "magnitude"],
        ["weight"],
    ]
    assert [group.size for group in architecture.groups] == [3, 2, 2]


def test_the_linear_symmetry_keeps_every_update(tmp_path: Path) -> None:
    """B A stays the same for a linear map, for a convolution and for an embedding."""
    tensors = {
        "conv.lora_A.weight": torch.randn(3, 4, 3, 3),
        "conv.lora_B.weight": torch.randn(6, 3, 1, 1),
        "fc.lora_A.weight": torch.randn(2, 8),
        "fc.lora_B.weight": torch.randn(5, 2),
    }
    weights, architecture, _ = read(written(tmp_path, tensors, {"lora_alpha": 4}))
    batch = join({architecture: flatten(architecture, weights)[None]}, {architecture: [0]})
    (before,), (after,) = (
        each.networks for each in (batch, apply(batch, sample(batch, seed=0, step=0, actions=("linear",))))
    )
    for module in ("conv", "fc"):
        products = []
        for networks in (before, after):
            views = networks.parameters()
            a, b = views[f"{module}.lora_A.weight"][0], views[f"{module}.lora_B.weight"][0]
            products.append(b.flatten(1) @ a.flatten(1))
            assert networks is before or not torch.equal(a, tensors[f"{module}.lora_A.weight"])
        torch.testing.assert_close(*products, rtol=1e-4, atol=1e-4)


def test_adapters_in_python_are_no_chain() -> None:
    """Equal widths once made a chain of all A and B, with groups between unrelated modules."""
    square = {f"{PEFT}.lora_A.weight": torch.randn(4, 16), f"{PEFT}.lora_B.weight": torch.randn(16, 4)}
    second = {name.replace("q_proj", "v_proj"): value for name, value in square.items()}
    architecture = Architecture.from_state_dict({**square, **second})
    assert [layer.kind for layer in architecture.layers] == ["lora", "lora"]
    assert {group.actions for group in architecture.groups} == {("linear",)}


@pytest.mark.parametrize(
    "name", ["x.hada_w1_a", "x.lokr_w1", "x.lora_mid.weight", "x.lora_E.default", "x.ia3_l", "x.oft_blocks"]
)
def test_adapters_that_are_no_product_have_fixed_axes(name: str, tmp_path: Path) -> None:
    tensors = {"x.lora_A.weight": torch.randn(4, 16), "x.lora_B.weight": torch.randn(16, 4)}
    written(tmp_path, {**tensors, name: torch.randn(4, 4)}, {"lora_alpha": 4})
    with pytest.warns(UserWarning, match="an adapter that is no product of two matrices"):
        _, architecture, _ = read(tmp_path)
    assert not architecture.groups


# -- bad input -------------------------------------------------------------------------------------------

HOSTILE = {
    "A without B": ({f"{PEFT}.lora_A.weight": A}, {}, rf"the adapter of '{MODULE}' has A, but no B"),
    "B without A": ({f"{PEFT}.lora_B.weight": B}, {}, rf"the adapter of '{MODULE}' has B, but no A"),
    "alpha alone": (
        {**SPELLINGS["peft"], "lora_te_x.alpha": torch.tensor(1.0)},
        {},
        "the adapter of 'lora_te_x' has alpha, but no A and no B",
    ),
    "two ranks": (
        {f"{PEFT}.lora_A.weight": A, f"{PEFT}.lora_B.weight": torch.randn(12, 3)},
        {},
        r"A has rank 4, but B has rank 3; their shapes are \(4, 16\) and \(12, 3\)",
    ),
    "rank 0": (
        {f"{PEFT}.lora_A.weight": torch.zeros(0, 16), f"{PEFT}.lora_B.weight": torch.zeros(12, 0)},
        {},
        f"the adapter of '{MODULE}' has rank 0",
    ),
    "vectors": (
        {f"{PEFT}.lora_A.weight": torch.zeros(4), f"{PEFT}.lora_B.weight": torch.zeros(4)},
        {},
        "A and B must be matrices",
    ),
    "two adapters": (
        {
            **SPELLINGS["peft with the name of the adapter"],
            f"{PEFT}.lora_A.other.weight": A,
            f"{PEFT}.lora_B.other.weight": B,
        },
        {},
        "holds 2 adapters, other, style; save one of them alone",
    ),
    "alpha is text": (
        SPELLINGS["peft"],
        {"lora_alpha": "8"},
        r"adapter_config\.json: lora_alpha must be a number, but got '8'",
    ),
    "a pattern that is none": (
        SPELLINGS["peft"],
        {"lora_alpha": 8, "alpha_pattern": {"q(": 1}},
        r"adapter_config\.json: alpha_pattern has the wrong pattern 'q\('",
    ),
    "patterns in a list": (
        SPELLINGS["peft"],
        {"lora_alpha": 8, "alpha_pattern": [1]},
        r"adapter_config\.json: alpha_pattern must be a mapping, but got list",
    ),
    "alpha of 400 digits": (SPELLINGS["peft"], {"lora_alpha": 10**400}, "lora_alpha must be a number"),
    "another rank than the config says": (
        SPELLINGS["peft"],
        {"lora_alpha": 8, "r": 2},
        r"has rank 4, but adapter_config\.json says 2",
    ),
    "no alpha": (SPELLINGS["peft"], {}, r"adapter_config\.json: lora_alpha must be a number, but got None"),
    "a list as config": (
        SPELLINGS["peft"],
        [1],
        r"adapter_config\.json must hold a JSON object, but holds list",
    ),
    "damaged config": (SPELLINGS["peft"], "{", r"adapter_config\.json cannot be read"),
}


@pytest.mark.parametrize(("tensors", "config", "line"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_wrong_adapter_is_refused_in_one_line(
    tensors: Mapping[str, Tensor], config: object, line: str, tmp_path: Path
) -> None:
    with pytest.raises(FileError, match=line) as caught:
        read(written(tmp_path, tensors, config))
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)
