"""The transformer zoos of Transformer-NFN and DNG, in small copies."""

import json
import zipfile

import pytest
import torch
from sneframe_importers.dng_vit import SimpleViT, positions
from stored import tensors
from torch import nn

from sneframe.errors import ZooError
from sneframe.symmetry import verify

# -- Transformer-NFN ----------------------------------------------------------------------------------------


def transformer(seed):
    torch.manual_seed(seed)
    state = {"embedding.patch.weight": torch.randn(8, 4), "embedding.patch.bias": torch.randn(8)}
    for block in range(2):
        for name in ("queries", "keys", "values", "out_projection"):
            state[f"encoder.{block}.attention.{name}.weight"] = torch.randn(8, 8)
            state[f"encoder.{block}.attention.{name}.bias"] = torch.randn(8)
        state[f"encoder.{block}.fc1.weight"] = torch.randn(16, 8)
        state[f"encoder.{block}.fc2.weight"] = torch.randn(8, 16)
    return {**state, "classifier.weight": torch.randn(10, 8)}


@pytest.fixture
def nfn(tmp_path):
    root = tmp_path / "MNIST-Transformers"
    root.mkdir()
    states, lines = {}, ["ckpt_file,ckpt_epoch,test_top1_accuracy,optimizer"]
    for run in range(3):
        for epoch in (50, 75):
            name = f"{run}_{epoch}_0.9{run}.pt"
            states[name] = transformer(run * 100 + epoch)
            torch.save(states[name] if run else {"state_dict": states[name], "epoch": epoch}, root / name)
            lines.append(f"data/MNIST/{name},{epoch},0.9{run},adam")
    (tmp_path / "MNIST.csv").write_text("\n".join(lines) + "\n")
    return root, tmp_path / "MNIST.csv", states


@pytest.mark.filterwarnings("ignore:.*taken as fixed")
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_checkpoints_have_their_metadata(nfn, imported, tmp_path, packed):
    """Checkpoints from a folder or an archive have the properties of the metadata."""
    root, metadata, states = nfn
    source = root
    if packed:
        source = tmp_path / "MNIST-Transformers.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in root.iterdir():
                archive.write(file, f"MNIST-Transformers/{file.name}")
    zoo, skipped = imported("transformer-nfn", source, metadata=metadata)
    assert skipped == {}
    assert zoo.column("source").tolist() == list(states)
    assert zoo.group.tolist() == ["0", "0", "1", "1", "2", "2"]
    assert zoo.column("ckpt_epoch").tolist() == [50, 75] * 3
    assert zoo.column("test_top1_accuracy").tolist() == [0.90, 0.90, 0.91, 0.91, 0.92, 0.92]
    assert set(zoo.column("optimizer")) == {"adam"}
    for position, state in enumerate(states.values()):
        stored = tensors(zoo, position)
        assert all(torch.equal(stored[name], value) for name, value in state.items())


@pytest.mark.filterwarnings("ignore:.*taken as fixed")
def test_epochs_can_be_selected(nfn, imported):
    """The option epochs selects checkpoints, and missing files are skipped."""
    root, metadata, _ = nfn
    (root / "1_75_0.91.pt").unlink()
    zoo, skipped = imported("transformer-nfn", root, metadata=metadata, epochs=(75,))
    assert zoo.column("ckpt_epoch").tolist() == [75, 75]
    assert list(skipped) == ["1_75_0.91.pt"]
    with pytest.raises(ZooError, match="no checkpoint of epoch 74"):
        imported("transformer-nfn", root, out="b.zarr", metadata=metadata, epochs=(74,))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the table is empty"),
        ("a,b\n1,2\n", "not the metadata of the zoo: there is no column 'ckpt_file'"),
        ("ckpt_file,ckpt_epoch\nx\n", "damaged: line 2 has 1 value,"),
    ],
)
def test_damaged_metadata_are_one_line(nfn, imported, content, said):
    """Empty, foreign or damaged metadata raise one line."""
    root, metadata, _ = nfn
    metadata.write_text(content)
    with pytest.raises(ZooError, match=rf"MNIST\.csv: {said}"):
        imported("transformer-nfn", root, metadata=metadata)


# -- DNG ----------------------------------------------------------------------------------------------------


def vit(seed, dim=16, hidden=24, depth=2, patch=12):
    """Return a state dict with the names of vit-pytorch's SimpleViT."""
    torch.manual_seed(seed)

    def norm(name, width):
        return {f"{name}.weight": torch.rand(width) + 0.5, f"{name}.bias": torch.randn(width)}

    def linear(name, a, b, *, bias=True):
        layer = nn.Linear(a, b, bias=bias)
        return {f"{name}.{key}": value.detach() for key, value in layer.state_dict().items()}

    state = (
        norm("to_patch_embedding.1", patch)
        | linear("to_patch_embedding.2", patch, dim)
        | norm("to_patch_embedding.3", dim)
    )
    state |= norm("transformer.norm", dim)
    for block in range(depth):
        stem = f"transformer.layers.{block}"
        state |= norm(f"{stem}.0.norm", dim) | linear(f"{stem}.0.to_qkv", dim, 3 * dim, bias=False)
        state |= linear(f"{stem}.0.to_out", dim, dim, bias=False)
        state |= (
            norm(f"{stem}.1.net.0", dim)
            | linear(f"{stem}.1.net.1", dim, hidden)
            | linear(f"{stem}.1.net.3", hidden, dim)
        )
    return state | linear("linear_head", dim, 10)


@pytest.fixture
def dng(tmp_path):
    root = tmp_path / "cifar10_vit"
    (root / "vit_models").mkdir(parents=True)
    (root / "stat").mkdir()
    states, rows = {}, []
    for number in range(3):
        for epoch in (5, 10):
            name = f"vit_models/model_{number}_{epoch}.pth"
            states[name] = vit(number * 10 + epoch)
            torch.save(states[name], root / name)
            rows.append(
                {
                    "model_id": number,
                    "epoch": epoch,
                    "train_accuracy": 50.0 + epoch,
                    "test_accuracy": 40.0 + number,
                }
            )
    (root / "stat" / "results_0_2.json").write_text(json.dumps(rows[:4]))
    (root / "stat" / "results_2_3.json").write_text(json.dumps(rows[4:]))
    return root, states


def test_accuracies_are_fractions(dng, imported):
    """Accuracies in per cent become fractions, and weights are unchanged."""
    root, states = dng
    zoo, skipped = imported("dng-vit", root)
    assert skipped == {}
    assert zoo.column("source").tolist() == list(states)
    assert zoo.column("test_accuracy").tolist() == [0.40, 0.40, 0.41, 0.41, 0.42, 0.42]
    assert zoo.column("train_accuracy").tolist() == [0.55, 0.60] * 3
    assert zoo.column("epoch").tolist() == [5, 10] * 3
    assert zoo.group.tolist() == [0, 0, 1, 1, 2, 2]
    for position, state in enumerate(states.values()):
        stored = tensors(zoo, position)
        assert stored.keys() == state.keys()
        assert all(torch.equal(stored[name], value) for name, value in state.items())


def test_neurons_of_a_vit_but_not_its_stream_can_be_moved(dng, imported):
    """Heads and hidden layers have symmetries; constant positions are added to the stream, so it has none."""
    root, states = dng
    zoo, _ = imported("dng-vit", root)
    found = zoo.architectures[0]
    # Each of two blocks has three groups: its heads, the neurons in each head, and the hidden layer.
    assert len(found.groups) == 2 * 3
    module = SimpleViT(next(iter(states.values())), heads=4)
    assert verify(module, found, torch.randn(2, 4, 12)).error <= 1e-10


def test_positions_are_those_of_simple_vit():
    """Moving right changes the first half of the waves, moving down the second."""
    corner, right, down, _ = positions(4, 16)
    assert corner.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 4 + [1.0] * 4
    waves = torch.tensor([1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3), 1e-4])
    torch.testing.assert_close(right[:8], torch.cat([waves.sin(), waves.cos()]))
    torch.testing.assert_close(right[8:], corner[8:])
    torch.testing.assert_close(down, torch.cat([corner[:8], right[:8]]))


@pytest.mark.filterwarnings("ignore:.*taken as fixed")
def test_another_transformer_is_described_by_names(dng, imported):
    """A transformer with additional parameters is described by names and shapes."""
    root, _ = dng
    state = {**vit(0), "pos_embedding": torch.randn(4, 16)}
    torch.save(state, root / "vit_models" / "model_0_5.pth")
    zoo, skipped = imported("dng-vit", root)
    assert skipped == {}
    assert [len(architecture.groups) > 0 for architecture in zoo.architectures] == [False, True]


@pytest.mark.filterwarnings("ignore:.*taken as fixed")
def test_a_width_without_positions_is_described_by_names(dng, imported):
    """SimpleViT has no positions for a width of 6, so such a network is described by names and shapes."""
    root, _ = dng
    torch.save(vit(0, dim=6), root / "vit_models" / "model_0_5.pth")
    zoo, skipped = imported("dng-vit", root)
    assert skipped == {}
    assert [architecture.symmetry for architecture in zoo.architectures] == ["none", "verified"]


def test_a_network_without_results_is_skipped(dng, imported):
    """Networks without results, and empty files, are skipped with the reason."""
    root, _ = dng
    torch.save(vit(7), root / "vit_models" / "model_9_5.pth")
    (root / "vit_models" / "model_1_5.pth").write_bytes(b"")
    zoo, skipped = imported("dng-vit", root, epochs=(5,))
    assert len(zoo) == 2
    assert skipped == {
        "vit_models/model_1_5.pth": "the file is empty",
        "vit_models/model_9_5.pth": "stat/results_*.json has no results for model 9 at epoch 5",
    }


@pytest.mark.parametrize(
    "content", ["{", '[{"model_id": 1}]', '[{"model_id": 1, "epoch": 2, "test_accuracy": "x"}]', "3"]
)
def test_damaged_results_are_one_line(dng, imported, content):
    """Damaged results raise one line with the path."""
    root, _ = dng
    (root / "stat" / "results_0_2.json").write_text(content)
    with pytest.raises(ZooError, match=r"results_0_2\.json: not a list of results"):
        imported("dng-vit", root)
