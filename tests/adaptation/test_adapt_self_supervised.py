"""An encoder that was trained without properties on one zoo reads the networks of another zoo."""

import pytest
import torch

import sneframe
from sneframe.errors import PartError, RunError
from sneframe.run_folder import checkpoint, tensor_files
from sneframe.run_folder.adapted import read_adaptation
from sneframe.testing import toy_zoo

SMALL = (
    "layer_encoder.width=8",
    "layer_encoder.heads=2",
    "layer_encoder.blocks=1",
    "invariance.width=8",
    "invariance.heads=2",
    "invariance.blocks=1",
    "train.epochs=1",
    "device=cpu",
)


@pytest.fixture(scope="module")
def zoos(tmp_path_factory):
    """Write a zoo of MLPs 1 → 4 → 4 → 1, and one of MLPs 1 → 6 → 1."""
    folder = tmp_path_factory.mktemp("zoos")
    return (
        toy_zoo(folder / "old.zarr", networks=40),
        toy_zoo(folder / "new.zarr", networks=40, hidden=((6,),), seed=1),
    )


def test_sane_reads_another_architecture(zoos, tmp_path):
    """Ten labelled networks are enough to fit the head again; the encoder stays as it was."""
    old, new = zoos
    config = sneframe.recipe("sane", *SMALL, "layer_encoder.latent=4", f"zoo.path={old}")
    run = sneframe.run(config, tmp_path / "run", report=False)
    adapted = sneframe.adapt(run.folder, new, networks=10, out=tmp_path / "adapted", report=False)
    tried = [each.name for each in read_adaptation(adapted.folder).adjustments]
    assert tried == ["nothing", "shift", "affine", "monotone", "head"]
    assert adapted.metrics["test"]["n"] == 30
    before, after = (
        tensor_files.read_tensors(each.folder / "best.safetensors")[0] for each in (run, adapted)
    )
    assert all(torch.equal(t, after[name]) for name, t in before.items() if name.startswith("encoder."))


def test_an_adapted_run_has_no_decoder(zoos, tmp_path):
    """The decoder belongs to the run that was adapted, and its absence is an error of one line."""
    old, new = zoos
    config = sneframe.recipe("sane", *SMALL, "layer_encoder.latent=4", f"zoo.path={old}")
    run = sneframe.run(config, tmp_path / "run", report=False)
    adapted = sneframe.adapt(run.folder, new, networks=10, out=tmp_path / "adapted", report=False)
    path = adapted.folder / "best.safetensors"
    model, _, _ = checkpoint.load_model(path)
    with pytest.raises(RunError, match="do not match the configuration"):
        checkpoint.load_invariance(path, model)


def test_hyperrep_refuses_another_layout(zoos, tmp_path):
    """An encoder for one layout cannot read a zoo of another one."""
    old, new = zoos
    config = sneframe.recipe("hyperrep", *SMALL, "aggregator.width=4", f"zoo.path={old}")
    run = sneframe.run(config, tmp_path / "run", report=False)
    with pytest.raises(
        PartError, match=r"'hyperrep/transformer' was built for|was fitted on 1 architectures"
    ):
        sneframe.adapt(run.folder, new, networks=10, out=tmp_path / "adapted", report=False)
