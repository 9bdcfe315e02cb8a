"""Embeddings as tables, and the nearest among them."""

import csv
import io

import numpy as np
import pyarrow.parquet
import pytest

from sneframe.errors import ConfigError
from sneframe.predict.embedding_table import EmbeddingTable

VALUES = np.array([[0.0, 0.0], [1.0, 100.0], [2.0, 300.0]], np.float32)


@pytest.fixture
def embedded():
    properties = {"accuracy": [0.5, None, 0.75], "name": ["ä", "b,c", None], "source": ["x", "y", "z"]}
    return EmbeddingTable(sources=["zoo/0", "zoo/1", "a.pt"], values=VALUES, properties=properties)


def test_a_csv_has_a_row_for_each_network(embedded, tmp_path):
    """The CSV file has one row for each network, with its properties."""
    embedded.write(tmp_path / "e.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "e.csv").read_text(encoding="utf-8"))))
    assert list(rows[0]) == ["source", "accuracy", "name", "embedding_0", "embedding_1"]
    assert rows[1] == {
        "source": "zoo/1",
        "accuracy": "",
        "name": "b,c",
        "embedding_0": "1.0",
        "embedding_1": "100.0",
    }


def test_an_npz_is_read_without_pickle(embedded, tmp_path):
    """The npz file is read with allow_pickle=False."""
    embedded.write(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["embedding"], VALUES)
        assert found["source"].tolist() == ["zoo/0", "zoo/1", "a.pt"]


def test_a_parquet_has_typed_columns(embedded, tmp_path):
    """The parquet file has typed columns."""
    embedded.write(tmp_path / "e.parquet")
    found = pyarrow.parquet.read_table(tmp_path / "e.parquet")
    assert found.column("accuracy").to_pylist() == [0.5, None, 0.75]
    assert found.column("embedding_1").to_pylist() == [0.0, 100.0, 300.0]
    assert str(found.schema.field("embedding_1").type) == "float"


def test_parquet_without_pyarrow_is_one_line(embedded, tmp_path, monkeypatch):
    """Writing parquet without pyarrow gives one line with the remedy."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'sneframe\[parquet\]'"):
        embedded.write(tmp_path / "e.parquet")
    assert not (tmp_path / "e.parquet").exists()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_property_does_not_lose_its_column_to_the_embedding(tmp_path, ending):
    """A property named like a column of the embedding is refused."""
    embedded = EmbeddingTable(sources=["a"], values=VALUES[:1], properties={"embedding_1": [7]})
    with pytest.raises(
        ConfigError, match=r"'embedding_1' has the name of a column of the embedding; write " r"to \.npz"
    ):
        embedded.write(tmp_path / f"e{ending}")
    embedded.write(tmp_path / "e.npz")


def test_another_ending_is_refused(embedded, tmp_path):
    """A file name with another ending is refused."""
    with pytest.raises(ConfigError, match=r"e\.xlsx: embeddings are written as \.csv, \.npz, \.parquet"):
        embedded.write(tmp_path / "e.xlsx")


def test_distances_are_measured_in_standard_deviations(embedded):
    """Columns are divided by their standard deviations before distances are measured."""
    # Deviations are 0.8165 and 124.7: of (2, 100) the second is 1.22 away, the third 1.60, the first 2.58;
    # over √2.
    found = embedded.nearest(np.array([2.0, 100.0]), k=2)
    assert [place for place, _ in found] == [1, 2]
    assert [distance for _, distance in found] == pytest.approx([1.2247 / 2**0.5, 1.6036 / 2**0.5], abs=1e-4)


def test_more_neighbours_than_networks_are_all_of_them(embedded):
    """Each stands there once."""
    assert sorted(place for place, _ in embedded.nearest(VALUES[0], k=10)) == [0, 1, 2]


def test_a_network_is_at_distance_zero_from_itself():
    """This holds in a wide space far from the origin, where digits cancel, and equal networks keep order."""
    values = np.random.default_rng(0).standard_normal((40, 64)) + 1e4
    values[7] = values[3]
    embedded = EmbeddingTable(sources=[str(n) for n in range(40)], values=values, properties={})
    assert embedded.nearest(values[7], k=2) == [(3, 0.0), (7, 0.0)]


def test_a_network_without_a_finite_embedding_is_never_near(embedded):
    """And it does not take the scale from the others."""
    broken = EmbeddingTable(sources=["nan"], values=np.full((1, 2), np.nan, np.float32), properties={})
    found = EmbeddingTable.joined([broken, embedded]).nearest(np.array([2.0, 100.0]), k=4)
    expected = [(place + 1, distance) for place, distance in embedded.nearest(np.array([2.0, 100.0]), k=4)]
    assert found == expected
    assert broken.nearest(np.array([2.0, 100.0]), k=1) == []


def test_joined_tables_keep_order_and_fill_missing_properties(embedded):
    """Joined tables keep their order, and a property that one lacks is missing there."""
    other = EmbeddingTable(sources=["b.pt"], values=VALUES[:1], properties={"size": [3]})
    joined = EmbeddingTable.joined([other, embedded])
    assert joined.sources == ["b.pt", "zoo/0", "zoo/1", "a.pt"]
    assert joined.properties["size"] == [3, None, None, None]
    assert joined.properties["accuracy"] == [None, 0.5, None, 0.75]
    np.testing.assert_array_equal(joined.values, VALUES[[0, 0, 1, 2]])
