"""Stacked training equals training one by one: torch.optim on a plain module, with the same batches."""

import numpy as np
import pytest
import torch
from sneframe_zoos.classifiers import convnet, hyperparameters
from sneframe_zoos.classifiers.hyperparameters import Hyperparameters
from sneframe_zoos.classifiers.images import Images
from sneframe_zoos.classifiers.initial import draw_weights
from sneframe_zoos.classifiers.mlp import MLPDesign
from sneframe_zoos.classifiers.per_run import Mask, Masks, Order, Run
from sneframe_zoos.classifiers.train import train
from sneframe_zoos.classifiers.transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F

IMAGE, CLASSES, BATCH, SEED = (1, 16, 16), 4, 8, 3
DESIGNS = {
    "small-cnn": convnet.SMALL_CNN,
    "arch1-of-small-images": convnet.ConvNet(
        convs=convnet.ARCH1.convs[:2], features="adaptive", hidden=(12,)
    ),
    "arch2": convnet.ARCH2,
    "wild": convnet.wild(np.random.default_rng(4), ("relu", "tanh"), "silu"),
    "mlp": MLPDesign(widths=(12, 8), activation="tanh"),
    "vit": VisionTransformer(patch=5, width=12, mlp=16),
}


def hyper(**values):
    usual = {
        "lr": 0.01,
        "optimiser": "sgd",
        "init": "he_normal",
        "init_std": float("nan"),
        "l2": 1e-3,
        "dropout": 0.0,
        "activation": "relu",
        "train_fraction": 1.0,
        "epochs": 2,
    }
    return Hyperparameters(**{**usual, **values})


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(60, *IMAGE, generator=generator, dtype=torch.float64) * 2 - 1
    labels = torch.randint(CLASSES, (60,), generator=generator)
    return Images(train=(pictures[:40], labels[:40]), test=(pictures[40:], labels[40:]))


def runs_of(design, hypers):
    module = design.module(IMAGE, CLASSES)
    generator = np.random.default_rng(0)
    return [
        Run(number=number, hyper=each, weights=draw_weights(module, each, generator))
        for number, each in enumerate(hypers, start=5)
    ]


def one_by_one(design, run, images):
    """Train one module in a plain loop; return its final weights, flat."""
    module = design.module(IMAGE, CLASSES, dropout=run.hyper.dropout).double()
    nn.utils.vector_to_parameters(torch.from_numpy(run.weights), module.parameters())
    kind, options = {
        "sgd": (torch.optim.SGD, {}),
        "momentum": (torch.optim.SGD, {"momentum": 0.9}),
        "adam": (torch.optim.Adam, {}),
        "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9}),
    }[run.hyper.optimiser]
    optimiser = kind(module.parameters(), lr=run.hyper.lr, **options)
    order = Order(run, len(images.train[0]), SEED)
    masks = Masks(module, [run], images.train[0][:1], seed=SEED, batch_size=BATCH)
    modules = {name: mask for name, mask in masks.network.named_modules() if isinstance(mask, Mask)}
    trained = masks.network if modules else module
    if modules:
        nn.utils.vector_to_parameters(torch.from_numpy(run.weights), trained.parameters())
        optimiser = kind(trained.parameters(), lr=run.hyper.lr, **options)
    for _ in range(-(-run.hyper.epochs * len(order.own) // BATCH)):
        chosen = order.take(BATCH)
        for name, mask in masks.draw([0]).items():
            modules[name.removesuffix(".mask")].mask = mask[0]
        loss = F.cross_entropy(trained(images.train[0][chosen]), images.train[1][chosen])
        kernels = [p for n, p in trained.named_parameters() if p.ndim > 1 and n.endswith("weight")]
        loss = loss + run.hyper.l2 * sum(kernel.square().sum() for kernel in kernels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return nn.utils.parameters_to_vector(trained.parameters()).detach().numpy()


def stacked(design, runs, images, **options):
    rate = 0.5 if any(run.hyper.dropout for run in runs) else 0.0
    module = design.module(IMAGE, CLASSES, dropout=rate).double()
    usual = {"seed": SEED, "batch_size": BATCH, "checkpoints": 1}
    return {each.run: each for each in train(module, runs, images, **{**usual, **options})}


@pytest.mark.parametrize("name", DESIGNS)
def test_stacked_training_is_training_one_by_one(name, images):
    """Training in a stack equals a plain loop with torch.optim, for all optimisers and designs."""
    design = DESIGNS[name]
    runs = runs_of(
        design,
        [
            hyper(optimiser="rmsprop", lr=1e-3, dropout=0.4),
            hyper(optimiser="adam", lr=1e-3, train_fraction=0.5),
            hyper(optimiser="momentum", epochs=3, dropout=0.2),
            hyper(optimiser="sgd", epochs=1, l2=0.01),
            hyper(optimiser="adam", lr=3e-3, train_fraction=0.3, epochs=1),
        ],
    )
    found = stacked(design, runs, images)
    for run in runs:
        np.testing.assert_allclose(found[run.number].weights, one_by_one(design, run, images), atol=1e-10)


def test_other_runs_change_only_the_rounding(images):
    """The other runs of a stack do not change a run beyond rounding."""
    design = DESIGNS["small-cnn"]
    runs = runs_of(design, [hyper(optimiser=name, dropout=0.3) for name in hyperparameters.OPTIMISERS])
    together = stacked(design, runs, images)
    for run in runs:
        alone = stacked(design, [run], images)[run.number]
        np.testing.assert_allclose(together[run.number].weights, alone.weights, atol=1e-10)
        assert together[run.number].test_accuracy == alone.test_accuracy


def test_checkpoints_are_at_equal_distances(images):
    """Checkpoints are at equal distances, and the last one is the last epoch."""
    design = DESIGNS["mlp"]
    runs = runs_of(design, [hyper(epochs=6), hyper(epochs=2), hyper(epochs=1)])
    module = design.module(IMAGE, CLASSES).double()
    found = train(module, runs, images, seed=SEED, batch_size=BATCH, checkpoints=3)
    epochs = {run.number: [(c.epoch, c.final) for c in found if c.run == run.number] for run in runs}
    assert epochs == {
        5: [(2, False), (4, False), (6, True)],
        6: [(1, False), (2, True)],
        7: [(1, True)],
    }


def test_a_checkpoint_equals_a_shorter_run(images):
    """The checkpoint of epoch 1 equals the end of a run of one epoch."""
    design = DESIGNS["mlp"]
    (run,) = runs_of(design, [hyper(epochs=3, optimiser="adam")])
    module = design.module(IMAGE, CLASSES).double()
    first, *_ = train(module, [run], images, seed=SEED, batch_size=BATCH, checkpoints=3)
    (short,) = runs_of(design, [hyper(epochs=1, optimiser="adam")])
    np.testing.assert_array_equal(first.weights, stacked(design, [short], images)[5].weights)


def test_each_epoch_sees_each_image_once():
    """A run sees its fraction of the images once in each epoch, in a new order."""
    (run,) = runs_of(DESIGNS["mlp"], [hyper(train_fraction=0.25)])
    order = Order(run, 40, SEED)
    assert len(set(order.own.tolist())) == 10
    epochs = [torch.cat([order.take(4), order.take(6)]).tolist() for _ in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [sorted(order.own.tolist())] * 2
    assert epochs[0] != epochs[1]


def test_a_batch_may_be_larger_than_the_images(images):
    """A batch may hold more images than the run has."""
    design = DESIGNS["mlp"]
    (run,) = runs_of(design, [hyper(dropout=0.5, epochs=3)])
    assert stacked(design, [run], images, batch_size=100)[5].healthy


def test_a_run_that_diverges_is_not_healthy(images):
    """A diverged run is unhealthy and does not affect the others."""
    design = DESIGNS["mlp"]
    runs = runs_of(design, [hyper(lr=1e200, epochs=1), hyper(epochs=1)])
    found = stacked(design, runs, images)
    assert [found[5].healthy, found[6].healthy] == [False, True]


def test_accuracy_and_loss_are_without_dropout(images):
    """Stored accuracies and losses equal those of the module in eval mode."""
    design = DESIGNS["arch2"]
    (run,) = runs_of(design, [hyper(dropout=0.5, train_fraction=0.5)])
    found = stacked(design, [run], images)[5]
    module = design.module(IMAGE, CLASSES, dropout=0.5).double().eval()
    nn.utils.vector_to_parameters(torch.from_numpy(found.weights), module.parameters())
    own = Order(run, 40, SEED).own
    for (pictures, labels), accuracy, loss in (
        (images.test, found.test_accuracy, found.test_loss),
        ((images.train[0][own], images.train[1][own]), found.train_accuracy, found.train_loss),
    ):
        logits = module(pictures)
        assert accuracy == (logits.argmax(1) == labels).double().mean().item()
        assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-12)


def test_dropout_masks_keep_the_mean():
    """Masks are 0 or 1 / (1 - rate), with mean 1; without dropout they are 1."""
    module = DESIGNS["mlp"].module(IMAGE, CLASSES, dropout=0.5)
    runs = runs_of(DESIGNS["mlp"], [hyper(dropout=0.25), hyper()])
    masks = Masks(module, runs, torch.zeros(1, *IMAGE), seed=SEED, batch_size=4000).draw([0, 1])
    first = masks["hidden.0.2.mask"]
    assert first.shape == (2, 4000, 12)
    assert first[0].unique().tolist() == pytest.approx([0, 4 / 3])
    assert first[0].mean().item() == pytest.approx(1, abs=0.02)
    assert (first[1] == 1).all()
