"""Configuration: recipe, file and overrides; every mistake is one line that says where and what was meant."""

import re
import tomllib
from typing import final

import pytest
from attrs import evolve, field, frozen

from sneframe import plugins
from sneframe.compose import compose, recipe, use
from sneframe.config.schema import merge, option, parse_set
from sneframe.config.structure import structure, to_commented_toml, to_toml, unstructure
from sneframe.errors import ConfigError, PluginError
from sneframe.parts.head import Head


def changed(*words):
    return recipe("sne", *words)


def test_toml_and_back_is_the_same_configuration():
    """A configuration survives the way through TOML."""
    config = recipe("sne")
    assert structure(tomllib.loads(to_toml(config)), plugins.part) == config


def test_the_commented_form_is_the_same_configuration():
    """The comments of ``sneframe config`` change no value."""
    config = recipe("sne")
    assert structure(tomllib.loads(to_commented_toml(config)), plugins.part) == config


@final
class Scaled(Head):
    """A head whose options are tables."""

    name = "toy/scaled"

    @frozen(kw_only=True)
    class Config:
        scale: dict[str, float] = field(factory=dict)
        steps: list[dict[str, int]] = field(factory=list)
        last: int = option(1, "behind the tables")

    def forward(self, embedding):
        return embedding


@pytest.mark.parametrize("form", [to_toml, to_commented_toml])
@pytest.mark.parametrize(
    "options", [{}, {"scale": {}}, {"scale": {"a.b \n": 0.5, "c": 2}, "steps": [{"n": 1}], "last": 7}]
)
def test_an_option_can_be_a_table(form, options):
    """Options that are mappings or lists of mappings are written on one line."""
    config = evolve(recipe("sne"), head=use(Scaled, **options))

    def find(name):
        return Scaled if name == Scaled.name else plugins.part(name)

    assert structure(tomllib.loads(form(config)), find) == config


def test_every_option_is_explained():
    """Every key in the output of ``sneframe config`` has a comment."""
    lines = to_commented_toml(recipe("sne")).splitlines()
    keys = [i for i, line in enumerate(lines) if " = " in line and not line.startswith((" ", "part"))]
    assert all(lines[i - 1].startswith("# ") for i in keys)


def test_an_override_is_read_as_toml():
    """Values are numbers, lists or plain strings."""
    config = changed("train.epochs=7", "train.clip=2", "zoo.where=step == 86", "zoo.sizes=[10, 5, 5]")
    assert (config.train.epochs, config.train.clip, config.zoo.where) == (7, 2.0, "step == 86")
    assert config.zoo.sizes == (10, 5, 5)


def test_another_part_drops_the_options():
    """A part that replaces another starts with its own defaults."""
    assert changed("head.part=head/linear").head.config == plugins.part("head/linear").Config()


def test_options_of_the_same_part_stay():
    """Naming the same part again keeps its options."""
    config = changed("layer_encoder.part=sne/chunk-set", "layer_encoder.width=32")
    assert (config.layer_encoder.config.width, config.layer_encoder.config.points) == (32, 16)


def test_a_file_is_laid_over_the_recipe_it_names(tmp_path):
    """A file changes only the keys that it has."""
    file = tmp_path / "run.toml"
    file.write_text('recipe = "sne"\n[train]\nepochs = 3\n')
    config = compose(None, file, {})
    assert config.recipe == "sne/default"
    assert config.train.epochs == 3


def test_later_wins(tmp_path):
    """Overrides win over the file, and the file wins over the recipe."""
    file = tmp_path / "run.toml"
    file.write_text("[train]\nepochs = 3\nlr = 0.5\n")
    config = compose("sne", file, parse_set(["train.epochs=4"]))
    assert (config.train.epochs, config.train.lr) == (4, 0.5)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.epoch=5", r"unknown key 'train.epoch', did you mean 'epochs'\?"),
        ("layer_encoder.widht=5", r"unknown key 'layer_encoder.widht', did you mean 'width'\?"),
        ("sed=1", r"unknown key 'sed', did you mean 'seed'\?"),
        ("train.epochs=3.7", "train.epochs: must be a whole number, got 3.7"),
        ("train.epochs=true", "train.epochs: must be a whole number, got True"),
        ("train.lr=fast", "train.lr: must be a number, got 'fast'"),
        ("train.epochs=-1", "train: 'epochs' must be >= 0: -1"),
        ("zoo.where=5", "zoo.where: must be a string, got 5"),
        ("zoo.sizes=3", "zoo.sizes: must be a list, got 3"),
        ("layer_encoder.unit=chunk", "layer_encoder.unit: must be one of 'parameter', 'layer', got 'chunk'"),
        (
            "train.schedule=cosine",
            r"train: 'schedule' must be in \('one-cycle', 'constant'\) \(got 'cosine'\)",
        ),
        ("tokenizer=5", "tokenizer: must be a table"),
        ("zoo=5", "zoo: must be a table, got 5"),
        ("train=fast", "train: must be a table, got 'fast'"),
        ("head.hidden=[1.5]", "head.hidden.0: must be a whole number, got 1.5"),
        ("head.hidden=[64, 0]", "head: 'hidden' must be >= 1: 0"),
        ("zoo.split_seed=-1", "zoo: 'split_seed' must be >= 0: -1"),
        ("zoo.sizes=[nan, 0.1, 0.1]", "zoo: 'sizes' must be finite, but got nan"),
        ("zoo.sizes=[inf, 1, 1]", "zoo: 'sizes' must be finite, but got inf"),
        ("seed=100000000000000000000000000", "'seed' must be < 9223372036854775808: 10"),
        ("zoo.split_seed=9223372036854775808", "'split_seed' must be < 9223372036854775808: 9"),
    ],
)
def test_a_mistake_says_where_and_what_was_meant(word, said):
    """Every mistake is one line with the key, the value, and the choices."""
    with pytest.raises(ConfigError, match=said) as caught:
        changed(word)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.epochs"], "takes KEY=VALUE"),
        (["=3"], "takes KEY=VALUE"),
        (["train..epochs=5"], r"takes KEY=VALUE such as train.epochs=50, but got 'train\.\.epochs=5'"),
        ([".seed=5"], "takes KEY=VALUE"),
        (["a=1", "a.b=2"], "an earlier --set gave 'a' a value"),
    ],
)
def test_a_word_that_is_no_override_is_refused(words, said):
    """--set takes KEY=VALUE."""
    with pytest.raises(ConfigError, match=said):
        parse_set(words)


def test_an_unknown_part_names_similar_ones():
    """The error suggests a part of the same plugin."""
    with pytest.raises(
        ConfigError, match=r"tokenizer: unknown part 'sne/pad-chunks', did you mean 'sne/pad-chunk'\?"
    ):
        changed("tokenizer.part=sne/pad-chunks")


def test_an_unknown_recipe_names_the_others():
    """The error lists the recipes of the plugin."""
    with pytest.raises(PluginError, match=r"unknown recipe 'sne/big'.*sne/default.*sne/paper"):
        recipe("sne/big")


def test_a_configuration_without_a_recipe_must_be_complete(tmp_path):
    """A file that names no recipe must name every part."""
    file = tmp_path / "run.toml"
    file.write_text("[train]\nepochs = 3\n")
    with pytest.raises(ConfigError, match="has no part for 'normalise'"):
        compose(None, file, {})


@pytest.mark.parametrize("content", [b"epochs = ", b"\xff"])
def test_a_file_that_is_no_toml_is_named(tmp_path, content):
    """The error names the file."""
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.toml"):
        compose("sne", file, {})


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    """Some editors write a byte order mark."""
    file = tmp_path / "run.toml"
    file.write_bytes(b'\xef\xbb\xbfrecipe = "sne"\n[train]\nepochs = 3\n')
    assert compose(None, file, {}).train.epochs == 3


def test_a_missing_file_is_named(tmp_path):
    """The error names the file."""
    with pytest.raises(ConfigError, match=r"no such configuration file: .*nowhere\.toml"):
        compose("sne", tmp_path / "nowhere.toml", {})


def test_merging_leaves_its_arguments_as_they_are():
    """Merging copies what it changes."""
    base, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(base, over) == {"a": {"b": 1, "c": 2}}
    assert (base, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_a_recipe_survives_the_way_through_plain_data():
    """A recipe as plain data is the same recipe."""
    config = recipe("sne/paper")
    assert unstructure(structure(unstructure(config), plugins.part)) == unstructure(config)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("zoo.property=",), "zoo: 'property' must not be empty: give a value, or leave the key out"),
        (("zoo.where= ",), "zoo: 'where' must not be empty"),
        (("zoo.balance=",), "zoo: 'balance' must not be empty"),
        (
            ("zoo.property=a", 'zoo.also=["b", "a"]'),
            "zoo: property and also: the property 'a' is named twice",
        ),
        (('zoo.also=["b", "b"]',), "zoo: also: the property 'b' is named twice"),
        (('zoo.also=["b", ""]',), "zoo: also: the name of a property must not be empty"),
        (('zoo.show=["c", "c"]',), "zoo: show: the property 'c' is named twice"),
    ],
)
def test_properties_are_named_and_named_once(words, problem):
    """An empty name, as an unset variable gives, or one that comes twice is refused with its key."""
    with pytest.raises(ConfigError, match=re.escape(problem)):
        recipe("sne", *words)
