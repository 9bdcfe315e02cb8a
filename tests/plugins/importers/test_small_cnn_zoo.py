"""The Small CNN Zoo, in a small copy of its files, in TensorFlow's order of axes."""

import csv
import gzip
import random

import numpy as np
import pytest
import torch
from stored import tensors
from torch.nn import functional as F

from sneframe.errors import ZooError

VARIABLES = (
    ("sequential/conv2d/bias:0", (16,)),
    ("sequential/conv2d/kernel:0", (3, 3, 1, 16)),
    ("sequential/conv2d_1/bias:0", (16,)),
    ("sequential/conv2d_1/kernel:0", (3, 3, 16, 16)),
    ("sequential/conv2d_2/bias:0", (16,)),
    ("sequential/conv2d_2/kernel:0", (3, 3, 16, 16)),
    ("sequential/dense/bias:0", (10,)),
    ("sequential/dense/kernel:0", (16, 10)),
)
WIDTH = 4970
STEPS = (0, 40, 86)
ACTIVATIONS = ("relu", "tanh", "sigmoid", "selu")


def rows_of(runs):
    for run in range(runs):
        for step in STEPS:
            yield run, step


@pytest.fixture
def folder(tmp_path):
    """Ten runs of three checkpoints."""
    source = tmp_path / "mnist"
    source.mkdir()
    every = list(rows_of(10))
    weights = np.random.default_rng(0).normal(size=(len(every), WIDTH)).astype(np.float32)
    weights[4, 100] = np.nan
    np.save(source / "weights.npy", weights)
    with (source / "layout.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["varname", "start_idx", "end_idx", "shape"])
        start = 0
        for name, shape in VARIABLES:
            end = start + int(np.prod(shape))
            writer.writerow([name, start, end, str(shape)])
            start = end
    with gzip.open(source / "metrics.csv.gz", "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "",
                "config.activation",
                "config.learning_rate",
                "config.init_std",
                "modeldir",
                "step",
                "test_accuracy",
            ]
        )
        for number, (run, step) in enumerate(every):
            std = "" if run % 2 else "0.1"
            writer.writerow(
                [number, ACTIVATIONS[run % 4], 0.01 * run, std, f"/home/x/{run}", step, number / 100]
            )
    return source, weights


def split_of(weights, name):
    start = 0
    for each, shape in VARIABLES:
        end = start + int(np.prod(shape))
        if each == name:
            return weights[start:end].reshape(shape)
        start = end
    raise AssertionError(name)


def test_every_checkpoint_is_a_network_with_its_metrics(folder, imported):
    """Each row becomes a network with its metrics, group, health and activation."""
    source, _ = folder
    zoo, skipped = imported("small-cnn-zoo", source)
    assert skipped == {}
    assert len(zoo) == 30
    assert len(zoo.architectures) == 4
    assert {a.num_weights for a in zoo.architectures} == {WIDTH}
    assert all(len(a.groups) == 3 for a in zoo.architectures)
    assert zoo.properties == ("activation", "learning_rate", "init_std", "step", "test_accuracy", "final")
    assert zoo.column("final").tolist() == [step == max(STEPS) for step in zoo.column("step").tolist()]
    row = np.rint(zoo.column("test_accuracy") * 100).astype(int)
    assert sorted(row.tolist()) == list(range(30))
    assert zoo.group.tolist() == [f"/home/x/{number // 3}" for number in row]
    assert zoo.healthy.tolist() == [number != 4 for number in row]
    assert [a.layers[0].activation for a in zoo.architectures] == list(ACTIVATIONS)
    assert [a.groups[0].actions[-1] for a in zoo.architectures] == ["scale", "sign", "permute", "permute"]
    zoo.verify()


def test_a_network_computes_what_it_did_in_tensorflow(folder, imported):
    """An imported network computes what its TensorFlow weights compute."""
    source, weights = folder
    zoo, _ = imported("small-cnn-zoo", source)
    position = int(np.flatnonzero(np.rint(zoo.column("test_accuracy") * 100) == 0)[0])
    state = tensors(zoo, position)
    images = np.random.default_rng(1).normal(size=(2, 28, 28, 1))  # as TensorFlow has them: channels last
    x, y = images, torch.from_numpy(images).permute(0, 3, 1, 2).float()
    for name in ("conv2d", "conv2d_1", "conv2d_2"):
        kernel, bias = (split_of(weights[0], f"sequential/{name}/{last}:0") for last in ("kernel", "bias"))
        height = (x.shape[1] - 3) // 2 + 1
        x = np.maximum(
            sum(
                x[:, i : i + 2 * height : 2, j : j + 2 * height : 2][:, :height, :height] @ kernel[i, j]
                for i in range(3)
                for j in range(3)
            )
            + bias,
            0,
        )
        y = F.conv2d(y, state[f"{name}.weight"], state[f"{name}.bias"], stride=2).relu()
    x = x.mean((1, 2)) @ split_of(weights[0], "sequential/dense/kernel:0")
    x += split_of(weights[0], "sequential/dense/bias:0")
    y = F.linear(y.mean((2, 3)), state["dense.weight"], state["dense.bias"])
    np.testing.assert_allclose(y.numpy(), x, rtol=1e-3)


def test_steps_can_be_selected(folder, imported):
    """The option steps selects checkpoints; the error for other steps lists all."""
    source, _ = folder
    zoo, _ = imported("small-cnn-zoo", source, steps=(86,))
    assert zoo.column("step").tolist() == [86] * 10
    with pytest.raises(ZooError, match=r"no checkpoint of step 85 \(steps: 0, 40, 86\)"):
        imported("small-cnn-zoo", source, out="b.zarr", steps=(85,))


@pytest.mark.parametrize("head", [True, False])
def test_the_published_split_is_that_of_nfn(folder, imported, tmp_path, head):
    """The split equals the one that NFN computes, with and without the header line."""
    source, _ = folder
    order = np.random.default_rng(2).permutation(30).tolist()
    path = tmp_path / "mnist_split.csv"
    path.write_text("".join(f"{number}\n" for number in ([0] if head else []) + order))
    zoo, _ = imported("small-cnn-zoo", source, split=path)
    # As NFN reads it, step by step.
    final = [row for row in order if STEPS[row % 3] == 86]
    first, test = final[:5], final[5:]
    shuffled = list(range(5))
    random.Random(0).shuffle(shuffled)
    train, val = [first[i] for i in shuffled[:4]], [first[i] for i in shuffled[4:]]
    row = np.rint(zoo.column("test_accuracy") * 100).astype(int).tolist()
    found = dict(zip(row, zoo.split("published").tolist(), strict=True))
    assert {r for r, part in found.items() if part == 0} == set(train)
    assert {r for r, part in found.items() if part == 1} == set(val)
    assert {r for r, part in found.items() if part == 2} == set(test)


def test_files_that_do_not_fit_are_refused(folder, imported):
    """Weights of the wrong shape or type, or missing weights, raise ZooError."""
    source, weights = folder
    np.save(source / "weights.npy", weights[:-1])
    with pytest.raises(
        ZooError, match=r"weights\.npy: .* \(30, 4970\), .* got float32 of shape \(29, 4970\)"
    ):
        imported("small-cnn-zoo", source)
    np.save(source / "weights.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ZooError, match=r"weights\.npy: damaged, or not an array"):
        imported("small-cnn-zoo", source)
    (source / "weights.npy").unlink()
    with pytest.raises(ZooError, match=r"weights\.npy: No such file"):
        imported("small-cnn-zoo", source)


def test_an_array_header_that_claims_too_much_is_refused(folder, imported):
    """A header that claims more rows than the file holds raises ZooError."""
    source, _ = folder
    content = (source / "weights.npy").read_bytes()
    (source / "weights.npy").write_bytes(
        content.replace(b"(30, 4970)", b"(10000000000, 4970)")[:-17] + b"\0" * 8
    )
    with pytest.raises(ZooError, match=r"weights\.npy: damaged, or not an array"):
        imported("small-cnn-zoo", source)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('sequential/conv2d/gamma:0,0,16,"(16,)"', "is neither a kernel nor a bias"),
        ('sequential/conv2d/bias:0,0,15,"(16,)"', "but start_idx 0 and end_idx 15"),
        ("sequential/conv2d/bias:0,0,16,\"__import__('os')\"", "not a list of variables"),
        ("sequential/conv2d/bias:0,0,16,16", "has the impossible shape 16"),
        ("sequential/conv2d/bias:0,0", "not a list of variables"),
    ],
)
def test_a_damaged_list_of_variables_is_one_line(folder, imported, line, said):
    """A damaged layout.csv raises one line, and its content is never evaluated."""
    source, _ = folder
    (source / "layout.csv").write_text(f"varname,start_idx,end_idx,shape\n{line}\n")
    with pytest.raises(ZooError, match=said):
        imported("small-cnn-zoo", source)


def test_damaged_metrics_are_one_line(folder, imported):
    """Cut, foreign or empty metrics raise one line with the path."""
    source, _ = folder
    whole = (source / "metrics.csv.gz").read_bytes()
    for content in (whole[: len(whole) // 2], b"junk", b"", gzip.compress(b"a,b\n1,2\n")):
        (source / "metrics.csv.gz").write_bytes(content)
        with pytest.raises(ZooError, match=r"metrics\.csv\.gz: "):
            imported("small-cnn-zoo", source)


@pytest.mark.parametrize("content", ["", "0\n1\n", "x\n", "0\n" * 31])
def test_a_split_of_another_zoo_is_refused(folder, imported, tmp_path, content):
    """A split file that is not a permutation of the rows raises ZooError."""
    source, _ = folder
    (tmp_path / "split.csv").write_text(content)
    with pytest.raises(ZooError, match=r"split\.csv: no"):
        imported("small-cnn-zoo", source, split=tmp_path / "split.csv")
