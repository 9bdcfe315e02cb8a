"""The words of errors."""

import pytest

import sneframe
from sneframe.errors import ConfigError, with_article


@pytest.mark.parametrize("noun", ["head", "tokenizer", "list"])
def test_most_nouns_take_a(noun):
    """A noun that starts with a consonant has the article "a"."""
    assert with_article(noun) == f"a {noun}"


@pytest.mark.parametrize("noun", ["aggregator", "augmentation", "invariance", "int", "OrderedDict"])
def test_nouns_with_a_vowel_take_an(noun):
    """A noun that starts with a vowel has the article "an"."""
    assert with_article(noun) == f"an {noun}"


def test_a_part_in_the_wrong_slot_has_its_article():
    """The error for a part in the wrong slot says "an augmentation"."""
    said = "^part 'augmentation/noise' is an augmentation and cannot be the head$"
    with pytest.raises(ConfigError, match=said):
        sneframe.recipe("sne", "head.part=augmentation/noise")
