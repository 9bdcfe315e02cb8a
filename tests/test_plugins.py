"""The seam: plugins are found from metadata, loaded by name, and named when they are at fault."""

import pytest

import sneframe
from sneframe import plugins
from sneframe.cli import main
from sneframe.compose import recipe
from sneframe.errors import PartError, PluginError

PART = """
from attrs import frozen
import sneframe
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding

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


def load_fails(match):
    with pytest.raises(PluginError, match=match) as caught:
        plugins.load(["odd"])
    assert "\n" not in str(caught.value)


def run_fails(zoo, tmp_path, said):
    config = recipe("sne", "aggregator.part=odd/mean", f"zoo.path={zoo}")
    with pytest.raises(PluginError, match=rf"^plugin 'odd' \(sneframe-odd 1.2\): {said}") as caught:
        sneframe.run(config, tmp_path / "run", report=False)
    assert "\n" not in str(caught.value)


def test_shipped_plugins_are_found():
    """The shipped plugins are found from metadata, with their distribution."""
    found = plugins.installed()
    assert {
        "sne",
        "stats",
        "dwsnet",
        "neural-graph",
        "scale-gmn",
        "mlp",
        "deepsets",
        "probe",
        "hyperrep",
        "sane",
        "zoos",
        "normalise",
        "tokenizer",
        "head",
        "invariance",
    } <= set(found)
    assert found["sne"].distribution == "sneframe"


def test_an_installed_plugin_is_loaded_by_name(install):
    """A plugin of another distribution is loaded by its name."""
    install(PART)
    registry = plugins.load(["odd"])
    assert list(registry.parts) == ["odd/mean"]
    assert registry.plugins["odd"].version == "1.2"


def test_a_broken_plugin_does_not_hurt_the_others(install):
    """A plugin that fails at import does not disturb the loading of another."""
    install("raise RuntimeError('no')")
    assert "sne/pad-chunk" in plugins.load(["sne"]).parts


def test_loading_leaves_nothing_behind(install):
    """A plugin that was loaded before does not appear in another registry."""
    install(PART)
    plugins.load(["odd"])
    assert list(plugins.load(["head"]).parts) == ["head/linear", "head/mlp"]


def test_an_unknown_plugin_names_the_installed_ones():
    """The error for an unknown plugin suggests a name and lists all."""
    with pytest.raises(
        PluginError, match=r"unknown plugin 'snee', did you mean 'sne'\? \(installed: .*stats"
    ):
        plugins.load(["snee"])


def test_a_failed_import_names_the_plugin(install):
    """The error of an import names plugin, distribution and version."""
    install("import nothing_of_this_name")
    load_fails(
        r"plugin 'odd' \(sneframe-odd 1.2\): does not load: ModuleNotFoundError: .*nothing_of_this_name"
    )


def test_a_misspelt_hook_is_named(install):
    """A hook with an unknown name is an error."""
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_partz():\n    return []")
    load_fails("sneframe_partz")


def test_a_hook_with_a_wrong_argument_is_named(install):
    """A hook with an unknown argument is an error."""
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_parts(register):\n    return []")
    load_fails("register")


def test_a_hook_that_raises_is_named(install):
    """The error of a hook becomes one line."""
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_parts():\n    raise ValueError('two\\nlines')")
    load_fails("sneframe_parts fails: ValueError: two lines")


def test_a_hook_that_returns_no_list_is_named(install):
    """A hook that returns a number is an error."""
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_parts():\n    return 5")
    load_fails("sneframe_parts fails: TypeError")


def test_a_hook_wrapper_is_refused(install):
    """Hooks return data, so they cannot wrap others."""
    install("import sneframe\n@sneframe.hookimpl(wrapper=True)\ndef sneframe_parts():\n    yield")
    load_fails("cannot be a wrapper")


def test_a_clash_names_both_distributions(install):
    """If two distributions offer a plugin of one name, the error names both."""
    install(PART)
    install(PART, distribution="sneframe-other", module="sneframe_other_module")
    load_fails(r"plugin 'odd' is offered by sneframe-odd 1.2 and sneframe-other 1.2")


def test_a_part_offered_twice_is_refused(install):
    """Each name of a part is offered once."""
    install(PART.replace("return [Mean]", "return [Mean, Mean]"))
    load_fails("part 'odd/mean' is offered twice")


def test_a_part_in_another_plugins_name_is_refused(install):
    """The name of a part begins with the name of its plugin."""
    install(PART.replace("{plugin}/mean", "sne/mean"))
    load_fails("part 'sne/mean' must be named 'odd/…'")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("class Mean(Aggregator)", "class Mean"), "is not a subclass of sneframe.parts.part.Part"),
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
        (("return [Mean]", "return [sneframe.parts.part.Part]"), "subclasses no abstract part"),
    ],
)
def test_a_class_that_is_no_part_is_named(install, change, said):
    """The error for a class that is no complete part says what is missing."""
    install(PART.replace(*change))
    load_fails(said)


def test_a_part_that_raises_in_init_is_named(install, toy_zoo_path, tmp_path):
    """An error in ``__init__`` names the part, and leaves no folder."""
    install(
        PART.replace(
            "def forward", "def __init__(self, config, spec):\n        {}['width']\n\n    def forward"
        )
    )
    run_fails(toy_zoo_path, tmp_path, "aggregator 'odd/mean' fails: KeyError: 'width'")
    assert list(tmp_path.glob("run")) == []


def test_a_part_without_a_spec_is_named(install, toy_zoo_path, tmp_path):
    """A part whose ``out`` is no Spec is named."""
    made = "def __init__(self, config, spec):\n        super().__init__(config, spec)\n"
    made += "        self.out = 64\n\n    def"
    install(PART.replace("def", made, 1))
    run_fails(toy_zoo_path, tmp_path, "aggregator 'odd/mean' must set self.out to a Spec")


def test_a_part_error_passes_unchanged(install, toy_zoo_path, tmp_path):
    """A PartError that a part raises on purpose stays as it is."""
    refused = (
        "def __init__(self, config, spec):\n        raise sneframe.errors.PartError('not these')\n\n    def"
    )
    install("import sneframe.errors\n" + PART.replace("def", refused, 1))
    with pytest.raises(PartError, match=r"^not these$"):
        sneframe.run(
            recipe("sne", "aggregator.part=odd/mean", f"zoo.path={toy_zoo_path}"),
            tmp_path / "run",
            report=False,
        )


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("()", "must give one carrier for each of 1 architectures, but gives 0"),
        ("codes * 2", "must give one carrier for each of 1 architectures, but gives 2"),
        ("codes[0]", "must give one carrier for each of 1 architectures, but gives LayerCodes"),
        ("codes", "declares Embedding, but gives LayerCodes"),
        (
            "[Embedding(architecture=c.architecture, values=c.codes.mean((0, 1))) for c in codes]",
            r"gives a wrong Embedding: values must be \(B, E\), but got \(64,\)",
        ),
    ],
)
def test_a_wrong_output_is_named(install, toy_zoo_path, result, said):
    """An output that is not what the part declares names the part."""
    out = "def __init__(self, config, spec):\n        super().__init__(config, spec)\n"
    out += "        self.out = spec.gives(Embedding, spec.width)\n\n    def"
    install(PART.replace("def", out, 1).replace("return ()", f"return {result}"))
    batch = sneframe.open_zoo(toy_zoo_path).load()
    encoder = sneframe.encoder("sne", batch, "aggregator.part=odd/mean")
    with pytest.raises(
        PluginError, match=rf"plugin 'odd' \(sneframe-odd 1.2\): aggregator 'odd/mean' {said}$"
    ):
        encoder(batch)


def test_a_zoo_that_is_no_builder_is_refused(install):
    """A plugin offers zoo builders and importers, nothing else."""
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_zoos():\n    return ['sine']")
    load_fails("'sine', which is neither a ZooBuilder nor a ZooImporter")


def test_a_recipe_that_is_no_function_is_refused(install):
    """A recipe must be a function."""
    install("import sneframe\n@sneframe.hookimpl\ndef sneframe_recipes():\n    return {'odd/default': 5}")
    load_fails("recipe 'odd/default' is 5, not a function")


# -- faults that show only when a recipe is used ---------------------------------------------------------

HOOK = "import sneframe\n@sneframe.hookimpl\ndef sneframe_recipes():\n    return "


def recipe_source(rest):
    """A plugin with one recipe, from its arguments on."""
    return HOOK.replace("\n", f"\ndef made{rest}\n", 1) + "{'odd/default': made}"


FAULTS = {
    "a list of recipes": (
        HOOK + "[]",
        "sneframe_recipes fails: TypeError: must return a mapping from names to functions, but got list",
    ),
    "a key that is no string": (HOOK + "{5: dict}", "recipe 5 must be named 'odd/…'"),
    "an exit at import": ("raise SystemExit(3)", "does not load: SystemExit: 3"),
    "an exit in a hook": (HOOK + "exit(3)", "sneframe_recipes fails: SystemExit: 3"),
    "an exit in a recipe": (recipe_source("(): exit(3)"), "recipe 'odd/default' fails: SystemExit: 3"),
    "a recipe that raises": (
        recipe_source("(): return {}['x']"),
        "recipe 'odd/default' fails: KeyError: 'x'",
    ),
    "a recipe with an argument": (
        recipe_source("(width): return width"),
        "recipe 'odd/default' fails: TypeError: made() missing 1 required positional argument: 'width'",
    ),
    "a recipe that returns something else": (
        recipe_source("(): return 'sne'"),
        "recipe 'odd/default' returns 'sne', not a RunConfig",
    ),
    "a recipe that misuses a part": (
        recipe_source("(): return sneframe.recipe('sne', 'head.part=head/none')"),
        "recipe 'odd/default' fails: ConfigError: head: unknown part 'head/none'",
    ),
}


@pytest.mark.parametrize(("source", "said"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_recipe_is_one_line(install, capsys, source, said):
    """Whatever is wrong with a recipe is one line, and the exit code is 2."""
    install(source)
    with pytest.raises(SystemExit) as left:
        main(["run", "--plugin", "odd"])
    said_all = capsys.readouterr().err
    assert left.value.code == 2
    assert said_all.startswith(f"error: plugin 'odd' (sneframe-odd 1.2): {said}")
    assert len(said_all.splitlines()) == 1


@pytest.mark.parametrize(("source", "said"), FAULTS.values(), ids=FAULTS)
def test_the_list_shows_a_faulty_plugin_too(install, capsys, monkeypatch, source, said):
    """``plugins --load`` shows the error of a faulty plugin, and all other plugins."""
    monkeypatch.setenv("COLUMNS", "300")
    install(source)
    with pytest.raises(SystemExit) as left:
        main(["plugins", "--load"])
    out = capsys.readouterr().out
    assert left.value.code == 0
    assert "sne/pad-chunk" in out
    assert "recipe odd/default" in out or f"error: plugin 'odd' (sneframe-odd 1.2): {said}" in out
