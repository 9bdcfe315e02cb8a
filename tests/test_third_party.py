"""A stranger's distribution, built and installed into a venv of its own: found, loaded, mixed with ours, run."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "third_party"

MIXED = """
# sne's tokenizer and layer encoder, the stranger's aggregator
[tokenizer]
part = "sne/pad-chunk"
chunk_size = 16

[layer_encoder]
part = "sne/chunk-set"
width = 8
heads = 2
points = 2

[aggregator]
part = "median/layers"

[normalise]
part = "normalise/fan-in"

[head]
part = "head/linear"

[train]
epochs = 1
"""


@pytest.fixture(scope="module")
def sneframe(tmp_path_factory):
    """The command of a venv that sees this environment's packages, and has the stranger's package installed."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)  # the pip of this environment installs into it
    python = home / "bin" / "python"
    (site,) = home.glob("lib/python*/site-packages")
    seen = [path for path in sys.path if path and Path(path).is_dir() and Path(path) != SOURCE.parent]
    (site / "outer.pth").write_text("\n".join([sysconfig.get_paths()["purelib"], *seen]) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python]
    install = [*pip, "install", "--quiet", "--no-deps", "--no-build-isolation", SOURCE]
    subprocess.run(install, check=True, capture_output=True)

    def call(*arguments):
        environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        command = [python, "-m", "sneframe", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=home)

    return call


def test_it_is_listed_with_its_distribution_and_version(sneframe):
    found = next(line for line in sneframe("plugins").stdout.splitlines() if "sneframe_median" in line)
    assert all(word in found for word in ("median", "sneframe-median", "2.5"))


def test_its_recipe_runs(sneframe, toy_zoo_path, tmp_path):
    words = ("--plugin", "median", "--zoo", str(toy_zoo_path), "--out", str(tmp_path / "run"))
    done = sneframe("run", "--no-report", *words)
    assert done.returncode == 0, done.stderr
    environment = (tmp_path / "run" / "environment.json").read_text()
    assert '"distribution": "sneframe-median"' in environment


def test_its_aggregator_runs_behind_the_parts_of_sne(sneframe, toy_zoo_path, tmp_path):
    file = tmp_path / "mixed.toml"
    file.write_text(MIXED)
    done = sneframe("run", "--config", str(file), "--zoo", str(toy_zoo_path), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").exists()
