"""The program of both processes in ``test_two_processes.py``; accelerate's launcher runs it.

Arguments: a folder, and a JSON object with the runs to make and the runs to be refused, each a list of recipe
and words by its name.
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from sneframe_dwsnet.batch_norm import BatchNorm

import sneframe
from sneframe.errors import RunError
from sneframe.run_folder import tensor_files
from sneframe.testing import toy_zoo
from sneframe.train import data


def runs(folder, words):
    for name, (recipe, *rest) in words.items():
        sneframe.run(sneframe.recipe(recipe, *rest), folder / name, report=False)


def refused(folder, words):
    """Record in each process why a run is refused."""
    for name, (recipe, *rest) in words.items():
        try:
            sneframe.run(sneframe.recipe(recipe, *rest), folder / name, report=False)
        except RunError as error:
            (folder / f"{name} refused by {dist.get_rank()}").write_text(str(error))


def demo(folder):
    """Load the demo zoo; the process that does not find it writes a file and builds it."""

    def build(reporter):
        path = folder / "demo.zarr"
        there = path.exists()
        time.sleep(0.5)  # long enough for both processes to look for it
        if not there:
            (folder / f"built by {dist.get_rank()}").touch()
            toy_zoo(path)
        return path

    data.demo_zoo = build
    sneframe.run(sneframe.recipe("stats/mlp", "train.epochs=0", "device=cpu"), folder / "demo", report=False)


def batch_norm(folder):
    """Take two steps on the rows of this process in a batch; each row has its own weight in the loss."""
    given, _ = tensor_files.read_tensors(folder / "batch_norm.safetensors")
    norm, mine = BatchNorm(given["rows"].shape[-1]).double(), slice(dist.get_rank(), None, 2)
    made = []
    rows = given["rows"][:, mine].clone().requires_grad_()
    for x, weight in zip(rows, given["weights"][:, mine], strict=True):
        made.append(norm(x))
        (made[-1] * weight).sum().backward()
    left = {"made": torch.stack(made), "rows": rows.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    left |= {"mean": norm.running_mean, "var": norm.running_var, "steps": norm.num_batches_tracked}
    tensor_files.write_tensors(folder / f"batch_norm_{dist.get_rank()}.safetensors", left, {})


if __name__ == "__main__":
    out = Path(sys.argv[1])
    words = json.loads(sys.argv[2])
    runs(out, words["runs"])
    drawn_with = sorted({"matplotlib", "sklearn.manifold"} & sys.modules.keys())
    (out / f"imported by {dist.get_rank()}").write_text(" ".join(drawn_with))
    refused(out, words["refused"])
    demo(out)
    batch_norm(out)
