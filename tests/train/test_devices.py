"""A run warns if accelerate started fewer processes than requested."""

from io import StringIO

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env
from rich.console import Console

import sneframe
from sneframe.progress import Reporter

QUIET = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]


def launched_with(*words):
    """Return the environment variables that ``accelerate launch`` sets, by accelerate's own functions."""
    parser = launch_command_parser()
    arguments, *_ = _validate_launch_command(parser.parse_args([*words, *QUIET, "program.py"]))
    if arguments.multi_gpu:
        return prepare_multi_gpu_env(arguments)
    return prepare_simple_launcher_cmd_env(arguments)[1]


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (["--num_processes", "2"], True),
        (["--cpu", "--num_processes", "3"], True),
        (["--num_processes", "1"], False),
        (["--multi_gpu", "--num_processes", "2", "--main_process_port", "0"], False),
        (None, False),
    ],
)
def test_missing_processes_are_warned_of(toy_zoo_path, tmp_path, monkeypatch, words, warned):
    """One line of warning says that several processes were requested and one was started."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for name, value in ({} if words is None else launched_with(*words)).items():
        monkeypatch.setenv(name, value)
    said = StringIO()
    config = sneframe.recipe("stats/mlp", "train.epochs=0", f"zoo.path={toy_zoo_path}")
    sneframe.run(config, tmp_path / "run", reporter=Reporter(Console(file=said, width=40)), report=False)
    warnings = [line for line in said.getvalue().splitlines() if line.startswith("warning: ")]
    assert len(warnings) == warned
    assert all("asked for several processes and started one" in line for line in warnings)
