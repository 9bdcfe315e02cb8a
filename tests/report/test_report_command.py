from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from sneframe.cli.report import report
from sneframe.errors import RunError


def test_the_command_renders_again_and_prints_the_path(write_run: Callable[..., Path]) -> None:
    """sneframe report renders the page and prints its path."""
    folder = write_run(networks=12)
    result = CliRunner().invoke(report, [str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output == f"{folder / 'report.html'}\n"
    assert (folder / "report.html").read_bytes().startswith(b"<!DOCTYPE html>")


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    """A folder without a finished run is an error of one line."""
    with pytest.raises(RunError, match=r"metrics.json: no such file; is the run finished\?$"):
        CliRunner().invoke(report, [str(tmp_path)], catch_exceptions=False)
