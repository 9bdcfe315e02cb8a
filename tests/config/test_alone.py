"""A written configuration stands alone: it says everything, and what it does not name does not come back."""

import tomllib

import pytest
from attrs import evolve

from sneframe.cli import main
from sneframe.compose import compose, recipe, use
from sneframe.config.schema import TrainConfig, ZooConfig
from sneframe.config.structure import to_commented_toml, to_toml
from sneframe.errors import ConfigError, SneframeError

# None where the recipe has a value, and where it has none.
WITHOUT = ("invariance.part=none", "train.clip=none", "zoo.property=scale")


def printed(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    assert left.value.code == 0, err
    return out


def written(tmp_path, text):
    file = tmp_path / "run.toml"
    file.write_text(text)
    return file


def without(text, heading):
    """Cut a table out of TOML."""
    before, _, rest = text.partition(f"[{heading}]\n")
    return before + "\n" + rest.partition("\n[")[1] + rest.partition("\n[")[2]


@pytest.mark.parametrize("shape", [to_toml, to_commented_toml])
@pytest.mark.parametrize("words", [(), WITHOUT], ids=["recipe", "without"])
@pytest.mark.parametrize("name", ["sne/default", "sne/paper", "dwsnet/paper", "stats/mlp"])
def test_a_written_configuration_is_read_back(tmp_path, shape, words, name):
    """A configuration that is written as TOML is read as the same one."""
    config = recipe(name, *words)
    assert compose(None, written(tmp_path, shape(config)), {}) == config


def test_none_is_none():
    """The word none means None wherever there may be no value."""
    config = recipe("sne", *WITHOUT)
    assert (config.invariance, config.train.clip, config.train.patience) == (None, None, None)


def test_none_is_written_as_a_word():
    """None is written as the word none."""
    data = tomllib.loads(to_toml(recipe("sne", *WITHOUT)))
    assert data["invariance"] == {"part": "none"}
    assert (data["train"]["clip"], data["train"]["patience"], data["zoo"]["where"]) == ("none",) * 3


def test_the_configuration_of_a_run_is_complete(capsys, tmp_path, toy_zoo_path):
    """The config.toml of a run prints, runs and resumes as the same run."""
    words = [*WITHOUT, f"zoo.path={toy_zoo_path}", "train.epochs=1", "layer_encoder.width=8"]
    words += ["layer_encoder.heads=2", "aggregator.heads=2", "device=cpu"]
    first, second = tmp_path / "first", tmp_path / "second"
    printed(
        capsys,
        *("run", "--no-report", "--plugin", "sne", "--out", str(first)),
        *(w for word in words for w in ("--set", word)),
    )
    text = (first / "config.toml").read_text()
    assert printed(capsys, "config", "--config", str(first / "config.toml")) == to_commented_toml(
        recipe("sne", *words, "train.shuffle=all")  # auto, settled by the memory of the machine
    )
    printed(capsys, "run", "--no-report", "--config", str(first / "config.toml"), "--out", str(second))
    assert (second / "config.toml").read_text() == text
    printed(capsys, "run", "--no-report", "--resume", str(first))
    assert (first / "config.toml").read_text() == text


def test_a_deleted_table_stays_away(capsys, tmp_path):
    """A table that the user deletes from a complete file does not come back."""
    text = printed(capsys, "config", "--plugin", "sne")
    assert "[invariance]" in text
    assert compose(None, written(tmp_path, without(text, "invariance")), {}).invariance is None


def test_a_missing_key_has_the_default_of_its_class(tmp_path):
    """A key that a complete file lacks has the default of its class, not the value of the recipe."""
    config = evolve(recipe("dwsnet/paper"), invariance=None)
    file = written(tmp_path, without(to_toml(config), "train"))
    assert compose(None, file, {}).train == TrainConfig()


def test_the_recipe_of_a_complete_file_is_a_record(tmp_path):
    """A complete file may name a recipe that does not exist."""
    text = to_toml(recipe("sne")).replace('"sne/default"', '"gone/default"')
    config = compose(None, written(tmp_path, text), {})
    assert config == evolve(recipe("sne"), recipe="gone/default")


def test_a_complete_file_is_laid_over_a_given_recipe(tmp_path):
    """With --plugin, even a complete file is laid over the recipe."""
    text = without(to_toml(recipe("sne/paper")), "invariance").replace('recipe = "sne/paper"\n', "")
    assert compose("sne", written(tmp_path, text), {}).invariance == recipe("sne").invariance


def test_a_file_of_another_recipe_is_refused(tmp_path):
    """--plugin and the file must not name different recipes."""
    file = written(tmp_path, to_toml(recipe("sne")))
    with pytest.raises(
        ConfigError, match=r"'stats/default', but .*run.toml names 'sne/default'; leave out one"
    ):
        compose("stats", file, {})


def test_an_incomplete_file_is_laid_over_its_recipe(tmp_path):
    """A file without a head is laid over the recipe that it names."""
    file = written(tmp_path, without(to_toml(recipe("sne", "head.hidden=[8]")), "head"))
    assert compose(None, file, {}).head == recipe("sne").head


def test_a_configuration_without_a_recipe_is_read_back(tmp_path):
    """A configuration that started from no recipe is written and read."""
    config = evolve(recipe("sne"), recipe=None)
    assert compose(None, written(tmp_path, to_toml(config)), {}) == config


def test_a_part_can_fill_an_empty_slot():
    """A part in a slot that was empty takes options."""
    config = recipe("dwsnet", "invariance.part=invariance/logit", "invariance.weight=2")
    assert config.invariance.config.weight == 2


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.epochs=none", "train.epochs: must be a whole number, got 'none'$"),
        ("train.clip=None", r"train.clip: must be a number, got 'None' \(no value: 'none'\)$"),
        ("train.clip=", r"train.clip: must be a number, got '' \(no value: 'none'\)$"),
        ("zoo.where=5", r"zoo.where: must be a string, got 5 \(no value: 'none'\)$"),
        ("head.part=none", "head: unknown plugin 'none', "),
        ("invariance=none", "invariance: must be a table with part = 'PLUGIN/NAME' or 'none', got 'none'$"),
        ("invariance.part=no", "unknown plugin 'no'"),
    ],
)
def test_no_other_word_is_none(word, said):
    """Other words and empty values do not mean None, and required values cannot be none."""
    with pytest.raises(SneframeError, match=said):
        recipe("sne", word)


def test_none_has_no_options():
    """A slot that is set to none has no options."""
    with pytest.raises(
        ConfigError,
        match="invariance: part = 'none' takes no options, but got 'weight': name a part, or give no option",
    ):
        recipe("sne", "invariance.part=none", "invariance.weight=2")


def test_a_property_cannot_be_called_none():
    """The word for no value cannot be the name of a property."""
    config = evolve(recipe("sne"), zoo=ZooConfig(property="none"))
    with pytest.raises(
        ConfigError, match="property: the value must not be the string 'none', because 'none' means no value"
    ):
        to_toml(config)


def test_none_in_code_is_checked_too():
    """An option in code that cannot be None is refused like one in a file."""
    with pytest.raises(ConfigError, match=r"^head/mlp\.hidden: must be a list, got 'none'$"):
        use("head/mlp", hidden=None)
