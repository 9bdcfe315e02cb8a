"""The page of kinds lists what can be evaluated, and what a description must say for it."""

import re
from pathlib import Path

import pytest

from sneframe.architecture.evaluate.activations import ACTIVATIONS
from sneframe.architecture.evaluate.kinds import KINDS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "kinds.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the pages are not in a wheel")


def rows():
    """Return by kind or activation the words between backticks in its row, and those that may be absent."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            first, *others = line.strip("|").split("|")
            words = " ".join(others)
            listed = (set(re.findall(r"`([^`]+)`", words)), set(re.findall(r"`([^`]+)`\?", words)))
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", first), listed)
    return found


def test_the_page_lists_every_kind_and_activation():
    """No kind is missing, and no listed one is unknown."""
    assert set(rows()) == {*KINDS, *ACTIVATIONS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_lists_what_a_kind_needs_and_allows(kind):
    """Attributes and roles that a description must have are listed without a question mark."""
    listed, optional = rows()[kind]
    needs = {*KINDS[kind].needs, *KINDS[kind].roles}
    assert needs <= listed - optional
    assert {*KINDS[kind].allows, *(KINDS[kind].optional or ())} <= listed


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_page_lists_the_settings_of_an_activation(name):
    """Settings that may be absent have a question mark."""
    listed, optional = rows()[name]
    assert set(ACTIVATIONS[name].needs) <= listed - optional
    assert set(ACTIVATIONS[name].allows) <= optional
