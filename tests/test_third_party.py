"""A distribution of somebody else, built and installed into a venv of its own, is found, loaded and run."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import torch

from sneframe.zoo import open_zoo

SOURCE = Path(__file__).parent / "third_party"

MIXED = """
# the tokenizer and layer encoder of sne with the aggregator of the other distribution
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
    """The command of a venv with the packages of this environment and the other distribution."""
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


def test_the_plugin_is_listed(sneframe):
    """The plugin is listed with its distribution and version."""
    found = next(line for line in sneframe("plugins").stdout.splitlines() if "sneframe_median" in line)
    assert all(word in found for word in ("median", "sneframe-median", "2.5"))


def test_its_recipe_runs(sneframe, toy_zoo_path, tmp_path):
    """Its recipe runs, and the folder records its distribution."""
    words = ("--plugin", "median", "--zoo", str(toy_zoo_path), "--out", str(tmp_path / "run"))
    done = sneframe("run", "--no-report", *words)
    assert done.returncode == 0, done.stderr
    environment = (tmp_path / "run" / "environment.json").read_text()
    assert '"distribution": "sneframe-median"' in environment


def test_its_part_runs_with_the_parts_of_sne(sneframe, toy_zoo_path, tmp_path):
    """A file can combine its aggregator with the parts of other plugins."""
    file = tmp_path / "mixed.toml"
    file.write_text(MIXED)
    done = sneframe("run", "--config", str(file), "--zoo", str(toy_zoo_path), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").exists()


LINES = """#net relu 7
0.weight\t3x2\t1 2 3 4 5 6
0.bias\t3\t0 0 1
2.weight\t1x3\t1 -1 2
2.bias\t1\t0.5
"""


def test_its_file_reader_is_listed(sneframe):
    """The command ``readers`` lists its file reader."""
    listed = json.loads(sneframe("readers", "--json").stdout)
    own = next(each for each in listed if each["name"] == "median/lines")
    assert own["endings"] == [".net.txt"]
    assert own["origin"] == "plugin 'median' (sneframe-median 2.5)"


def test_its_file_reader_reads_a_folder(sneframe, tmp_path):
    """An import reads its files beside those of other formats, with the activation that they state."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "a.net.txt").write_text(LINES)
    (tmp_path / "nets" / "b.net.txt").write_text(LINES.replace("3x2", "3x9"))
    torch.save({"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3)}, tmp_path / "nets" / "c.pt")
    done = sneframe("zoo", "import", "files", str(tmp_path / "nets"), "--out", str(tmp_path / "zoo.zarr"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"read by median/lines +1 ", done.stdout)
    assert re.search(r"read by sneframe/torch +1 ", done.stdout)
    assert "b.net.txt: damaged: shape '[3, 9]' is invalid for input of size 6" in done.stdout
    zoo = open_zoo(tmp_path / "zoo.zarr")
    architecture = next(each for each in zoo.architectures if each.depth == 2)
    assert architecture.layers[0].activation == "relu"
