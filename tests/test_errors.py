"""The words of errors."""

import pytest

import sneframe
from sneframe.errors import ConfigError, choices, with_article


@pytest.mark.parametrize("noun", ["head", "tokenizer", "list"])
def test_most_nouns_take_a(noun):
    """A noun that starts with a consonant has the article "a"."""
    assert with_article(noun) == f"a {noun}"


@pytest.mark.parametrize("noun", ["aggregator", "augmentation", "invariance", "int", "OrderedDict"])
def test_nouns_with_a_vowel_take_an(noun):
    """A noun that starts with a vowel has the article "an"."""
    assert with_article(noun) == f"an {noun}"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("epoch", "did you mean 'epochs'? (known: epochs, seed)"),
        ("nothing", "known: epochs, seed"),
        ("", "known: epochs, seed"),
    ],
)
def test_the_choices_follow_a_comma(wanted, said):
    """The choices are in parentheses only behind a suggestion."""
    assert choices(wanted, ["seed", "epochs"]) == said


def test_choices_have_a_noun_and_may_be_none():
    """The caller chooses the noun, and an empty list of choices is called none."""
    assert choices("snee", [], "installed") == "installed: none"


def test_a_part_in_the_wrong_slot_has_its_article():
    """The error for a part in the wrong slot says "an augmentation"."""
    said = "^part 'augmentation/noise' is an augmentation and cannot be the head$"
    with pytest.raises(ConfigError, match=said):
        sneframe.recipe("sne", "head.part=augmentation/noise")
