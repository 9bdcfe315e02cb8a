"""Names of tensors with and without what stands before all of them."""

import pytest

from sneframe.errors import ConfigError, FileError
from sneframe.files import common_prefix, matched, with_aliases
from sneframe.files.names import Renaming
from sneframe.testing import mlp

NAMES = ["0.weight", "0.bias", "2.weight"]


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (NAMES, ""),
        ([f"model.net.{name}" for name in NAMES], "model.net."),
        (["model.a.0.weight", "model.b.0.weight"], "model."),
        (["base_model.model.0.lora_A.weight", "base_model.model.1.lora_A.weight"], ""),
        (["fc.weight", "fc.bias"], ""),
        (["net.fc.weight", "net.fc.bias"], "net."),
        (["weight", "net.0.weight"], ""),
        ([], ""),
    ],
    ids=[
        "none",
        "two words",
        "one word",
        "an adapter",
        "one layer",
        "one layer inside",
        "a bare name",
        "nothing",
    ],
)
def test_the_common_prefix_leaves_a_word_for_each_layer(names, prefix):
    """A trainer's words before all names are found, and the last two words of a name are its own."""
    assert common_prefix(names) == prefix


def test_a_prefix_of_the_file_is_left_out():
    """A file of a trainer has ``model.`` before the names that the module has."""
    assert matched({f"model.{name}": name for name in NAMES}, NAMES) == {name: name for name in NAMES}


def test_a_prefix_of_the_module_is_added():
    """A file of the inner module has fewer words than the module around it."""
    wanted = [f"net.{name}" for name in NAMES]
    assert matched({name: name for name in NAMES}, wanted) == {f"net.{name}": name for name in NAMES}


def test_names_that_no_prefix_explains_stay():
    """The caller then says which name is missing."""
    tensors = {"a.0.weight": 1, "b.2.weight": 2}
    assert matched(tensors, ["0.weight", "2.weight"]) == tensors


def test_another_name_of_a_tied_tensor_is_taken():
    """``save_model`` of safetensors keeps one name of a tensor that has several."""
    found = with_aliases(
        {"head.weight": 1, "body.weight": 2}, ["words.weight", "body.weight"], {"words.weight": "head.weight"}
    )
    assert found == {"words.weight": 1, "body.weight": 2}


# -- names that a user changes ---------------------------------------------------------------------------


def test_a_prefix_and_rules_change_names():
    """A prefix is removed where it occurs, and then the rules apply in order."""
    renaming = Renaming.parse("net.", ["s/layer(\\d+)/\\1/", "s|weight_orig|weight|"])
    assert renaming.of({"net.layer2.weight_orig": 1, "head.bias": 2}) == {"2.weight": 1, "head.bias": 2}


def test_two_tensors_of_one_name_are_refused():
    """A renaming that would lose a tensor is refused."""
    with pytest.raises(FileError, match="gives two tensors the name 'w'"):
        Renaming.parse("", ["s/^.*w$/w/"]).of({"a.w": 1, "b.w": 2})


@pytest.mark.parametrize("rule", ["", "s", "s/", "s/a/", "s/a/b", "s/a/b/g", "s//b/", "a/b/"])
def test_a_rule_of_another_form_is_refused(rule):
    """A rule is s/PATTERN/REPLACEMENT/."""
    with pytest.raises(ConfigError, match="must be written as s/PATTERN/REPLACEMENT/, but got"):
        Renaming.parse("", [rule])


@pytest.mark.parametrize("rule", ["s/(/b/", "s/a/\\1/"])
def test_a_bad_regular_expression_is_refused(rule):
    """The pattern and the replacement must be valid."""
    with pytest.raises(ConfigError, match="not a valid regular expression"):
        Renaming.parse("", [rule])


def test_the_names_of_an_architecture_change_with_the_tensors():
    """The parameters of an architecture get the names that its tensors get."""
    architecture = Renaming.parse("", ["s/^/x./"]).of_architecture(mlp(2, 3, 1))
    assert architecture.parameters[0].name == f"x.{mlp(2, 3, 1).parameters[0].name}"
