"""From images to a table: small zoos of two data sets and three architectures, trained and tested across."""

import numpy as np
import pytest
from sneframe_zoos.classifiers.image_sources import read_images

import sneframe
from sneframe.bench import compare
from sneframe.cli import main
from sneframe.config.suite import Row, Suite

OPTIONS = (
    "--networks",
    "20",
    "--train-images",
    "100",
    "--test-images",
    "50",
    "--epochs",
    "1,3",
    "--batch-size",
    "20",
)
ROWS = (
    ("stats/boosting", "head.trees=10", "head.min_leaf=2"),
    ("stats/pooled", "head.trees=10", "head.min_leaf=2"),
    ("stats/mean",),
    ("deepsets/default", "train.epochs=1"),
    ("nfn/hnp", "train.epochs=1", "layer_encoder.widths=[8,8]"),
    ("dwsnet/default", "train.epochs=1", "layer_encoder.width=8", "layer_encoder.hidden_layers=1"),
    ("sne/default", "train.epochs=1", "layer_encoder.width=16", "layer_encoder.points=2"),
    ("sne/message", "train.epochs=1", "layer_encoder.width=16", "layer_encoder.rounds=1"),
    ("sne/message-statistics", "train.epochs=1", "layer_encoder.width=16", "layer_encoder.rounds=1"),
    ("sne/message-chunk-set", "train.epochs=1", "layer_encoder.width=16", "layer_encoder.rounds=1"),
)
CHAINS = {"stats/boosting", "nfn/hnp", "dwsnet/default"}  #: methods for one architecture


def build(kind, path, *words):
    with pytest.raises(SystemExit) as left:
        main(["zoo", "build", kind, "--engine", "serial", *OPTIONS, *words, "--out", str(path)])
    assert left.value.code == 0
    return path


@pytest.fixture(scope="module")
def zoos(tmp_path_factory):
    """Build small zoos: CNNs on digits and on dark digits, MLPs and transformers on digits."""
    folder = tmp_path_factory.mktemp("zoos")
    digits = read_images("digits")
    np.savez(folder / "negative.npz", images=255 - digits.images, labels=digits.labels)
    return {
        "digits": build("cnn", folder / "digits.zarr", "--seed", "1"),
        "negative": build(
            "cnn", folder / "negative.zarr", "--data", f"npz:{folder / 'negative.npz'}", "--seed", "2"
        ),
        "mlp": build("mlp", folder / "mlp.zarr", "--widths", "8,6", "--seed", "3"),
        "vit": build(
            "transformer", folder / "vit.zarr", "--patch", "5", "--width", "8", "--mlp", "12", "--seed", "4"
        ),
    }


@pytest.fixture
def suite():
    return Suite(
        name="tests/classifiers",
        title="Accuracy of classifiers",
        rows=[Row(label=recipe, recipe=recipe, overrides=words) for recipe, *words in ROWS],
        property="test_accuracy",
        overrides=("zoo.where=final", "zoo.sizes=[0.5,0.2,0.3]"),
        seeds=1,
        metric="tau",
    )


def test_methods_cross_data_sets_and_architectures(suite, zoos, ran, tmp_path):
    """Every method is tested on another data set; only some can take other architectures."""
    result = compare(
        suite, tmp_path / "out", train=[zoos["digits"], zoos["negative"]], test=list(zoos.values())
    )
    assert len(ran) == 2 * len(ROWS)
    by = {(line.row, line.source, line.target): line for line in result.lines}
    for recipe, *_ in ROWS:
        for target in zoos:
            line = by[recipe, "digits", target]
            crosses = target in ("digits", "negative") or recipe not in CHAINS
            assert (line.done, line.applicable) == ((1, True) if crosses else (0, False)), (recipe, target)
            if crosses:
                assert line.scores["mse"] is not None
                assert line.networks == (6 if target in ("digits", "negative") else 20)
    page = result.html.read_text()
    assert page.count('class="heat"') == len(ROWS)
    assert "not applicable" in page


def test_a_zoo_is_left_out_of_training(suite, zoos, ran, tmp_path):
    """One model is trained on several zoos together and tested on the one that was left out."""
    rows = [row for row in suite.rows if row.recipe in ("stats/pooled", "sne/message")]
    small = Suite(
        **{
            **{f: getattr(suite, f) for f in ("name", "title", "property", "seeds", "metric")},
            "rows": rows,
            "overrides": (*suite.overrides, "zoo.balance=zoo"),
        }
    )
    result = compare(
        small, tmp_path / "out", train=[zoos[name] for name in ("digits", "mlp", "vit")], leave_one_out=True
    )
    assert [line.column for line in result.lines[::2]] == [
        "all but digits → digits",
        "all but mlp → mlp",
        "all but vit → vit",
    ]
    assert all(line.done == 1 and line.networks == 20 for line in result.lines)


def test_the_data_set_is_a_category(zoos, tmp_path):
    """The data set that a network was trained on is a category that can be predicted."""
    from sneframe.zoo import merge

    merge([zoos["digits"], zoos["negative"], zoos["mlp"]], tmp_path / "all.zarr")
    config = sneframe.recipe(
        "stats/pooled",
        f"zoo.path={tmp_path / 'all.zarr'}",
        "zoo.property=dataset",
        "zoo.where=final",
        'zoo.show=["test_accuracy","arch"]',
        "head.min_leaf=2",
        "head.trees=20",
    )
    run = sneframe.run(config, tmp_path / "run")
    assert run.metrics["task"] == "category"
    assert run.metrics["test"]["accuracy"] is not None
    page = (run.folder / "report.html").read_text()
    for name in ("dataset", "test_accuracy", "arch", "architecture"):
        assert f"coloured by {name}." in page
