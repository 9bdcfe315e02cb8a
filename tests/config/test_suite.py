"""Suites: the value, how plugins offer it, and those that are shipped."""

import pytest

import sneframe
from sneframe import plugins
from sneframe.config.suite import Row, Suite, Variation
from sneframe.errors import PluginError

SHIPPED = plugins.load(["suites"]).suites


def test_words_may_be_one_string():
    """Overrides can be one string, a list or a tuple."""
    assert Row(label="a", recipe="b", overrides="seed=1").overrides == ("seed=1",)
    assert Variation(label="a", overrides=["seed=1", "device=cpu"]).overrides == ("seed=1", "device=cpu")


@pytest.mark.parametrize(
    "wrong",
    [{"rows": []}, {"seeds": 0}, {"budget": 0}, {"metric": "mae"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_suite_is_refused(wrong):
    """A suite has rows, seeds, a positive budget and a known metric."""
    row = Row(label="a", recipe="b")
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Suite(**{"name": "x/y", "title": "z", "rows": [row], **wrong})


def test_the_suites_of_the_papers_are_there():
    """The shipped suites, and one of them in detail."""
    assert set(SHIPPED) == {
        "suites/inr-frequency",
        "suites/inr-data-efficiency",
        "suites/inr-images",
        "suites/adapter-accuracy",
        "suites/adapter-classes",
        "suites/sne-ablation",
        "suites/sne-chunk-size",
        "suites/probe-ablation",
        "suites/cnn-accuracy",
        "suites/cnn-hyperparameters",
        "suites/cnn-probe-ablation",
        *(f"suites/paper-table-{number}" for number in range(1, 10)),
        "suites/paper-figure-2",
        "suites/paper-figure-3",
    }
    assert [variation.label for variation in SHIPPED["suites/inr-data-efficiency"].variations] == [
        "10%",
        "25%",
        "50%",
        "100%",
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_rows_of_a_suite_differ(name):
    """Every row is a valid configuration, and no two rows are the same."""
    suite = SHIPPED[name]
    made = [sneframe.recipe(row.recipe, *suite.overrides, *row.overrides) for row in suite.rows]
    assert len({str(config) for config in made}) == len(suite.rows)


def configured(zoo):
    """Return the configuration of the builder of a zoo."""
    return plugins.load([zoo.builder.partition("/")[0]]).zoo(zoo.builder).config(**zoo.options)


def test_the_zoos_of_the_suites_can_be_built():
    """The builder of each suite takes its options."""
    for suite in SHIPPED.values():
        if suite.zoo is None:
            continue
        config = configured(suite.zoo)
        if suite.zoo.builder == "zoos/sine":
            assert (config.networks, config.widths, config.seed) == (3000, (32, 32), 1)
        elif suite.zoo.builder == "zoos/images":
            assert (config.networks, config.views, config.data) == (3 * 1797, 3, "digits")
        elif suite.zoo.builder == "zoos/lora":
            assert (config.networks, config.seed, config.data) == (640, 7, "digits")
        else:
            assert (config.arch, config.networks, config.data) == ("small-cnn", 1000, "digits")


PAPER = {name.removeprefix("suites/paper-"): suite for name, suite in SHIPPED.items() if "paper-" in name}


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("table-2", "arch1 mnist, arch1 cifar10, arch1 svhn", "arch2 mnist, arch2 cifar10, arch2 svhn"),
        ("table-3", "small-cnn svhn", "small-cnn svhn, small-cnn mnist, small-cnn cifar10"),
        ("table-4", "arch1 mnist", "vit mnist"),
        ("table-9", "arch2 mnist, arch2 cifar10, arch2 svhn", "arch1 mnist, arch1 cifar10, arch1 svhn"),
        ("figure-2", "small-cnn mnist, small-cnn fashion, small-cnn cifar10, small-cnn svhn", ""),
    ],
)
def test_the_zoos_of_the_paper(name, train, test):
    """A suite of the paper trains and tests on the architectures and images of its table."""

    def named(zoos):
        return ", ".join(f"{configured(zoo).arch} {configured(zoo).data_name}" for zoo in zoos)

    suite = PAPER[name]
    assert (named(suite.train), named(suite.test)) == (train, test)
    zoos = (*suite.train, *suite.test)
    assert len({zoo.label for zoo in zoos}) == len({named([zoo]) for zoo in zoos})


def test_one_zoo_is_the_same_in_all_suites_of_the_paper():
    """A zoo that several suites name has the same options in each, so that it is built once."""
    zoos = {}
    for suite in PAPER.values():
        for zoo in (*suite.train, *suite.test):
            assert zoos.setdefault(zoo.label, configured(zoo)) == configured(zoo)
    assert len(zoos) == 11


@pytest.mark.parametrize("name", PAPER)
def test_a_suite_of_the_paper_says_whose_zoos_it_has(name):
    """Every suite says that its zoos are ours, and how the published ones are read if there are any."""
    assert " are ours" in PAPER[name].note
    assert ("sneframe zoo import" in PAPER[name].note) != ("not released" in PAPER[name].note)


def test_zoos_that_do_not_fit_together_are_refused():
    """Training on zoos together needs two of them, and leaves no zoo to test on."""
    words = {"name": "x/y", "title": "z", "rows": [Row(label="a", recipe="b")]}
    for wrong, said in (
        ({"zoo": "a.zarr", "train": ["b.zarr"]}, "train replaces zoo; give one of them"),
        ({"test": ["b.zarr"]}, "test needs zoos to train on"),
        ({"train": ["a.zarr"], "together": True}, "at least two in train"),
        ({"train": ["a.zarr", "b.zarr"], "test": ["c.zarr"], "together": True}, "none in test"),
    ):
        with pytest.raises(ValueError, match=said):
            Suite(**words, **wrong)


def test_something_else_than_a_suite_is_refused(monkeypatch):
    """A plugin can offer only suites as suites."""
    import sneframe_suites

    from sneframe.hookspecs import hookimpl

    monkeypatch.setattr(
        sneframe_suites, "sneframe_suites", hookimpl(specname="sneframe_suites")(lambda: ["inr"])
    )
    with pytest.raises(PluginError, match="sneframe_suites offers 'inr', not a Suite"):
        plugins.load(["suites"])
