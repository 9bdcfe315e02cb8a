"""Columns of tables: missing values, fractions, and the warnings for columns that become text."""

import json
import warnings

import factories
import pytest
import torch
from sneframe_importers.table import read_table

from sneframe.errors import ZooError


def read(tmp_path, *words, ending="csv"):
    """Return the values of column x of a table with these texts, and the warnings."""
    path = tmp_path / f"t.{ending}"
    if ending == "jsonl":
        rows = [json.dumps({"file": f"{n}.pt", "x": word}) for n, word in enumerate(words)]
    else:
        rows = ["file\tx", *(f"{n}.pt\t{word}" for n, word in enumerate(words))]
        path = tmp_path / "t.tsv"
    path.write_text("\n".join(rows) + "\n")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        values = [entry.properties["x"] for entry in read_table(path)]
    return values, [str(each.message).removeprefix(f"{path}: ") for each in said]


@pytest.mark.parametrize(
    "word", ["", "NA", "na", "N/A", "n/a", "nan", "NaN", "null", "-", "–", "#N/A", "None"]
)
def test_missing_value_words_among_numbers(tmp_path, word):
    """A column of numbers stays numeric with any spelling of a missing value."""
    assert read(tmp_path, "0.5", word, "0.91") == ([0.5, None, 0.91], [])


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_none_among_texts_is_a_value(tmp_path, ending):
    """Among texts, none is a category, and a dash is a missing value."""
    assert read(tmp_path, "none", "-", "mixup", ending=ending) == (["none", None, "mixup"], [])


def test_missing_value_words_among_truth_values(tmp_path):
    """A column of true and false stays bool with a missing value."""
    assert read(tmp_path, "true", "n/a", "False") == ([True, None, False], [])


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_percentages_become_fractions(tmp_path, ending):
    """91.37% becomes the float 0.9137, and a warning says so."""
    values, said = read(tmp_path, "91.37%", "7 %", "N/A", "100%", ending=ending)
    assert values == [0.9137, 0.07, None, 1.0]
    assert said == ["column 'x': 3 values with % are read as fractions"]


@pytest.mark.parametrize(("ending", "number"), [("csv", "0.91"), ("jsonl", 0.91), ("jsonl", "0.91")])
def test_percentages_among_numbers_are_refused(tmp_path, ending, number):
    """Numbers with and without % in one column raise an error that names both lines."""
    with pytest.raises(ZooError, match=r"line [34]: 'x' is '0.91', but '91%' in line [12]"):
        read(tmp_path, "91%", "-", number, ending=ending)


@pytest.mark.parametrize(("ending", "line", "numbers"), [("csv", 4, ("1", "2")), ("jsonl", 3, (1, 2.5))])
def test_the_value_that_makes_a_column_text_is_named(tmp_path, ending, line, numbers):
    """The warning names the value and the line that turn numbers into text."""
    values, said = read(tmp_path, *numbers, "crashed", "n.a.", ending=ending)
    assert values == [*map(str, numbers), "crashed", "n.a."]
    (warning,) = said
    assert f"text because of 'crashed' in line {line} (2 of 4 values are numbers)" in warning


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1.5", "007"), "'007' in line 3 (1 of 2 values are numbers); as a number it would lose digits"),
        (("91%", "crashed"), "'crashed' in line 3 (1 of 2 values are numbers)"),
        (("true", "false", "maybe"), "'maybe' in line 4 (2 of 3 values are true or false)"),
        (("1", "true"), "'true' in line 3 (1 of 2 values are numbers)"),
        (("0.5", "1e400"), "'1e400' in line 3 (1 of 2 values are numbers)"),
        (("0,91", "0,5"), "'0,91' in line 2; write numbers with a decimal point"),
        (("12", "1,234"), "'1,234' in line 3 (1 of 2 values are numbers); write numbers with a decimal"),
        (("1_000", "2 000"), "'1_000' in line 2; write numbers with a decimal point"),
    ],
)
def test_unreadable_numbers_are_warned_about(tmp_path, words, said):
    """Codes, decimal commas and mixed kinds become text only with a warning."""
    values, found = read(tmp_path, *words)
    assert values == list(words)
    (warning,) = found
    assert f"'x' is read as text because of {said}" in warning


@pytest.mark.parametrize(
    "words", [("mlp", "cnn"), ("007", "012"), ("16,16,16", "32,32"), ("yes", "no"), ("-", "")]
)
def test_plain_text_is_not_warned_about(tmp_path, words):
    """Names, codes and lists become text without a warning."""
    assert read(tmp_path, *words)[1] == []


def test_infinity_is_a_number(tmp_path):
    """inf is read as a float, because a diverged loss may be infinite."""
    assert read(tmp_path, "inf", "-Infinity", "0.5") == ([float("inf"), -float("inf"), 0.5], [])


def test_json_has_the_same_missing_values(tmp_path):
    """null, NaN and the words for missing values are missing in JSON lines, too."""
    assert read(tmp_path, 1, None, float("nan"), "n/a", 3, ending="jsonl") == ([1, None, None, None, 3], [])


def test_numbers_in_quotes_are_warned_about(tmp_path):
    """Quoted numbers stay text, or are read as numbers among numbers; both give a warning."""
    assert read(tmp_path, "0.5", "0.25", ending="jsonl") == (
        ["0.5", "0.25"],
        ["column 'x' is read as text: its 2 values are numbers in quotes"],
    )
    assert read(tmp_path, 0.5, "0.25", ending="jsonl") == (
        [0.5, 0.25],
        ["column 'x': 1 of 2 values are numbers in quotes; they are read as numbers"],
    )


@pytest.mark.parametrize(
    ("values", "large"),
    [((1, 18446744073709551617, 3), "18446744073709551617"), ((0.5, 9007199254740993), "9007199254740993")],
)
def test_a_too_large_int_makes_its_column_text(tmp_path, values, large):
    """An int that would lose digits makes its column text, and its line is named."""
    for ending in ("jsonl", "csv"):
        found, (said,) = read(tmp_path, *values, ending=ending)
        assert found == [str(value) for value in values]
        assert f"column 'x' is read as text because of '{large}' in line " in said
        assert said.endswith("as a number it would lose digits")


@pytest.mark.parametrize("sign", [1, -1])
def test_ints_among_floats_keep_their_digits(tmp_path, sign):
    """Among floats, ints up to 2**53 are floats, and the next larger ints make the column text."""
    exact, large = sign * 2**53, sign * (2**53 + 1)
    assert read(tmp_path, 0.5, exact, ending="jsonl") == ([0.5, exact], [])
    assert read(tmp_path, 0.5, large, ending="jsonl")[0] == ["0.5", str(large)]


@pytest.mark.parametrize(
    ("value", "kind"), [(2**63 - 1, int), (2**63, str), (-(2**63), int), (-(2**63) - 1, str)]
)
def test_the_range_of_ints_is_64_bits(tmp_path, value, kind):
    """The smallest and the largest int of 64 bits are ints; the next ones are no ints."""
    (found, *_), _ = read(tmp_path, value, 2**70 + 1 if kind is str else 1, ending="jsonl")
    assert (type(found), int(found)) == (kind, value)


def test_a_number_of_many_digits_is_text(tmp_path):
    """An int that exceeds every float is text with a warning."""
    values, (said,) = read(tmp_path, "1", "9" * 400)
    assert values == ["1", "9" * 400]
    assert said.endswith("as a number it would lose digits")


def test_only_too_large_ints_are_warned_about(tmp_path):
    """A column of ints that all exceed 64 bits becomes text with a warning."""
    ids = [(1 << 64) + 1, (1 << 64) + 3]
    found, said = read(tmp_path, *ids, ending="jsonl")
    assert found == [str(number) for number in ids]
    (warning,) = said
    assert "its 2 values are ints that do not fit into 64 bits" in warning


def test_a_too_large_int_does_not_affect_other_columns(tmp_path, imported):
    """All networks are imported, and other columns stay numbers."""
    rows = [{"file": f"{n}.pt", "seed": n + (n << 70) + n % 2, "loss": n / 2} for n in range(3)]
    for row in rows:
        torch.save(factories.mlp().state_dict(), tmp_path / row["file"])
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(UserWarning, match="'seed' is read as text"):
        zoo, skipped = imported("files", tmp_path, properties_from=(tmp_path / "t.jsonl",))
    assert (zoo.column("loss").tolist(), skipped) == ([0.0, 0.5, 1.0], {})


def test_a_missing_group_is_a_group_of_its_own(tmp_path):
    """A missing group gives no shared group, and a missing split means unused."""
    (tmp_path / "t.csv").write_text("file,group,split\na.pt,-,train\nb.pt,n/a,NA\n")
    assert [(entry.group, entry.split) for entry in read_table(tmp_path / "t.csv")] == [(None, 0), (None, -1)]


def test_an_exported_text_is_not_converted(tmp_path):
    """In a table that `zoo export` wrote, dashes and percentages stay text."""
    head = "file,architecture,group,healthy,x,y"
    rows = ["a.pt,0123456789012345,g,true,-,91%", "b.pt,0123456789012345,g,true,NA,5%"]
    (tmp_path / "t.csv").write_text("\n".join([head, *rows]))
    found = [entry.properties for entry in read_table(tmp_path / "t.csv")]
    assert found == [{"x": "-", "y": "91%"}, {"x": "NA", "y": "5%"}]


def test_an_import_warns_about_a_column_of_text(tmp_path, imported):
    """The warning reaches the caller of the import, and the column is text in the zoo."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    torch.save(factories.mlp().state_dict(), tmp_path / "b.pt")
    (tmp_path / "t.csv").write_text("file,accuracy\na.pt,0.5\nb.pt,failed\n")
    with pytest.warns(UserWarning, match="'accuracy' is read as text because of 'failed' in line 3"):
        zoo, _ = imported("files", tmp_path, properties_from=(tmp_path / "t.csv",))
    assert zoo.typed_column("accuracy").kind == "string"
