"""A fixture that imports a zoo with an importer of the plugin."""

from pathlib import Path

import pytest

from sneframe.plugins import load
from sneframe.zoo import import_zoo, open_zoo


@pytest.fixture
def imported(tmp_path):
    """Return a function that imports a source; it returns the zoo, and the reason for each skipped file."""

    def run(name, source, out="zoo.zarr", *, overwrite=False, base=tmp_path, **options):
        importer = load(["importers"]).importer(f"importers/{name}")
        out = Path(base) / out
        calls = []
        done = import_zoo(
            importer,
            importer.config(**options),
            Path(source),
            out,
            lambda *a: calls.append(a),
            overwrite=overwrite,
        )
        assert [each for each, _ in calls] == sorted(each for each, _ in calls)
        assert len({total for _, total in calls}) == 1
        assert calls[-1][0] == calls[-1][1]
        zoo = open_zoo(out, unhealthy=True)
        assert done.networks == len(zoo)
        return zoo, {each.source: each.reason for each in done.skipped}

    return run
