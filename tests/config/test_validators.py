"""Values set in Python get the same checks of their types as values in a file."""

from pathlib import Path
from typing import get_type_hints

import attrs
import pytest
from attrs import evolve, field, frozen

from sneframe import plugins
from sneframe.compose import recipe
from sneframe.config.schema import Choice, RunConfig, TrainConfig, ZooConfig
from sneframe.config.validators import check_types


class Foreign:
    """A value of a type that no option has."""


def options():
    """Every option of the core and of all installed plugins, with the class that has the option."""
    offered = plugins.load(plugins.installed())
    configs = [part.Config for part in offered.parts.values()]
    configs += [each.config for each in (*offered.zoos.values(), *offered.importers.values())]
    for config in dict.fromkeys((RunConfig, ZooConfig, TrainConfig, *configs)):
        for attribute in attrs.fields(config):
            if attribute.metadata.get("help") is not None:
                yield pytest.param(config, attribute, id=f"{config.__module__}.{attribute.name}")


@pytest.mark.parametrize(("config", "attribute"), list(options()))
def test_every_option_refuses_a_foreign_type(config, attribute):
    """A value of a foreign type is refused with the name of the option."""
    checks = attribute.validator
    with pytest.raises(TypeError, match=attribute.name):
        checks(object.__new__(config), attribute, Foreign())


@pytest.mark.parametrize(("config", "attribute"), list(options()))
def test_every_option_of_whole_numbers_refuses_fractions(config, attribute):
    """3.7 and True are no whole numbers."""
    if get_type_hints(config)[attribute.name] not in (int, int | None):
        return
    for value in (3.7, True):
        with pytest.raises(TypeError, match=attribute.name):
            attribute.validator(object.__new__(config), attribute, value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 3.7}, "epochs: must be a whole number, got 3.7"),
        ({"epochs": "3"}, "epochs: must be a whole number, got '3'"),
        ({"lr": "fast"}, "lr: must be a number, got 'fast'"),
        ({"patience": 1.5}, "patience: must be a whole number, got 1.5"),
    ],
)
def test_a_wrong_type_set_in_python_is_refused_in_one_line(changes, said):
    """The error names the option and the value."""
    with pytest.raises(TypeError, match=f"^{said}$"):
        evolve(recipe("sne").train, **changes)


def test_a_single_name_is_not_taken_for_a_list_of_letters():
    """An option that lists names refuses a string."""
    with pytest.raises(TypeError, match="also: must be a list, got 'frequency'"):
        ZooConfig(also="frequency")


def test_a_whole_number_serves_as_a_float():
    """An int is accepted where a float is wanted."""
    assert TrainConfig(lr=1).lr == 1


def test_a_config_without_option_fields_is_checked_in_a_choice():
    """The fields of a third-party Config need no ``option`` for the check."""
    part = recipe("sne").head.part

    @frozen(kw_only=True)
    class Config:
        width: int = field(default=3)

    assert Choice(part=part, config=Config(width=4)).config.width == 4
    with pytest.raises(TypeError, match=r"head/mlp.width: must be a whole number, got 4.5"):
        Choice(part=part, config=Config(width=4.5))


def test_a_field_of_a_type_that_no_file_holds_is_not_checked():
    """A Config may hold values of the plugin's own types."""

    @frozen(kw_only=True)
    class Config:
        thing: Foreign = field(factory=Foreign)
        path: Path = field(default=Path())

    check_types(Config(), where="toy/part")
