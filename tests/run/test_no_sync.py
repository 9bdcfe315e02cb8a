"""The training step reads nothing back from the device: checked on any machine by watching its operators."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import sneframe
from sneframe import devices, fit, plugins
from sneframe.config import plugins_named, unstructure
from sneframe.data import load_data
from sneframe.model import build_invariance, build_model
from sneframe.objective import Objective
from sneframe.plan import epoch_batches
from sneframe.progress import Reporter
from sneframe.tasks import Regression
from sneframe.testing import toy_zoo

FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero")


class HostSync(AssertionError):
    """An operator that would make the host wait for the device."""


class NoSync(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        kwargs = kwargs or {}
        if name in FORBIDDEN:
            raise HostSync(name)
        indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
        if any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices):
            raise HostSync("boolean indexing")
        if name == "repeat_interleave" and kwargs.get("output_size") is None:
            raise HostSync("repeat_interleave without output_size")
        if name in ("_to_copy", "to"):
            source = next((a for a in args if isinstance(a, torch.Tensor)), None)
            target = kwargs.get("device")
            if (
                source is not None
                and target is not None
                and source.device.type != "cpu"
                and torch.device(target).type == "cpu"
            ):
                raise HostSync("a copy to the host")
        return func(*args, **kwargs)


def loop_for(config):
    registry = plugins.load(plugins_named(unstructure(config)))
    data = load_data(config.zoo, Reporter())
    accelerator = devices.prepare(config.device, config.precision)
    model = build_model(config, registry, data.batch.architectures)
    model.encoder.normalise.fit(data.batch.select(data.split.train))
    task = Regression.fit(data.property, data.targets[data.split.train])
    objective = Objective(
        model, task, build_invariance(config, registry, model), task_weight=1.0, processes=1
    )
    data = data.to(accelerator.device)
    optimiser = torch.optim.AdamW(objective.to(accelerator.device).parameters(), lr=1e-3, fused=True)
    stepper, optimiser = accelerator.prepare(objective, optimiser)
    return fit.Loop(
        objective=objective,
        stepper=stepper,
        optimiser=optimiser,
        accelerator=accelerator,
        data=data,
        targets=data.targets_on(accelerator.device),
        config=config,
        sums=torch.zeros(3, device=accelerator.device),
    )


def step_without_sync(config):
    loop = loop_for(config)
    loop.stepper.train()
    batches = epoch_batches(loop.data.split.train, batch_size=8, seed=0, epoch=0)
    fit.train_step(loop, batches[0], 0)  # what is made once per architecture is made here
    with NoSync():
        fit.train_step(loop, batches[1], 1)


CASES = [
    ("sne", ((4, 4), (5, 5, 5))),
    ("sne/paper", ((4, 4),)),
    ("stats/mlp", ((4, 4), (5, 5))),
    ("dwsnet", ((4, 4),)),
]


@pytest.mark.parametrize(("recipe", "hidden"), CASES)
def test_a_training_step_reads_nothing_back(recipe, hidden, tmp_path):
    zoo = toy_zoo(tmp_path / "toy.zarr", hidden=hidden, networks=24)
    step_without_sync(
        sneframe.recipe(recipe, f"zoo.path={zoo}", "zoo.property=scale", "train.batch_size=8", "device=cpu")
    )


@pytest.mark.cuda
@pytest.mark.parametrize(("recipe", "hidden"), CASES)
def test_a_training_step_on_cuda_reads_nothing_back(recipe, hidden, tmp_path):
    zoo = toy_zoo(tmp_path / "toy.zarr", hidden=hidden, networks=24)
    step_without_sync(
        sneframe.recipe(recipe, f"zoo.path={zoo}", "zoo.property=scale", "train.batch_size=8", "device=cuda")
    )


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.arange(3).repeat_interleave(torch.tensor([1, 2, 3])),
        lambda x: bool((x > 0).any()),
    ],
)
def test_what_waits_is_caught(wait):
    with pytest.raises(HostSync), NoSync():
        wait(torch.randn(5))
