"""Folders from the hub become zoos: caches, model folders, adapters, with what lies beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sneframe import plugins
from sneframe.errors import ZooError
from sneframe.zoo import import_zoo, open_zoo
from sneframe.zoo.read import Zoo

#: Folders of several kinds lack some of the files that others have, which a warning says.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*have no such file",
    "ignore:.*have no value",
    "ignore:.*does not match",
    "ignore:.*is read as text",
)

CARD = """---
license: mit
base_model: org/base
pipeline_tag: text-classification
model-index:
- name: tuned
  results:
  - task: {type: text-classification}
    dataset: {name: GLUE, type: glue, config: sst2, split: validation}
    metrics:
    - {type: accuracy, value: 0.91}
    - {type: f1, value: 0.9}
---
# A model
"""


def pair(rank: int = 2) -> dict[str, Tensor]:
    name = "base_model.model.layers.0.q_proj"
    return {f"{name}.lora_A.weight": torch.randn(rank, 8), f"{name}.lora_B.weight": torch.randn(6, rank)}


def adapter(folder: Path, rank: int = 2, tensors: Mapping[str, Tensor] | None = None, **config: Any) -> Path:
    """Write an adapter as PEFT does."""
    folder.mkdir(parents=True)
    save_file(dict(tensors or pair(rank)), folder / "adapter_model.safetensors")
    content = {"r": rank, "lora_alpha": 4, "target_modules": ["v_proj", "q_proj"], **config}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    return folder


def model(folder: Path, card: str | None = CARD, **config: Any) -> Path:
    """Write a model folder with a config, the state of its trainer, and a card."""
    folder.mkdir(parents=True)
    save_file({"weight": torch.randn(3, 4), "bias": torch.randn(3)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"hidden_size": 4, **config}))
    state = {"best_metric": 0.5, "global_step": 30, "log_history": [{"eval_loss": 2.0}, {"eval_loss": 1.5}]}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    torch.save({"state": {}, "param_groups": []}, folder / "optimizer.pt")
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder


def imported(name: str, source: Path, **options: Any) -> Zoo:
    importer = plugins.load(["importers"]).importer(f"importers/{name}")
    out = source.parent / f"{source.name}.zarr"
    import_zoo(importer, importer.config(**options), source, out, lambda *_: None)
    return open_zoo(out)


def reasons(source: Path) -> str:
    return (source.parent / f"{source.name}.zarr.skipped.csv").read_text()


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    return tmp_path / "hub"


def test_a_model_folder_gets_the_values_of_all_files_beside_it(hub: Path) -> None:
    model(hub / "tuned")
    zoo = imported("hub", hub)
    values = {name: zoo.column(name)[0] for name in zoo.properties}
    assert values["hidden_size"] == 4
    assert values["best_metric"] == 0.5
    assert values["eval_loss"] == 1.5  # the last one that the trainer logged
    assert values["card.glue.sst2.validation.accuracy"] == 0.91
    assert values["license"] == "mit"
    assert values["pipeline_tag"] == "text-classification"


def test_networks_of_one_base_model_are_one_run_group(hub: Path) -> None:
    """The base comes from the card, from the config of an adapter, or from the name in a config."""
    model(hub / "by-card")
    adapter(hub / "by-adapter", base_model_name_or_path="org/base")
    model(hub / "by-config", card=None, _name_or_path="org/base")
    adapter(hub / "other", base_model_name_or_path="org/other")
    zoo = imported("hub", hub)
    groups = dict(zip(zoo.column("source"), zoo.group, strict=True))
    assert len(set(groups.values())) == 2
    assert groups["other/adapter_model.safetensors"] not in {
        group for source, group in groups.items() if not source.startswith("other")
    }


def test_a_cache_is_read_through_its_links(hub: Path) -> None:
    repository = hub / "models--org--tuned"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / "abc123"
    model(blobs)
    snapshot.mkdir(parents=True)
    for file in sorted(blobs.iterdir()):
        (blobs / file.name).rename(blobs / f"blob-{file.stem}")
        (snapshot / file.name).symlink_to(f"../../blobs/blob-{file.stem}")
    zoo = imported("hub", hub)
    assert len(zoo) == 1
    assert zoo.column("repository")[0] == "org--tuned"
    assert zoo.column("revision")[0] == "abc123"
    assert zoo.column("best_metric")[0] == 0.5


def test_a_model_whose_library_is_not_installed_is_described_without_code(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sneframe_importers.hub.find_spec", lambda _: None)
    model(hub / "tuned", model_type="bert")
    with pytest.warns(
        UserWarning, match="1 network can be described by transformers, which is not installed"
    ):
        zoo = imported("hub", hub)
    assert len(zoo) == 1


def test_adapters_get_their_settings_and_are_groups_of_their_own(hub: Path) -> None:
    adapter(hub / "a", rank=2, base_model_name_or_path="org/base")
    adapter(hub / "b", rank=3, base_model_name_or_path="org/base")
    zoo = imported("peft", hub)
    assert zoo.column("r").tolist() == [2, 3]
    assert set(zoo.column("target_modules")) == {"q_proj+v_proj"}
    assert set(zoo.column("base_model")) == {"org/base"}
    assert len(set(zoo.group)) == 2
    assert [architecture.groups[0].actions for architecture in zoo.architectures] == [("linear",)] * 2


def test_import_peft_leaves_other_networks_out(hub: Path) -> None:
    adapter(hub / "a")
    model(hub / "tuned")
    zoo = imported("peft", hub)
    assert len(zoo) == 1
    assert "holds no low-rank adapter" in reasons(hub)


def test_networks_without_a_base_model_are_groups_of_their_own(hub: Path) -> None:
    """Cards and configs that name no base once made the import fail."""
    model(hub / "a", card="---\nlicense: mit\n---\n")
    model(hub / "b", card=None)
    adapter(hub / "c")
    assert len(set(imported("hub", hub).group)) == 3


def test_a_base_model_in_the_cache_belongs_to_the_group_of_its_tuned_networks(hub: Path) -> None:
    model(hub / "models--org--base" / "snapshots" / "1", card=None)
    model(hub / "models--org--tuned" / "snapshots" / "1")
    assert len(set(imported("hub", hub).group)) == 1


def test_an_adapter_beside_a_config_of_its_base_needs_no_code(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sneframe_importers.hub.find_spec", lambda _: None)
    (adapter(hub / "a") / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert imported("hub", hub).architectures[0].groups[0].actions == ("linear",)


@pytest.mark.parametrize(("text", "value"), [("'0.9'", 0.9), ("1e-3", 1e-3)])
def test_a_number_that_is_written_as_text_is_taken(text: str, value: float, hub: Path) -> None:
    model(hub / "tuned", card=CARD.replace("value: 0.91", f"value: {text}"))
    assert imported("hub", hub).column("card.glue.sst2.validation.accuracy")[0] == value


# -- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "line"),
    [
        ("---\nlicense: [mit\n---\n", "its metadata cannot be read"),
        ("---\n- a\n- list\n---\n", "its metadata cannot be read"),
        ("x" * ((1 << 20) + 1), "is larger than 1 MiB"),
    ],
)
def test_a_damaged_card_leaves_its_network_out_and_no_other(card: str, line: str, hub: Path) -> None:
    model(hub / "good")
    model(hub / "bad", card=card)
    zoo = imported("hub", hub)
    assert list(zoo.column("source")) == ["good/model.safetensors"]
    assert f"bad/README.md: {line}" in reasons(hub)


def test_two_values_of_one_metric_are_not_taken(hub: Path) -> None:
    second = "    - {type: f1, value: 0.9}\n"
    model(hub / "tuned", card=CARD.replace(second, second + "    - {type: accuracy, value: 0.7}\n"))
    with pytest.warns(UserWarning, match=r"has several values of card\.glue\.sst2\.validation\.accuracy"):
        zoo = imported("hub", hub)
    assert "card.glue.sst2.validation.accuracy" not in zoo.properties
    assert "card.glue.sst2.validation.f1" in zoo.properties


@pytest.mark.parametrize("value", ["[0.1, 0.2]", "high", "9" * 400])
def test_a_value_that_is_no_number_is_not_taken_and_said(value: str, hub: Path) -> None:
    model(hub / "tuned", card=CARD.replace("value: 0.91", f"value: {value}"))
    with pytest.warns(UserWarning, match=r"the value of card\.glue\.sst2\.validation\.accuracy is no number"):
        zoo = imported("hub", hub)
    assert "card.glue.sst2.validation.accuracy" not in zoo.properties


def test_damaged_results_do_not_cost_a_network(hub: Path) -> None:
    model(
        hub / "tuned",
        card=CARD.replace("    dataset: {name: GLUE, type: glue, config: sst2, split: validation}\n", ""),
    )
    with pytest.warns(UserWarning, match="the results in model-index cannot be read"):
        zoo = imported("hub", hub)
    assert zoo.column("license")[0] == "mit"


def test_one_adapter_with_a_wrong_pattern_harms_no_other(hub: Path) -> None:
    adapter(hub / "good")
    adapter(hub / "bad", alpha_pattern={"q(": 1})
    assert len(imported("peft", hub)) == 1
    assert "alpha_pattern has the wrong pattern" in reasons(hub)


def test_a_card_that_links_out_of_the_folder_is_refused(hub: Path) -> None:
    secret = hub.parent / "secret.md"
    secret.write_text(CARD)
    model(hub / "good")
    (model(hub / "bad", card=None) / "README.md").symlink_to(secret)
    zoo = imported("hub", hub)
    assert list(zoo.column("source")) == ["good/model.safetensors"]
    assert "leads out of" in reasons(hub)


def test_hostile_adapters_are_left_out_with_their_reasons(hub: Path) -> None:
    adapter(hub / "good")
    alone = {name: value for name, value in pair().items() if "lora_A" in name}
    adapter(hub / "no-b", tensors=alone)
    adapter(hub / "text", lora_alpha="much")
    zoo = imported("peft", hub)
    assert len(zoo) == 1
    assert "has A, but no B" in reasons(hub)
    assert "lora_alpha must be a number, but got 'much'" in reasons(hub)


def test_an_adapter_with_weights_that_are_not_finite_is_marked(hub: Path) -> None:
    adapter(hub / "good")
    adapter(hub / "nan", tensors={name: value * float("nan") for name, value in pair().items()})
    assert len(imported("peft", hub)) == 1
    assert len(open_zoo(hub.parent / "hub.zarr", unhealthy=True)) == 2


def test_a_folder_without_networks_is_refused(hub: Path) -> None:
    hub.mkdir()
    (hub / "optimizer.pt").write_bytes(b"")
    with pytest.raises(ZooError, match="no file reader recognises a file in this folder"):
        imported("hub", hub)
