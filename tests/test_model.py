"""What a refusal of a zoo says: which recipes of the installed plugins take it."""

import pytest

import sneframe
from sneframe import plugins
from sneframe.errors import ArchitecturesRefused, PluginError
from sneframe.model import recipes_for
from sneframe.testing import mlp

MIXED = [mlp(1, 4, 4, 1), mlp(1, 8, 8, 1)]


@pytest.fixture
def few(monkeypatch):
    """Leave three methods installed, and the plugins that they name."""
    kept = ("deepsets", "dwsnet", "sne", "head", "invariance", "normalise", "tokenizer")
    found = {name: plugin for name, plugin in plugins.installed().items() if name in kept}
    monkeypatch.setattr(plugins, "installed", lambda: found)


@pytest.mark.usefixtures("few")
def test_a_refusal_names_the_recipes_that_take_the_zoo():
    """A method for one architecture points to those for mixed zoos."""
    with pytest.raises(
        ArchitecturesRefused, match=r"the zoo has 2 layouts .*; recipes that take this zoo: deepsets, sne$"
    ):
        sneframe.encoder("dwsnet", MIXED)


@pytest.mark.usefixtures("few")
def test_each_architecture_has_recipes_of_its_own():
    """A plugin is suggested where it takes the architectures, and only there."""
    assert recipes_for([mlp(1, 4, 4, 1)]) == ["deepsets", "dwsnet", "sne"]
    assert recipes_for(MIXED) == ["deepsets", "sne"]


@pytest.mark.usefixtures("few")
def test_a_plugin_that_does_not_load_is_passed_over(monkeypatch):
    """A broken plugin neither is suggested nor hides the reason of the refusal."""
    load = plugins.load

    def broken(names):
        if "deepsets" in names:
            raise PluginError("does not load")
        return load(names)

    monkeypatch.setattr(plugins, "load", broken)
    assert recipes_for(MIXED) == ["sne"]


def test_a_refusal_says_where_no_recipe_takes_the_zoo(monkeypatch):
    """Without another method the refusal says that there is none."""
    found = plugins.installed()
    kept = {name: found[name] for name in ("dwsnet", "head", "normalise", "tokenizer", "invariance")}
    monkeypatch.setattr(plugins, "installed", lambda: kept)
    with pytest.raises(ArchitecturesRefused, match=r"; recipes that take this zoo: none of those installed$"):
        sneframe.encoder("dwsnet", MIXED)
