"""Two processes, started as the docs say, give the same numbers as one."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import sneframe
from sneframe.run_folder import tensor_files

FLOW = Path(__file__).parents[2] / "docs" / "flow.md"
WORDS = ("train.epochs=1", "train.batch_size=9", "device=cpu")
RECIPES = {
    "sne": (
        "layer_encoder.width=8",
        "layer_encoder.heads=2",
        "layer_encoder.points=2",
        "aggregator.heads=2",
        'augmentation=[{part="augmentation/symmetry"}, {part="augmentation/noise"},'
        '{part="augmentation/erasing"}]',
    ),
    "sne/message": ("layer_encoder.width=8", "layer_encoder.heads=2", "aggregator.heads=2"),
    # At its own learning rate dwsnet turns rounding into differences of more than 1e-4.
    "dwsnet": (
        "layer_encoder.width=4",
        "layer_encoder.heads=2",
        "layer_encoder.hidden_layers=2",
        "train.lr=1e-3",
    ),
    # A process contrasts only its own networks, so the contrast is left out. Few numbers are left to ridge
    # regression, which would make rounding larger.
    "sane": (
        "layer_encoder.width=8",
        "layer_encoder.heads=2",
        "layer_encoder.latent=2",
        "invariance.width=8",
        "invariance.heads=2",
        "invariance.contrastive=0",
        "invariance.masked=0.2",
    ),
}
#: Runs that two processes refuse. Three networks make a step of two and a step of one.
REFUSED = {
    "budget": ("train.budget=5",),
    "small": ("zoo.sizes=[3, 5, 32]", "train.batch_size=2"),
}


def words_of(recipe, zoo):
    return [recipe, *RECIPES[recipe], *WORDS, f"zoo.path={zoo}"]


@pytest.fixture(scope="module")
def two(toy_zoo_path, tmp_path_factory):
    """Run ``two_processes.py`` in two processes, and return its folder."""
    folder = tmp_path_factory.mktemp("two")
    generator = torch.Generator().manual_seed(0)
    # Each of two steps has five rows: three for the first process, two for the second.
    rows = 3 + 2 * torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    weights = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    tensor_files.write_tensors(folder / "batch_norm.safetensors", {"rows": rows, "weights": weights}, {})
    (launcher,) = re.findall(
        r"^accelerate launch (.*) -m sneframe run .*--device cpu$", FLOW.read_text(), re.M
    )
    command = [
        *(
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            *shlex.split(launcher),
            "--main_process_port",
            "0",
        ),
        *(str(Path(__file__).with_name("two_processes.py")), str(folder)),
        json.dumps(
            {
                "runs": {recipe: words_of(recipe, toy_zoo_path) for recipe in RECIPES},
                "refused": {
                    name: ["stats/mlp", f"zoo.path={toy_zoo_path}", "device=cpu", *words]
                    for name, words in REFUSED.items()
                },
            }
        ),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def one(toy_zoo_path, tmp_path_factory):
    """Return the same runs, made in this process alone."""
    folder = tmp_path_factory.mktemp("one")
    for recipe in RECIPES:
        sneframe.run(sneframe.recipe(*words_of(recipe, toy_zoo_path)), folder / recipe, report=False)
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_give_the_numbers_of_one(one, two, recipe):
    """Two processes give the numbers of one, also if one of them has more networks in a step."""
    assert json.loads((two / recipe / "environment.json").read_text())["processes"] == 2
    expected, found = (
        json.loads((folder / "metrics.json").read_text()) for folder in (one / recipe, two / recipe)
    )
    for part in ("val", "test"):
        assert found[part] == pytest.approx(expected[part], abs=1e-4)
    # The tolerance is larger here: after one epoch the variance in the denominator is small, and rounding
    # decides the biases before a batch norm.
    assert found["invariance"] == pytest.approx(expected["invariance"], abs=1e-4, rel=1e-2)
    expected, found = (
        json.loads((folder / "history.jsonl").read_text())["train"] for folder in (one / recipe, two / recipe)
    )
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_learn_the_weights_of_one(one, two, recipe):
    """Two processes learn the weights of one, when each tensor is compared as a whole.

    Biases are left out: if the next layer subtracts a bias, its gradient is only rounding, and Adam turns it
    into whole steps. The same can happen to single weights, depending on the processor.
    """
    expected, found = (
        tensor_files.read_tensors(folder / "best.safetensors")[0] for folder in (one / recipe, two / recipe)
    )
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        if name.endswith(("weight", "var")):
            assert (found[name] - tensor).norm() <= 1e-3 * tensor.norm(), name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "budget",
            "train.budget works with one process only, but there are 2; set train.epochs instead",
        ),
        (
            "small",
            "each of the 2 processes needs a network in every step, but the smallest step has only 1: "
            "there are 3 training networks, and train.batch_size = 2",
        ),
    ],
)
def test_what_two_processes_cannot_do_is_refused(two, name, said):
    """Each process refuses a budget, and a step with fewer networks than processes."""
    assert [(two / f"{name} refused by {rank}").read_text() for rank in range(2)] == [said, said]


def test_without_a_report_nothing_that_draws_is_imported(two):
    """Runs with ``report=False`` import neither matplotlib nor t-SNE, and draw no report."""
    assert [(two / f"imported by {rank}").read_text() for rank in range(2)] == ["", ""]
    assert not list(two.rglob("report.html"))


def test_one_process_builds_the_demo_zoo(two):
    """One process builds the demo zoo and the other waits for it."""
    assert [path.name for path in two.glob("built by *")] == ["built by 0"]


def test_batch_norm_over_two_processes_is_torchs(two):
    """Outputs, gradients and statistics equal those of torch's batch norm over the whole batch."""
    given, _ = tensor_files.read_tensors(two / "batch_norm.safetensors")
    found = [tensor_files.read_tensors(two / f"batch_norm_{rank}.safetensors")[0] for rank in range(2)]
    norm = nn.BatchNorm1d(4).double()
    rows = given["rows"].requires_grad_()
    made = torch.stack([norm(x) for x in rows])
    (made * given["weights"]).sum().backward()
    for rank in range(2):
        torch.testing.assert_close(found[rank]["made"], made[:, rank::2])
        torch.testing.assert_close(found[rank]["rows"], rows.grad[:, rank::2])
        torch.testing.assert_close(found[rank]["mean"], norm.running_mean)
        torch.testing.assert_close(found[rank]["var"], norm.running_var)
        assert found[rank]["steps"] == 2
    for name in ("weight", "bias"):
        total = found[0][name] + found[1][name]
        torch.testing.assert_close(total, norm.get_parameter(name).grad)
