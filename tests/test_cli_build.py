"""The options of ``zoo build``, made of the fields of a builder's configuration."""

from pathlib import Path
from typing import Literal, Optional

import click
import pytest
from attrs import Factory, asdict, field, frozen

from sneframe.cli.build import _command
from sneframe.config import option
from sneframe.errors import ConfigError, PluginError
from sneframe.zoo import ZooBuilder


@frozen(kw_only=True)
class Options:
    needed: int = option(help="no default")
    maybe: int | None = None
    rate: Optional[float] = 0.5  # noqa: UP045  # as others write it
    names: list[str] = field(factory=list)
    widths: tuple[int, ...] = (3, 2)
    more: tuple[int, ...] | None = None
    quick: bool = False
    checked: bool = True
    kind: Literal["relu", "tanh"] = "relu"
    file: Path | None = None
    Upper: str = "u"
    twice: int = field(default=Factory(lambda self: 2 * self.needed, takes_self=True))
    made: int = field(default=9, init=False)
    _hidden: int = 1


def built(config, *words):
    """Return what a builder is given for these words."""
    given = []
    builder = ZooBuilder(name="toy/zoo", config=config, build=lambda *each: given.append(each), help="a toy")
    _command("toy/zoo", builder).main([*words, "--out", "z.zarr"], standalone_mode=False)
    return given[0][0]


def test_what_is_not_given_is_the_classes_default():
    assert built(Options, "--needed", "3") == Options(needed=3)


def test_every_kind_of_field_can_be_given():
    words = (
        "--needed 3 --maybe 4 --rate 0.25 --names a,b --widths 8 --more 1,2 --quick --no-checked --kind tanh "
        "--file x.txt --Upper v --twice 5 --hidden 6"
    )
    assert asdict(built(Options, *words.split())) == {
        "needed": 3,
        "maybe": 4,
        "rate": 0.25,
        "names": ["a", "b"],
        "widths": (8,),
        "more": (1, 2),
        "quick": True,
        "checked": False,
        "kind": "tanh",
        "file": Path("x.txt"),
        "Upper": "v",
        "twice": 5,
        "made": 9,
        "_hidden": 6,
    }


def test_a_field_without_a_default_must_be_given():
    with pytest.raises(click.MissingParameter, match="needed"):
        built(Options)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--maybe", "x"], "'x' is not a valid integer"),
        (["--widths", "3,x"], "'3,x' is not a comma-separated list of int"),
        (["--kind", "sine"], "'sine' is not one of 'relu', 'tanh'"),
    ],
)
def test_a_value_of_another_kind_is_refused(words, said):
    with pytest.raises(click.BadParameter, match=said):
        built(Options, "--needed", "3", *words)


def test_what_the_class_refuses_is_a_configuration_error():
    @frozen(kw_only=True)
    class Refusing:
        n: int = option(1, check=lambda *_: (_ for _ in ()).throw(ValueError("never")))

    with pytest.raises(ConfigError, match="zoo build toy/zoo: never"):
        built(Refusing)


def test_a_kind_that_no_word_can_be_is_the_plugins_error():
    @frozen(kw_only=True)
    class Table:
        table: dict[str, int] = field(factory=dict)

    with pytest.raises(PluginError, match="zoo 'toy/zoo': option 'table' must be an int, float, str, bool"):
        built(Table)
