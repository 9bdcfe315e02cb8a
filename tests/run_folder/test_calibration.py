"""``calibration.json``: what is written is read again, and what is damaged is named."""

import json
import math

import numpy as np
import pytest

from sneframe.errors import RunError
from sneframe.run_folder.calibration import Calibration, finite, read_calibration
from sneframe.run_folder.json_files import write_json

GIVEN = Calibration(
    scaled=True,
    left_out=2,
    group=(0, 1, 1, 2),
    scores={"depth": (0.1, 1 / 3, 2e-300, 5.0), "animal": (0.25, None, 0.5, 1.0)},
)


def test_a_calibration_is_read_as_it_was_written(tmp_path):
    """Every digit counts, because a score can be the bound of an interval."""
    write_json(tmp_path / "calibration.json", GIVEN, indent=None)
    assert read_calibration(tmp_path / "calibration.json", ("depth", "animal")) == GIVEN
    json.loads((tmp_path / "calibration.json").read_text(), parse_constant=pytest.fail)


def test_a_score_without_a_number_is_infinite():
    """JSON has no infinity, so it is null there."""
    assert GIVEN.scores_of("animal").tolist() == [0.25, math.inf, 0.5, 1.0]
    assert finite(np.array([0.5, math.inf, math.nan])) == (0.5, None, None)
    assert GIVEN.groups == 3


def test_an_older_run_has_none(tmp_path):
    """A missing file is no error."""
    assert read_calibration(tmp_path / "calibration.json", ("depth",)) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ('{"scaled": 1}', "scaled: must be true or false, got 1"),
        (
            '{"scaled": true, "left_out": 0, "group": [0, 1], "scores": {"depth": [0.5]}}',
            r"'scores\.depth' must have 2 values, one for each item of 'group', but got 1",
        ),
        (
            '{"scaled": true, "left_out": 0, "group": [0], "scores": {"depth": [-0.5]}}',
            r"'scores\.depth' must not have negative values",
        ),
        (
            '{"scaled": true, "left_out": 0, "group": [0], "scores": {"depth": ["x"]}}',
            r"scores\.depth\.0: must be a finite number, got 'x'",
        ),
        ('{"scaled": true, "left_out": 0, "group": [], "scores": {}}', r"scores\.depth is missing"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, problem):
    """The error is one line with the key."""
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(RunError, match=rf"calibration\.json: .*{problem}") as raised:
        read_calibration(path, ("depth",))
    assert "\n" not in str(raised.value)
