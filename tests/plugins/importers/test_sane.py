"""Token files of SANE, in a small copy that is tokenised here."""

import json

import pytest
import torch
from stored import tensors
from torch import nn

from sneframe.errors import ZooError

LENGTH = 20  # shorter than the 37 values of a channel of the second layer, which takes two tokens


def network(seed):
    torch.manual_seed(seed)
    made = nn.ModuleDict({"conv": nn.Conv2d(1, 4, 3), "conv2": nn.Conv2d(4, 6, 3), "fc": nn.Linear(6, 3)})
    return {name: value.detach().clone() for name, value in made.state_dict().items()}


def tokenise(state, scales=None):
    """Turn a state dict into tokens: weights and bias of each channel, divided, the last token padded."""
    w, m, p = [], [], []
    for layer, stem in enumerate(dict.fromkeys(name.rpartition(".")[0] for name in state)):
        weight, bias = state[f"{stem}.weight"].flatten(1), state[f"{stem}.bias"]
        for channel in range(len(weight)):
            values = torch.cat([weight[channel], bias[channel : channel + 1]])
            if scales:
                values = (values - scales[layer]["mean"]) / scales[layer]["std"]
            for piece in values.split(LENGTH):
                w.append(torch.cat([piece, torch.zeros(LENGTH - len(piece))]))
                m.append(torch.arange(LENGTH) < len(piece))
                p.append(torch.tensor([len(p), layer, channel]))
    return torch.stack(w), torch.stack(m), torch.stack(p).to(torch.int16)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "tokens"
    states = {}
    for part, count in (("trainset", 3), ("valset", 1), ("testset", 1)):
        samples = root / f"dataset_torch.{part}"
        samples.mkdir(parents=True)
        for number in range(count):
            state = network(len(states))
            w, m, p = tokenise(state)
            props = {"test_acc": 0.1 * len(states), "training_iteration": 25}
            torch.save({"w": w, "m": m, "p": p, "props": props}, samples / f"sample_{number}.pt")
            states[f"dataset_torch.{part}/sample_{number}.pt"] = state
    torch.save(network(0), tmp_path / "like.pt")
    return root, tmp_path / "like.pt", states


def same(stored, state, tolerance=0.0):
    assert stored.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(stored[name], value, rtol=0, atol=tolerance)


def test_tokens_become_networks_again(folder, imported):
    """Tokens are turned back into the original weights and properties."""
    root, like, states = folder
    zoo, skipped = imported("sane", root, like=like)
    assert skipped == {}
    for position, source in enumerate(zoo.column("source").tolist()):
        same(tensors(zoo, position), states[source])
        assert (
            zoo.split("published")[position]
            == {"train": 0, "val": 1, "test": 2}[source[14:].partition("set")[0]]
        )
    assert sorted(zoo.column("test_acc").tolist()) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert set(zoo.column("training_iteration").tolist()) == {25}


def test_standardisation_is_undone(folder, imported):
    """Weights are rescaled with mean and standard deviation of their part."""
    root, like, states = folder
    scales = [{"mean": 0.5, "std": 2.0}, {"mean": -1.0, "std": 0.25}, {"mean": 0.1, "std": 3.0}]
    state = states["dataset_torch.testset/sample_0.pt"]
    w, m, p = tokenise(state, scales)
    torch.save({"w": w, "m": m, "p": p, "props": {}}, root / "dataset_torch.testset" / "sample_0.pt")
    named = {f"module_list.{3 * number}": scale for number, scale in enumerate(scales)}
    (root / "dataset_normalization_testset.json").write_text(json.dumps(named))
    zoo, _ = imported("sane", root, like=like)
    position = zoo.column("source").tolist().index("dataset_torch.testset/sample_0.pt")
    same(tensors(zoo, position), state, tolerance=1e-5)


def test_a_sample_of_several_epochs_is_one_group(folder, imported):
    """A sample with several epochs gives a network for each epoch, in one group."""
    root, like, _ = folder
    states = [network(50), network(51)]
    stacked = [torch.stack(each) for each in zip(*map(tokenise, states), strict=True)]
    content = dict(zip("wmp", stacked, strict=True)) | {"props": {"test_acc": torch.tensor([0.5, 0.75])}}
    torch.save(content, root / "dataset_torch.trainset" / "sample_7.pt")
    zoo, _ = imported("sane", root, like=like)
    here = [i for i, source in enumerate(zoo.column("source")) if source.endswith("sample_7.pt")]
    assert zoo.column("test_acc")[here].tolist() == [0.5, 0.75]
    assert len(set(zoo.group[here].tolist())) == 1
    for position, state in zip(here, states, strict=True):
        same(tensors(zoo, position), state)


def test_tokens_of_another_network_are_skipped(folder, imported):
    """Tokens that do not fit the state dict are skipped with the reason."""
    root, like, _ = folder
    w, m, p = tokenise(network(0))
    train = root / "dataset_torch.trainset"
    torch.save({"w": w[:4], "m": m[:4], "p": p[:4]}, train / "sample_0.pt")
    torch.save({"w": w, "m": m[:, :3], "p": p}, train / "sample_1.pt")
    torch.save({"w": w}, train / "sample_2.pt")
    torch.save({"w": w[1:], "m": m[1:], "p": p[1:]}, train / "sample_3.pt")
    _, skipped = imported("sane", root, like=like)
    reasons = [
        "tokens of 1 layers, but the state dict of '--like' has 3",
        "w (19, 20), m (19, 3) and p (19, 3) contradict",
        "does not hold the tensors w, m and p",
        "layer 0 has 30 values, but conv has 40 weights",
    ]
    assert len(skipped) == len(reasons)
    for number, reason in enumerate(reasons):
        assert reason in skipped[f"dataset_torch.trainset/sample_{number}.pt"]


def test_damaged_extra_files_are_errors(folder, imported, tmp_path):
    """A missing or unsuitable state dict, or a damaged normalisation, raises ZooError."""
    root, like, _ = folder
    with pytest.raises(ZooError, match=r"gone\.pt: no such file"):
        imported("sane", root, like=tmp_path / "gone.pt")
    torch.save({**network(0), "bn.running_mean": torch.zeros(4)}, like)
    with pytest.raises(ZooError, match=r"holds 'bn\.running_mean', which tokens of SANE cannot hold"):
        imported("sane", root, like=like)
    torch.save(network(0), like)
    (root / "dataset_normalization_trainset.json").write_text('{"a": 3}')
    with pytest.raises(ZooError, match="not a normalisation of layers"):
        imported("sane", root, like=like)
