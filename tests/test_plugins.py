"""The seam: what is installed is found, only what is named is loaded, and every fault names who is at fault."""

import sys
import textwrap

import pytest

from sneframe import plugins
from sneframe.errors import PluginError

PART = """
from attrs import frozen
import sneframe
from sneframe.aggregator import Aggregator
from sneframe.part import Embedding

class Mean(Aggregator):
    name = "{plugin}/mean"

    @frozen(kw_only=True)
    class Config:
        pass

    def forward(self, codes):
        return ()

@sneframe.hookimpl
def sneframe_parts():
    return [Mean]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a module as a distribution with an entry point, for one test."""
    made = []

    def make(source, *, plugin="odd", distribution="sneframe-odd", module="sneframe_odd_module"):
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source).replace("{plugin}", plugin))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[sneframe]\n{plugin} = {module}\n")
        made.append(module)

    monkeypatch.syspath_prepend(tmp_path)
    yield make
    for module in made:
        sys.modules.pop(module, None)


def load_fails(match):
    with pytest.raises(PluginError, match=match) as caught:
        plugins.load(["odd"])
    assert "\n" not in str(caught.value)


def test_the_shipped_plugins_are_found_without_importing_them():
    found = plugins.installed()
    assert {"sne", "stats", "dwsnet", "zoos", "normalise", "head", "invariance"} <= set(found)
    assert found["sne"].distribution == "sneframe"


def test_an_installed_plugin_is_loaded_by_name(install):
    install(PART)
    registry = plugins.load(["odd"])
    assert list(registry.parts) == ["odd/mean"]
    assert registry.plugins["odd"].version == "1.2"


def test_a_broken_plugin_does_not_hurt_the_others(install):
    install("raise RuntimeError('no')")
    assert "sne/pad-chunk" in plugins.load(["sne"]).parts


def test_loading_leaves_nothing_behind(install):
    install(PART)
    plugins.load(["odd"])
    assert list(plugins.load(["head"]).parts) == ["head/linear", "head/mlp"]


def test_an_unknown_plugin_names_the_installed_ones():
    with pytest.raises(
        PluginError, match=r"unknown plugin 'snee', did you mean 'sne'\? \(installed: .*stats"
    ):
        plugins.load(["snee"])


def test_an_import_that_fails_names_plugin_distribution_and_version(install):
    install("import nothing_of_this_name")
    load_fails(
        r"plugin 'odd' \(sneframe-odd 1.2\): does not load: ModuleNotFoundError: .*nothing_of_this_name"
    )


def test_a_misspelt_hook_is_named(install):
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_partz():\n    return []")
    load_fails("sneframe_partz")


def test_a_hook_with_a_wrong_argument_is_named(install):
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_parts(register):\n    return []")
    load_fails("register")


def test_a_hook_that_raises_is_named(install):
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_parts():\n    raise ValueError('two\\nlines')")
    load_fails("sneframe_parts fails: ValueError: two lines")


def test_a_hook_that_returns_no_list_is_named(install):
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_parts():\n    return 5")
    load_fails("sneframe_parts fails: TypeError")


def test_a_hook_wrapper_is_refused(install):
    install("import sneframe\n@sneframe.hookimpl(wrapper=True)\ndef sneframe_parts():\n    yield")
    load_fails("cannot be a wrapper")


def test_two_distributions_of_one_plugin_name_are_both_named(install):
    install(PART)
    install(PART, distribution="sneframe-other", module="sneframe_other_module")
    load_fails(r"plugin 'odd' is offered by sneframe-odd 1.2 and sneframe-other 1.2")


def test_a_part_offered_twice_is_refused(install):
    install(PART.replace("return [Mean]", "return [Mean, Mean]"))
    load_fails("part 'odd/mean' is offered twice")


def test_a_part_in_another_plugins_name_is_refused(install):
    install(PART.replace("{plugin}/mean", "sne/mean"))
    load_fails("part 'sne/mean' must be named 'odd/…'")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("class Mean(Aggregator)", "class Mean"), "is not a subclass of sneframe.part.Part"),
        (
            ("return [Mean]", "return [Mean, type('Deeper', (Mean,), {})]"),
            "Deeper must subclass Aggregator directly",
        ),
        (("def forward", "def forwards"), "Mean does not define forward"),
        (("{plugin}/mean", "mean"), "Mean.name must be 'PLUGIN/NAME'"),
        (("@frozen(kw_only=True)", ""), "Mean.Config must be an attrs class"),
        (
            ("@frozen(kw_only=True)", "@__import__('attrs').define(kw_only=True)"),
            "Mean.Config must be frozen",
        ),
        (
            (
                "@frozen(kw_only=True)\n    class Config:\n        pass",
                "@frozen\n    class Config:\n        a: int = 1",
            ),
            "keyword-only",
        ),
        (("return [Mean]", "return [sneframe.part.Part]"), "subclasses no abstract part"),
    ],
)
def test_a_class_that_is_no_part_is_named(install, change, said):
    install(PART.replace(*change))
    load_fails(said)


def test_a_zoo_that_is_no_builder_is_refused(install):
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_zoos():\n    return ['sine']")
    load_fails("'sine', which is no ZooBuilder")


def test_a_recipe_that_is_no_function_is_refused(install):
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_recipes():\n    return {'odd/default': 5}")
    load_fails("recipe 'odd/default' is 5, not a function")
