"""The options of ``zoo build``, made of the fields of a builder's configuration."""

from pathlib import Path
from typing import Literal, Optional

import click
import pytest
from attrs import Factory, asdict, field, frozen

from sneframe.cli.build import command_of
from sneframe.config.schema import option
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
    each: tuple[str, ...] = option((), "given several times", repeated=True)
    twice: int = field(default=Factory(lambda self: 2 * self.needed, takes_self=True))
    made: int = field(default=9, init=False)
    _hidden: int = 1


def built(config, *words):
    """Return what a builder is given for these words."""
    given = []
    builder = ZooBuilder(name="toy/zoo", config=config, build=lambda *each: given.append(each), help="a toy")
    command_of("toy/zoo", builder).main([*words, "--out", "z.zarr"], standalone_mode=False)
    return given[0][0]


def test_missing_options_have_the_classes_defaults():
    """An option that is not given has the default of the class."""
    assert built(Options, "--needed", "3") == Options(needed=3)


def test_every_kind_of_field_can_be_given():
    """Each supported type of field has a working option."""
    words = (
        "--needed 3 --maybe 4 --rate 0.25 --names a,b --widths 8 --more 1,2 --quick --no-checked --kind tanh "
        "--file x.txt --Upper v --each a,b --each c --twice 5 --hidden 6"
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
        "each": ("a,b", "c"),
        "twice": 5,
        "made": 9,
        "_hidden": 6,
    }


def test_a_field_without_a_default_must_be_given():
    """A field without a default is a required option."""
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
    """A value of the wrong type is refused."""
    with pytest.raises(click.BadParameter, match=said):
        built(Options, "--needed", "3", *words)


def test_what_the_class_refuses_is_a_configuration_error():
    """A value that the class refuses is a configuration error."""

    @frozen(kw_only=True)
    class Refusing:
        n: int = option(1, check=lambda *_: (_ for _ in ()).throw(ValueError("never")))

    with pytest.raises(ConfigError, match="zoo build toy/zoo: never"):
        built(Refusing)


def test_a_field_without_an_option_type_is_the_plugins_error():
    """A field of an unsupported type is an error of the plugin."""

    @frozen(kw_only=True)
    class Table:
        table: dict[str, int] = field(factory=dict)

    with pytest.raises(
        PluginError, match="zoo 'toy/zoo': option 'table' must have the type int, float, str, bool"
    ):
        built(Table)


# -- engines --------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Few:
    networks: int = option(3, "how many")


def engine_of(*words):
    """Return the engine that a builder is given for these words."""
    given = []
    builder = ZooBuilder(name="toy/zoo", config=Few, build=lambda *each: given.append(each), help="a toy")
    command_of("toy/zoo", builder).main([*words, "--out", "z.zarr"], standalone_mode=False)
    return given[0][3]


def test_processes_are_the_default_engine():
    """Processes are the default engine."""
    assert engine_of().name == "process"
    assert engine_of("--workers", "3").workers == 3


def test_an_engine_is_named():
    """--engine selects the engine."""
    assert engine_of("--engine", "serial").name == "serial"


def test_an_unknown_engine_is_refused_with_the_choices():
    """An unknown engine is refused with the choices."""
    with pytest.raises(click.BadParameter, match="'dask' is not one of 'serial', 'process', 'ray'"):
        engine_of("--engine", "dask")


def test_no_workers_are_refused():
    """--workers 0 is refused."""
    with pytest.raises(click.BadParameter, match="0 is not in the range x>=1"):
        engine_of("--workers", "0")


def test_a_builders_option_cannot_take_a_taken_name():
    """A builder's option cannot have the name of one of the command's own."""

    @frozen(kw_only=True)
    class Own:
        workers: int = 1

    builder = ZooBuilder(name="toy/zoo", config=Own, build=print, help="a toy")
    with pytest.raises(PluginError, match="zoo 'toy/zoo': no option can be named 'workers'"):
        command_of("toy/zoo", builder)
