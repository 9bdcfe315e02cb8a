"""From names to classes: what ``use`` and ``recipe`` return, and parts that no plugin offers."""

import json
import subprocess
import sys
import tomllib

import pytest
from attrs import evolve, frozen
from torch import nn

import sneframe
from sneframe import plugins
from sneframe.compose import recipe, use
from sneframe.config.schema import Choice, option
from sneframe.config.structure import structure
from sneframe.errors import ConfigError, PartError, PluginError
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, LayerCodes

RECIPE = """
import sneframe
from sneframe.compose import use
from sneframe.config.schema import RunConfig

def default():
    return RunConfig(
        normalise=use("normalise/fan-in"), tokenizer=use("sne/pad-chunk"),
        layer_encoder=use("sne/chunk-set"), aggregator=use("sne/layer-set"), head={head},
    )

@sneframe.hookimpl
def sneframe_recipes():
    return {"odd/default": default}
"""


def averaging(own_name, values):
    """Define an aggregator as one does in a notebook: no plugin offers it."""

    class Mean(Aggregator):
        """Averages the codes of the layers."""

        name, takes = own_name, (LayerCodes,)

        @frozen(kw_only=True)
        class Config:
            width: int = option(8, "width of the embedding")

        def __init__(self, config, spec):
            super().__init__(config, spec)
            self.linear = nn.Linear(spec.width, config.width)
            self.out = spec.gives(Embedding, config.width)

        def forward(self, codes):
            """Return one embedding for each network."""
            return tuple(
                Embedding(architecture=c.architecture, values=values(self.linear(c.codes.mean(1))))
                for c in codes
            )

    Mean.__qualname__ = "Mean"
    return Mean


Mean = averaging("mine/mean", lambda values: values)


def mine(zoo, part=Mean):
    """Return a configuration of SNE with a part of one's own."""
    words = ("device=cpu", "train.epochs=1", "layer_encoder.width=8", "layer_encoder.heads=2")
    config = recipe("sne", f"zoo.path={zoo}", "zoo.property=scale", *words)
    return evolve(config, aggregator=use(part, width=4), recipe=None)


# -- names become classes ------------------------------------------------------------------------------


def test_a_choice_holds_the_class_of_its_part():
    """The configuration of a recipe holds classes, and instances of their Config."""
    head = recipe("sne").head
    assert head.part is plugins.part("head/mlp")
    assert isinstance(head.config, head.part.Config)


def test_a_name_and_its_class_are_the_same_choice():
    """``use`` looks a name up at once."""
    linear = plugins.part("head/linear")
    assert use("head/linear") == use(linear) == Choice(part=linear, config=linear.Config())


@pytest.mark.parametrize("part", ["head/mlp", plugins.part("head/mlp")], ids=["name", "class"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"hiden": (8,)},
            r"^unknown key 'head/mlp.hiden', did you mean 'hidden'\? \(known: dropout, hidden\)$",
        ),
        ({"hidden": "8"}, r"^head/mlp\.hidden: must be a list, got '8'$"),
        ({"hidden": (0,)}, r"^head/mlp: 'hidden' must be >= 1: 0$"),
    ],
)
def test_an_option_in_code_is_checked_as_in_a_file(part, options, said):
    """One line names the part, the option, what was got, and the choices."""
    with pytest.raises(ConfigError, match=said):
        use(part, **options)


def test_use_takes_parts_only():
    """A class that is no complete part is refused with the reason."""
    with pytest.raises(PartError, match=r"^Aggregator subclasses no abstract part"):
        use(Aggregator)
    with pytest.raises(PluginError, match=r"^unknown part 'head/mpl', did you mean 'head/mlp'\?"):
        use("head/mpl")


def test_a_part_fills_its_own_slot_only():
    """A configuration made in code is checked like one from a file."""
    said = "^part 'head/linear' is a head and cannot be the tokenizer$"
    with pytest.raises(ConfigError, match=said):
        evolve(recipe("sne"), tokenizer=use("head/linear"))
    with pytest.raises(
        ConfigError, match=r"^head must be a part such as use\('PLUGIN/NAME'\), got 'head/mlp'$"
    ):
        evolve(recipe("sne"), head="head/mlp")


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (
            'use("head/mlp", hiden=(8,))',
            "ConfigError: unknown key 'head/mlp.hiden', did you mean 'hidden'? (known: ",
        ),
        ('use("head/mpl")', "PluginError: unknown part 'head/mpl', did you mean 'head/mlp'? (known: "),
        ('use("haed/mlp")', "PluginError: unknown plugin 'haed', did you mean 'head'? (installed: "),
        ('use("sne/pad-chunk")', "ConfigError: part 'sne/pad-chunk' is a tokenizer and cannot be the head"),
    ],
)
def test_a_recipe_that_misuses_a_part_is_to_blame(install, head, said):
    """The line names plugin, distribution, version, recipe, part, option and choices."""
    install(RECIPE.replace("{head}", head))
    with pytest.raises(PluginError) as caught:
        recipe("odd")
    assert str(caught.value).startswith(
        f"plugin 'odd' (sneframe-odd 1.2): recipe 'odd/default' fails: {said}"
    )


def test_plugins_that_use_each_other_at_import_do_not_loop(install):
    """A part that is used outside of a recipe's function is looked up too early, and one line says so."""
    source = "from sneframe.compose import use\nMINE = use('{other}/part')\n"
    install(source.replace("{other}", "even"))
    install(
        source.replace("{other}", "odd"),
        plugin="even",
        distribution="sneframe-even",
        module="sneframe_even_module",
    )
    with pytest.raises(PluginError, match=r"^plugin 'odd' \(sneframe-odd 1\.2\): does not load: ") as caught:
        plugins.load(["odd"])
    assert "unknown part 'odd/part'" in str(caught.value)


# -- a part that no plugin offers ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with a part of this file."""
    from sneframe.testing import toy_zoo

    folder = tmp_path_factory.mktemp("mine")
    zoo = toy_zoo(folder / "toy.zarr")
    return sneframe.run(mine(zoo), folder / "run").folder, zoo


def test_a_part_of_ones_own_is_trained_and_recorded(trained):
    """The run folder says that no plugin offers the part, and which class it is."""
    folder, _ = trained
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["unregistered"] == {"mine/mean": f"{__name__}:Mean"}
    assert "mine" not in environment["plugins"]
    assert {"sne", "head", "normalise", "invariance"} == set(environment["plugins"])
    written = tomllib.loads((folder / "config.toml").read_text())
    assert written["aggregator"] == {"part": "mine/mean", "width": 4}
    assert (folder / "report.html").exists()


def test_a_part_of_ones_own_is_read_back_where_it_is_known(trained):
    """A model is loaded in any process in which the class of its part is imported."""
    folder, zoo = trained
    predictor = sneframe.load(folder)
    assert type(predictor.model.encoder.aggregator) is Mean
    assert predictor.embed(sneframe.open_zoo(zoo)).shape == (40, 4)


def test_elsewhere_a_part_of_ones_own_is_missed_in_one_line(trained):
    """A process that does not know the class says which class of which module is missing."""
    folder, _ = trained
    command = [sys.executable, "-m", "sneframe", "predict", str(folder), "nowhere.pt"]
    left = subprocess.run(command, capture_output=True, text=True, check=False)
    assert left.returncode == 2
    assert left.stderr.startswith(
        "error: aggregator: no plugin offers part 'mine/mean', and this process knows no class Mean "
        f"of the module {__name__}; define or import it first, or install a plugin that offers it"
    )
    assert len(left.stderr.splitlines()) == 1


def test_a_run_with_a_part_of_ones_own_is_resumed(trained):
    """The same configuration goes on in the same folder."""
    folder, zoo = trained
    before = (folder / "metrics.json").read_text()
    after = sneframe.run(mine(zoo), folder, resume=True).metrics
    assert {**after, "seconds": None} == {**json.loads(before), "seconds": None}


def test_a_file_with_a_part_that_no_plugin_offers_is_refused(trained):
    """A name in a file can only be looked up in plugins."""
    folder, _ = trained
    with pytest.raises(ConfigError, match=r"^aggregator: unknown plugin 'mine'"):
        structure(tomllib.loads((folder / "config.toml").read_text()), plugins.part)


def test_a_part_of_ones_own_has_a_name_of_its_own(toy_zoo_path, tmp_path):
    """A class with the name of a plugin's part is refused: the folder would be read back with the other."""
    taken = averaging("sne/layer-set", lambda values: values)
    said = (
        r"^plugin 'sne' \(sneframe .*\) offers sneframe_sne\.aggregator:LayerSet as part 'sne/layer-set'; "
        rf"give {__name__}:Mean another name$"
    )
    with pytest.raises(PluginError, match=said):
        sneframe.run(mine(toy_zoo_path, taken), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_fault_in_a_part_of_ones_own_is_one_line(toy_zoo_path, tmp_path):
    """Nothing says that a plugin of that name exists."""
    broken = averaging("mine/mean", lambda values: {}["oops"])
    with pytest.raises(
        PluginError, match=r"^unregistered part: aggregator 'mine/mean' fails: KeyError: 'oops'$"
    ):
        sneframe.run(mine(toy_zoo_path, broken), tmp_path / "run")
