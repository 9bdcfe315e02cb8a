"""The page on Python shows the signature of each attrs class."""

import griffe
import pytest
from attrs_classes import AttrsClasses

SOURCE = '''
from attrs import define, field, frozen
from sneframe.config.schema import option

@frozen
class Base:
    size: int

@frozen(kw_only=True)
class Part(Base):
    """A class."""
    width: int = option(64, "the width")
    names: list = field(factory=list)
    cache: dict = field(factory=dict, init=False)
    _hidden: str = "x"

    @property
    def area(self) -> int:
        return 1

class Plain:
    size: int
'''


@pytest.fixture
def module(tmp_path):
    """Return a module that griffe has read with the extension."""
    (tmp_path / "shapes.py").write_text(SOURCE)
    extensions = griffe.load_extensions(AttrsClasses)
    return griffe.load("shapes", search_paths=[tmp_path], extensions=extensions)


def test_attrs_class_gets_its_signature(module):
    """Fields become parameters, with those of the base first; properties and fields without init do not."""
    parameters = module["Part.__init__"].parameters
    assert [each.name for each in parameters] == ["self", "size", "width", "names", "hidden"]
    assert [str(each.default) for each in parameters][2:] == ["64", "list()", "'x'"]
    assert {each.kind for each in list(parameters)[2:]} == {griffe.ParameterKind.keyword_only}


def test_plain_class_stays_as_it_is(module):
    """A class that attrs does not make gets no signature."""
    assert "__init__" not in module["Plain"].members
