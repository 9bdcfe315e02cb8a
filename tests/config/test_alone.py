"""A written configuration stands alone: it says everything, and what it does not name does not come back."""

import tomllib

import pytest
from attrs import evolve

from sneframe import plugins
from sneframe.cli import main
from sneframe.compose import compose, recipe
from sneframe.config.schema import TrainConfig, ZooConfig, use
from sneframe.config.structure import structure, to_commented_toml, to_toml
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
def test_what_is_written_reads_as_the_same_configuration(tmp_path, shape, words, name):
    config = recipe(name, *words)
    assert compose(None, written(tmp_path, shape(config)), {}) == config


def test_none_is_none():
    config = recipe("sne", *WITHOUT)
    assert (config.invariance, config.train.clip, config.train.patience) == (None, None, None)


def test_none_is_written_as_a_word():
    data = tomllib.loads(to_toml(recipe("sne", *WITHOUT)))
    assert data["invariance"] == {"part": "none"}
    assert (data["train"]["clip"], data["train"]["patience"], data["zoo"]["where"]) == ("none",) * 3


def test_a_run_leaves_a_configuration_that_prints_and_runs_as_itself(capsys, tmp_path, toy_zoo_path):
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
        recipe("sne", *words)
    )
    printed(capsys, "run", "--no-report", "--config", str(first / "config.toml"), "--out", str(second))
    assert (second / "config.toml").read_text() == text
    printed(capsys, "run", "--no-report", "--resume", str(first))
    assert (first / "config.toml").read_text() == text


def test_a_table_that_was_deleted_from_a_printed_configuration_stays_away(capsys, tmp_path):
    text = printed(capsys, "config", "--plugin", "sne")
    assert "[invariance]" in text
    assert compose(None, written(tmp_path, without(text, "invariance")), {}).invariance is None


def test_a_key_that_a_complete_file_lacks_has_its_own_default_not_the_recipes(tmp_path):
    config = evolve(recipe("dwsnet/paper"), invariance=None)
    file = written(tmp_path, without(to_toml(config), "train"))
    assert compose(None, file, {}).train == TrainConfig()


def test_the_recipe_of_a_complete_file_is_a_record(tmp_path):
    text = to_toml(recipe("sne")).replace('"sne/default"', '"gone/default"')
    config = compose(None, written(tmp_path, text), {})
    assert config == evolve(recipe("sne"), recipe="gone/default")


def test_a_complete_file_is_laid_over_a_recipe_that_is_asked_for(tmp_path):
    text = without(to_toml(recipe("sne/paper")), "invariance").replace('recipe = "sne/paper"\n', "")
    assert compose("sne", written(tmp_path, text), {}).invariance == recipe("sne").invariance


def test_a_file_of_another_recipe_than_the_one_asked_for_is_refused(tmp_path):
    file = written(tmp_path, to_toml(recipe("sne")))
    with pytest.raises(
        ConfigError, match=r"'stats/default', .*run.toml the recipe 'sne/default'; leave out one"
    ):
        compose("stats", file, {})


def test_a_file_that_names_four_parts_is_laid_over_the_recipe_it_names(tmp_path):
    file = written(tmp_path, without(to_toml(recipe("sne", "head.hidden=[8]")), "head"))
    assert compose(None, file, {}).head == recipe("sne").head


def test_a_configuration_that_started_from_no_recipe_is_written_and_read(tmp_path):
    config = evolve(recipe("sne"), recipe=None)
    assert compose(None, written(tmp_path, to_toml(config)), {}) == config


def test_a_part_put_where_there_was_none_takes_options():
    config = recipe("dwsnet", "invariance.part=invariance/logit", "invariance.weight=2")
    assert config.invariance.config.weight == 2


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.epochs=none", "train.epochs: must be a whole number, got 'none'$"),
        ("train.clip=None", r"train.clip: must be a number, got 'None' \(no value: 'none'\)$"),
        ("train.clip=", r"train.clip: must be a number, got '' \(no value: 'none'\)$"),
        ("zoo.where=5", r"zoo.where: must be a string, got 5 \(no value: 'none'\)$"),
        ("head.part=none", "head: unknown part 'none'"),
        ("invariance=none", "invariance: must be a table with part = 'PLUGIN/NAME' or 'none', got 'none'$"),
        ("invariance.part=no", "unknown plugin 'no'"),
    ],
)
def test_no_other_word_is_none(word, said):
    with pytest.raises(SneframeError, match=said):
        recipe("sne", word)


def test_none_has_no_options():
    with pytest.raises(
        ConfigError, match="invariance: part = 'none' has no options, got 'weight'; name a part too"
    ):
        recipe("sne", "invariance.part=none", "invariance.weight=2")


def test_a_property_cannot_be_called_as_no_property_is():
    config = evolve(recipe("sne"), zoo=ZooConfig(property="none"))
    with pytest.raises(ConfigError, match="property: 'none' is the word for no value, it cannot be one"):
        to_toml(config)


def test_none_in_a_recipes_options_is_none():
    config = evolve(recipe("sne"), head=use("head/mlp", hidden=None))
    with pytest.raises(ConfigError, match=r"head\.hidden: must be a list, got 'none'"):
        structure(tomllib.loads(to_toml(config)), plugins.load(["sne", "head", "normalise", "invariance"]))
