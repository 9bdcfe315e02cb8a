"""Low-rank adapters are inspected and compared by the updates that they make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import sneframe
from sneframe.inspection.collection import summaries


def written(folder: Path, factors: dict[str, tuple[Tensor, Tensor]], alpha: float = 4.0) -> Path:
    folder.mkdir()
    tensors = {}
    for module, (a, b) in factors.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = a.clone()
        tensors[f"base_model.model.{module}.lora_B.weight"] = b.clone()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"lora_alpha": alpha}))
    return folder


def factors(seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(2, 16, generator=generator), torch.randn(12, 2, generator=generator))
        for name in ("q", "v")
    }


def mixed(pairs: dict[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
    matrix = torch.tensor([[2.0, 1.0], [-1.0, 0.5]])
    return {name: (matrix @ a, b @ torch.linalg.inv(matrix)) for name, (a, b) in pairs.items()}


def test_an_update_is_measured_as_the_product_with_its_scaling(tmp_path: Path) -> None:
    pairs = factors()
    found = sneframe.inspect(written(tmp_path / "one", pairs))
    a, b = pairs["q"]
    (update,) = [each for each in found.parameters if each.name == "q.update"]
    assert update.shape == (12, 16)
    assert update.spectrum is not None
    assert update.spectrum.norm == pytest.approx(float(torch.linalg.matrix_norm(2.0 * b @ a, 2)), rel=1e-5)
    assert update.spectrum.frobenius == pytest.approx(float((2.0 * b @ a).norm()), rel=1e-5)


def test_updates_are_not_counted_among_the_weights(tmp_path: Path) -> None:
    found = sneframe.inspect(written(tmp_path / "one", factors()))
    assert found.num_weights == 2 * (2 * 16 + 12 * 2 + 1)
    assert sum(found.by_dtype.values()) == found.num_weights


def test_an_adapter_in_another_basis_is_equal_up_to_rounding(tmp_path: Path) -> None:
    """Its A and B are quite different, and once the verdict was that the networks are unrelated."""
    pairs = factors()
    found = sneframe.difference(written(tmp_path / "one", pairs), written(tmp_path / "two", mixed(pairs)))
    assert found.verdict == "related"
    assert [each.name for each in found.changes] == ["q.update", "v.update"]
    assert all(each.relative is not None and each.relative < 1e-6 for each in found.changes)
    assert found.matched.startswith("adapters were compared by their updates")


def test_the_one_module_that_was_trained_further_is_found(tmp_path: Path) -> None:
    pairs = factors()
    tuned = mixed(pairs) | {"v": (pairs["v"][0], pairs["v"][1] * 1.5)}
    found = sneframe.difference(written(tmp_path / "one", pairs), written(tmp_path / "two", tuned))
    changed = {each.name: each.relative for each in found.changes}
    assert changed["q.update"] == pytest.approx(0, abs=1e-6)
    assert changed["v.update"] == pytest.approx(0.5, rel=1e-5)


def test_adapters_of_different_ranks_are_compared(tmp_path: Path) -> None:
    one = written(tmp_path / "one", factors())
    a, b = factors()["q"]
    padded = {"q": (torch.cat([a, torch.ones(1, 16)]), torch.cat([b, torch.zeros(12, 1)], dim=1))}
    found = sneframe.difference(one, written(tmp_path / "two", padded, alpha=6.0))
    assert [each.name for each in found.changes] == ["q.update"]
    assert found.changes[0].relative == pytest.approx(0, abs=1e-6)
    assert found.only_first == ("v.update",)


def test_the_nearest_adapter_is_the_one_in_another_basis(tmp_path: Path) -> None:
    pairs = factors()
    folders = [
        written(tmp_path / "one", pairs),
        written(tmp_path / "two", mixed(pairs)),
        written(tmp_path / "three", {name: (a * 3, b) for name, (a, b) in factors(1).items()}),
    ]
    found = summaries([sneframe.inspect(folder) for folder in folders])
    assert found[0].nearest == found[1].source
    assert found[1].nearest == found[0].source


def test_small_factors_in_half_precision_have_an_update(tmp_path: Path) -> None:
    """In half precision, the products of these factors are 0."""
    pairs = {"q": (torch.full((2, 16), 1e-3).half(), torch.full((12, 2), 1e-6).half())}
    one = sneframe.inspect(written(tmp_path / "one", pairs))
    (update,) = [each for each in one.parameters if each.name == "q.update"]
    a, b = (each.double() for each in pairs["q"])
    assert update.spectrum is not None
    assert update.spectrum.frobenius == pytest.approx(float((2 * b @ a).norm()), rel=1e-4)


def test_a_bias_of_b_is_scaled_as_the_update_is(tmp_path: Path) -> None:
    a, b = factors()["q"]
    folders = []
    for name, scale in (("one", 1.0), ("two", 2.0)):
        folder = written(tmp_path / name, {"q": (a, b / scale)}, alpha=4.0 * scale)
        file = folder / "adapter_model.safetensors"
        save_file({**load_file(file), "base_model.model.q.lora_B.bias": torch.ones(12)}, file)
        folders.append(folder)
    found = sneframe.difference(*folders)
    relative = {each.name: each.relative for each in found.changes}
    assert relative["q.update"] == pytest.approx(0, abs=1e-6)
    assert relative["q.lora_B.bias"] == pytest.approx(1.0)


def test_an_adapter_before_its_training_is_named(tmp_path: Path) -> None:
    pairs = {name: (a, torch.zeros_like(b)) for name, (a, b) in factors().items()}
    found = sneframe.inspect(written(tmp_path / "one", pairs))
    untrained = {
        name for each in found.findings if each.kind == "looks untrained" for name in each.parameters
    }
    assert {"q.lora_B.weight", "q.update"} <= untrained
