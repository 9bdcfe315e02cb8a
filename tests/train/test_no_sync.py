"""Within an epoch nothing is read back from the device. The meta device shows this on any machine.

Tensors on torch's meta device have no values. Operators that need a value, such as ``item``, ``tolist``,
``cpu`` and ``nonzero``, fail there. On a GPU they would wait for the device.
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import sneframe
from sneframe.testing import toy_zoo
from sneframe.train import loop

CASES = [
    ("sne", ((4, 4), (5, 5, 5))),
    ("sne/paper", ((4, 4),)),
    ("sne/message", ((4, 4), (5, 5, 5))),
    ("stats/mlp", ((4, 4), (5, 5))),
    ("dwsnet", ((4, 4),)),
    ("nfn", ((4, 4),)),
    ("nfn/np", ((4, 4),)),
    ("nfn/nft", ((4, 4),)),
    ("deepsets", ((4, 4), (5, 5, 5))),
    ("mlp", ((4, 4),)),
    ("probe", ((4, 4), (5, 5, 5))),
]
#: All augmentations except the matching of neurons, which runs on the host.
AUGMENTED = """augmentation=[
    {part="augmentation/symmetry", actions=["permute", "scale", "sign"]},
    {part="augmentation/noise"},
    {part="augmentation/dropout"},
    {part="augmentation/erasing"},
    {part="augmentation/mixup", align=false},
]"""


class NoBooleanWrite(TorchDispatchMode):
    """Refuses writes through a mask: GPUs wait for them, but the meta device does not fail."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("index_put", "index_put_", "_index_put_impl_"):
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    raise RuntimeError("written through a mask")
        return func(*args, **(kwargs or {}))


def config_for(recipe, hidden, tmp_path, *words):
    zoo = toy_zoo(tmp_path / "toy.zarr", hidden=hidden, networks=24)
    return sneframe.recipe(recipe, f"zoo.path={zoo}", "zoo.property=scale", "train.batch_size=8", *words)


@pytest.mark.parametrize(
    ("recipe", "hidden", "words"), [*((*case, ()) for case in CASES), (*CASES[0], (AUGMENTED,))]
)
def test_an_epoch_reads_nothing_back(recipe, hidden, words, tmp_path, monkeypatch):
    """All steps of an epoch work on the meta device; the run fails at its end, where losses are read."""
    steps, finished, real, adam = set(), [], loop.train_step, loop.AdamW

    def step(loop, positions, number):
        assert {tensor.device.type for tensor in (*loop.stepper.parameters(), loop.targets, loop.sums)} == {
            "meta"
        }
        assert loop.data.select(positions).device.type == "meta"
        with NoBooleanWrite():
            real(loop, positions, number)
        finished.append(number)
        steps.add(loop.steps)

    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    monkeypatch.setattr(loop, "train_step", step)
    # The fused kernel works on real devices only.
    monkeypatch.setattr(
        loop, "AdamW", lambda parameters, **options: adam(parameters, **{**options, "fused": False})
    )
    config = config_for(recipe, hidden, tmp_path, "device=cpu", *words)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        sneframe.run(config, tmp_path / "run", report=False)
    assert steps == {len(finished)}
    assert len(finished) > 1


@pytest.mark.cuda
@pytest.mark.parametrize(("recipe", "hidden"), CASES)
def test_an_epoch_on_a_gpu_waits_for_nothing(recipe, hidden, tmp_path, monkeypatch):
    """The second epoch waits for nothing; the first one may, to prepare each architecture."""
    real = loop.train_step

    def step(loop, positions, number):
        torch.cuda.set_sync_debug_mode("error" if number >= loop.steps else "default")
        try:
            real(loop, positions, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "train_step", step)
    sneframe.run(
        config_for(recipe, hidden, tmp_path, "device=cuda", "train.epochs=2"), tmp_path / "run", report=False
    )


WAITS = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0]),
    "bool": lambda x: bool((x > 0).any()),
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "asarray": np.asarray,
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu", non_blocking=True),
    "copy_": lambda x: torch.zeros(5).copy_(x),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "mask written": lambda x: x.index_put_((x > 0,), torch.zeros_like(x)),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "repeat_interleave": lambda x: x.repeat_interleave(x.long()),
    "slice": lambda x: [1, 2, 3][: x.long()[0]],
}


@pytest.mark.parametrize("wait", WAITS)
def test_what_waits_is_caught(wait):
    """A step that reads a value back from the device fails on the meta device."""
    with pytest.raises((RuntimeError, TypeError)), NoBooleanWrite():
        WAITS[wait](torch.ones(5, device="meta"))
    WAITS[wait](torch.ones(5))
