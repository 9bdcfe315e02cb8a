"""A fixture that imports a zoo with an importer of the plugin."""

import warnings
from pathlib import Path

import pytest
from backwards import Backwards

from sneframe.plugins import load
from sneframe.zoo import import_zoo, open_zoo


@pytest.fixture
def imported(tmp_path, tmp_path_factory):
    """Return a function that imports a source; it returns the zoo, and the reason for each skipped file.

    If the importer reads files with any engine, the source is imported by an engine that works in another
    order, too. The zoo and the reasons must be the same.
    """

    def run(name, source, out="zoo.zarr", *, overwrite=False, base=tmp_path, **options):
        importer = load(["importers"]).importer(f"importers/{name}")
        out = Path(base) / out

        def made(place, engine=None):
            calls = []
            done = import_zoo(
                importer,
                importer.config(**options),
                Path(source),
                place,
                lambda *a: calls.append(a),
                engine=engine,
                overwrite=overwrite,
            )
            assert [each for each, _ in calls] == sorted(each for each, _ in calls)
            assert len({total for _, total in calls}) == 1
            assert calls[-1][0] == calls[-1][1]
            zoo = open_zoo(place, unhealthy=True)
            assert done.networks == len(zoo)
            return zoo, done

        zoo, done = made(out)
        if importer.engines:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                other, again = made(tmp_path_factory.mktemp("backwards") / out.name, Backwards())
            assert other.digest == zoo.digest
            assert [*other.column("source")] == [*zoo.column("source")]
            assert (again.skipped, again.notes, again.symmetry) == (done.skipped, done.notes, done.symmetry)
        return zoo, {each.source: each.reason for each in done.skipped}

    return run
