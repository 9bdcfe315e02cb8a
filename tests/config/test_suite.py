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
        "suites/sne-ablation",
        "suites/sne-chunk-size",
        "suites/probe-ablation",
        "suites/cnn-accuracy",
        "suites/cnn-hyperparameters",
        "suites/cnn-probe-ablation",
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


def test_the_zoos_of_the_suites_can_be_built():
    """The builder of each suite takes its options."""
    for suite in SHIPPED.values():
        plugin = suite.zoo.builder.partition("/")[0]
        builder = plugins.load([plugin]).zoo(suite.zoo.builder)
        config = builder.config(**suite.zoo.options)
        if suite.zoo.builder == "zoos/sine":
            assert (config.networks, config.widths, config.seed) == (3000, (32, 32), 1)
        elif suite.zoo.builder == "zoos/images":
            assert (config.networks, config.views, config.data) == (3 * 1797, 3, "digits")
        else:
            assert (config.arch, config.networks, config.data) == ("small-cnn", 1000, "digits")


def test_something_else_than_a_suite_is_refused(monkeypatch):
    """A plugin can offer only suites as suites."""
    import sneframe_suites

    from sneframe.hookspecs import hookimpl

    monkeypatch.setattr(
        sneframe_suites, "sneframe_suites", hookimpl(specname="sneframe_suites")(lambda: ["inr"])
    )
    with pytest.raises(PluginError, match="sneframe_suites offers 'inr', not a Suite"):
        plugins.load(["suites"])
