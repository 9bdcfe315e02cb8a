"""The scripts for Slurm on the page about clusters: bash reads them, and sneframe has their options."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from sneframe.cli import sneframe_command

PAGE = (Path(__file__).parent / "clusters.md").read_text(encoding="utf-8")
SCRIPTS = dict(re.findall(r'^```bash title="([\w.]+\.sbatch)"\n(.*?)^```', PAGE, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_reads_a_script(name):
    """The script has no error of syntax."""
    done = subprocess.run(["bash", "-n"], input=SCRIPTS[name], text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_options_of_a_script_exist(name):
    """Each script calls sneframe once, with options that its command has."""
    (line,) = re.findall(r"\bsneframe (\w+ [^'\n]*)", SCRIPTS[name].replace("\\\n", " "))
    word, *words = shlex.split(line)
    command = sneframe_command.get_command(click.Context(sneframe_command), word)
    known = {option for parameter in command.params for option in parameter.opts}
    given = {each for each in words if each.startswith("--")}
    assert given
    assert given <= known
