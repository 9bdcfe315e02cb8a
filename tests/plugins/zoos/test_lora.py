"""Zoos of low-rank adapters: training, what is drawn and measured, builds that continue, bad options."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from sneframe_zoos.classifiers.images import Images
from sneframe_zoos.lora import build as lora_build
from sneframe_zoos.lora.build import build, train_block
from sneframe_zoos.lora.low_rank_linear import LowRankLinear
from sneframe_zoos.lora.options import Adapters, DrawnAdapter, draw, generator_of, subsets
from sneframe_zoos.lora.train import INITIAL, AdapterStack, modules_of, train_base
from torch import nn
from torch.nn import functional as F

from sneframe.engine import SerialEngine
from sneframe.errors import ZooError
from sneframe.symmetry import apply, sample
from sneframe.zoo import open_zoo

SMALL = Adapters(
    networks=6,
    size=8,
    width=8,
    mlp=12,
    blocks=1,
    base_steps=20,
    ranks=(1, 3),
    lr=(1e-3, 1e-2),
    steps=(2, 6),
    batch_size=8,
    subsets=3,
    subset_size=2,
    test_images=60,
)
SERIAL = SerialEngine()


def quiet(done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def base() -> dict[str, np.ndarray]:
    return train_base(SMALL)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lora") / "small.zarr"
    build(SMALL, path, quiet, SERIAL)
    return path


def drawn(number: int, rank: int, targets: str = "all", steps: int = 4) -> DrawnAdapter:
    return DrawnAdapter(
        number=number, rank=rank, targets=targets, alpha=4.0, lr=0.01, steps=steps, subset=number % 3
    )


class Lora(nn.Module):
    """One adapter of one linear layer, as in the paper."""

    def __init__(self, linear: nn.Linear, a: torch.Tensor, scaling: float) -> None:
        super().__init__()
        self.linear, self.scaling = linear.requires_grad_(False), scaling
        self.a, self.b = nn.Parameter(a), nn.Parameter(torch.zeros(linear.out_features, len(a)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.linear.weight + self.scaling * self.b @ self.a, self.linear.bias)


def trained_alone(base: dict[str, np.ndarray], adapter: DrawnAdapter) -> dict[str, Lora]:
    """Train one adapter with torch.optim.Adam, on the same images and from the same initial weights."""
    images = SMALL.image_set()
    module = SMALL.design.module(images.shape, images.classes).eval().requires_grad_(False)
    module.load_state_dict({name: torch.from_numpy(value) for name, value in base.items()})
    layers = {}
    for place, name in enumerate(modules_of(SMALL, "all")):
        if name not in modules_of(SMALL, adapter.targets):
            continue
        linear = module.get_submodule(name)
        generator = generator_of(SMALL, adapter.number, stream=INITIAL + (place << 4))
        shape = (adapter.rank, linear.in_features)
        a = torch.from_numpy(generator.uniform(-1, 1, shape) / math.sqrt(linear.in_features)).float()
        layers[name] = Lora(linear, a, adapter.alpha / adapter.rank)
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, layers[name])
    pictures, labels = Images.of(images).train
    own = torch.isin(labels, torch.tensor(subsets(SMALL)[adapter.subset])).nonzero().flatten().numpy()
    shuffled = generator_of(SMALL, adapter.number, stream=1).permutation(own)
    optimiser = torch.optim.Adam(
        [each for layer in layers.values() for each in (layer.a, layer.b)], adapter.lr
    )
    for step in range(adapter.steps):
        rows = torch.from_numpy(shuffled[8 * step : 8 * step + 8])
        optimiser.zero_grad()
        F.cross_entropy(module(pictures[rows]), labels[rows]).backward()
        optimiser.step()
    return layers


def test_adapters_that_are_trained_together_equal_those_of_adam_alone(base: dict[str, np.ndarray]) -> None:
    """Ranks, targets and numbers of steps differ, so this also tests that padding changes nothing."""
    together = [drawn(0, 3), drawn(1, 1, "query-value", steps=6), drawn(2, 2, "attention", steps=2)]
    for adapter, found in zip(together, AdapterStack(SMALL, base).train(together), strict=True):
        alone = trained_alone(base, adapter)
        assert found.factors.keys() == alone.keys()
        for name, layer in alone.items():
            a, b = (torch.from_numpy(each) for each in found.factors[name])
            torch.testing.assert_close(a, layer.a.detach(), rtol=1e-3, atol=2e-5)
            torch.testing.assert_close(b, layer.b.detach(), rtol=1e-3, atol=2e-5)


def test_an_adapter_without_steps_leaves_the_base_as_it_is(base: dict[str, np.ndarray]) -> None:
    (found,) = AdapterStack(SMALL, base).train([drawn(0, 2, steps=0)])
    images = SMALL.image_set()
    module = SMALL.design.module(images.shape, images.classes).eval()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in base.items()})
    pictures, labels = Images.of(images).test
    right = (module(pictures).argmax(1) == labels).double()
    own = torch.isin(labels, torch.tensor(subsets(SMALL)[0]))
    assert found.accuracy_all == pytest.approx(float(right.mean()))
    assert found.accuracy == pytest.approx(float(right[own].mean()))
    assert found.loss_all == pytest.approx(
        float(F.cross_entropy(module(pictures), labels).detach()), rel=1e-4
    )


def test_a_layer_with_several_adapters_gives_each_part_of_the_batch_its_own() -> None:
    linear = nn.Linear(4, 3)
    layer = LowRankLinear(linear)
    a, b, scaling = torch.randn(2, 5, 4), torch.randn(2, 3, 5), torch.tensor([0.5, 2.0])
    layer.adapt(a, b, scaling)
    given = torch.randn(6, 7, 4)
    expected = torch.cat(
        [
            F.linear(given[3 * n : 3 * n + 3], linear.weight + scaling[n] * b[n] @ a[n], linear.bias)
            for n in range(2)
        ]
    )
    torch.testing.assert_close(layer(given), expected)


def test_a_zoo_holds_what_was_drawn_and_measured(zoo: Path) -> None:
    found = open_zoo(zoo)
    assert len(found) == 6
    for row, number in enumerate(found.group):
        adapter = draw(SMALL, int(number))
        assert found.column("rank")[row] == adapter.rank
        assert found.column("targets")[row] == adapter.targets
        assert found.column("alpha")[row] == adapter.alpha
        assert found.column("classes")[row] == "+".join(map(str, subsets(SMALL)[adapter.subset]))
    assert bool(((found.column("accuracy") >= 0) & (found.column("accuracy") <= 1)).all())
    assert len(set(found.group)) == 6


def test_a_zoo_holds_the_factors_and_the_scaling_of_each_module(
    zoo: Path, base: dict[str, np.ndarray]
) -> None:
    """The weights of an adapter under their names are those that its training returned."""
    batch = open_zoo(zoo).load()
    (found,) = AdapterStack(SMALL, base).train([draw(SMALL, 0)])
    views = batch.select([list(open_zoo(zoo).group).index(0)]).networks[0].parameters()
    for name, (a, b) in found.factors.items():
        np.testing.assert_allclose(views[f"{name}.lora_A.weight"][0], a, rtol=1e-3, atol=2e-5)
        np.testing.assert_allclose(views[f"{name}.lora_B.weight"][0], b, rtol=1e-3, atol=2e-5)
        assert float(views[f"{name}.lora_scaling"][0]) == pytest.approx(found.drawn.alpha / found.drawn.rank)


def test_the_linear_symmetry_keeps_the_updates_of_a_zoo(zoo: Path) -> None:
    batch = open_zoo(zoo).load()
    moved = apply(batch, sample(batch, seed=1, step=0, actions=("linear",)))
    for one, other in zip(batch.networks, moved.networks, strict=True):
        before, after = one.parameters(), other.parameters()
        for name in before:
            if name.endswith("lora_A.weight"):
                b = name.replace("lora_A", "lora_B")
                torch.testing.assert_close(
                    after[b] @ after[name], before[b] @ before[name], rtol=1e-3, atol=1e-5
                )


def test_a_build_that_continues_uses_the_same_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base is trained once. After an interruption it is read, not trained again."""
    monkeypatch.setattr(lora_build, "BLOCK", 3)
    trained: list[int] = []

    def interrupted(config: Adapters, block: int, **shared: object) -> object:
        if block == 1:
            raise KeyboardInterrupt
        return train_block(config, block, **shared)

    def counted(config: Adapters) -> object:
        trained.append(1)
        return train_base(config)

    monkeypatch.setattr(lora_build, "train_base", counted)
    monkeypatch.setattr(lora_build, "train_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(SMALL, tmp_path / "zoo.zarr", quiet, SERIAL)
    monkeypatch.setattr(lora_build, "train_block", train_block)
    build(SMALL, tmp_path / "zoo.zarr", quiet, SERIAL)
    assert len(trained) == 1
    assert len(open_zoo(tmp_path / "zoo.zarr")) == 6
    assert not (tmp_path / "zoo.zarr.part").exists()


# -- bad options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"subset_size": 11}, "digits: sets of 11 classes are wanted, but there are 10"),
        ({"subsets": 46}, "digits: 46 different sets of 2 of 10 classes were not found"),
        ({"heads": 3}, "a transformer's width must be a multiple of its heads"),
        ({"patch": 8}, "this transformer"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_a_folder_is_made(
    changes: dict[str, int], line: str, tmp_path: Path
) -> None:
    with pytest.raises(ZooError, match=line):
        build(evolve(SMALL, **changes), tmp_path / "zoo.zarr", quiet, SERIAL)
    assert not list(tmp_path.glob("zoo.zarr*"))


@pytest.mark.parametrize(
    "changes", [{"ranks": (0, 3)}, {"ranks": (3, 2)}, {"targets": ("head",)}, {"alphas": ()}]
)
def test_options_out_of_range_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        evolve(SMALL, **changes)
