"""The command line: exit codes, one-line errors, what it prints and what it does not."""

import subprocess
import sys

import pytest

from sneframe.cli import main
from sneframe.zoo import open_zoo


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_help_names_every_command(capsys):
    """--help names each command."""
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert all(command in out for command in ("run", "config", "plugins", "zoo", "report"))


def test_help_does_not_load_torch():
    """--help does not import torch."""
    code = (
        "import sys; from sneframe.cli import _run\n_run(['--help'], debug=False)\nassert 'torch' not "
        "in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "error: name a recipe with --plugin"),
        (["run", "--plugin", "snee"], "error: unknown plugin 'snee', did you mean 'sne'?"),
        (["run", "--plugin", "sne/big"], "error: unknown recipe 'sne/big'"),
        (["run", "--plugin", "sne", "--zoo", "nowhere.zarr"], "error: "),
        (
            ["run", "--plugin", "sne", "--set", "train.epoch=1"],
            "error: unknown key 'train.epoch', did you mean 'epochs'?",
        ),
        (["run", "--plugin", "sne", "--property", ""], "error: zoo: 'property' must not be empty"),
        (["run", "--plugin", "sne", "--property", "a,a"], "the property 'a' is named twice"),
        (["run", "--plugin", "sne", "--property", "a,,b"], "the name of a property must not be empty"),
        (["run", "--resume", "nowhere"], "error: no such configuration file"),
        (["run", "--resume", "nowhere", "--plugin", "sne"], "leave out --plugin"),
        (["run", "--plugn", "sne"], "No such option '--plugn'. Did you mean '--plugin'?"),
        (["run", "--device", "gpu"], "'gpu' is not one of 'auto', 'cpu', 'cuda'"),
        (["rnu"], "No such command 'rnu', did you mean 'run'?"),
        (["zoo", "bild"], "No such command 'bild'. Did you mean 'build'?"),
        (["config", "--plugin", "stats/none"], "error: unknown recipe 'stats/none'"),
        (
            ["zoo", "build", "cosine", "--out", "x"],
            "error: unknown zoo 'zoos/cosine', did you mean 'zoos/sine'?",
        ),
        (["zoo", "build", "sine", "--widths", "a,b", "--out", "x"], "not a comma-separated list of int"),
        (["zoo", "build", "sine"], "Missing option '--out'"),
        (["zoo", "build", "sine", "--networks", "0", "--out", "x"], "networks"),
        (["zoo", "info", "nowhere.zarr"], "error: "),
        (["report", "nowhere"], "error: "),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, said):
    """Wrong input gives one line and exit code 2."""
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert said in err
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback_wherever_it_stands(capsys):
    """--debug shows the traceback wherever it is on the line."""
    code, _, err = call(capsys, "run", "--plugin", "snee", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_an_unexpected_error_is_one_line_and_exit_code_1(capsys, monkeypatch):
    """An unexpected error gives one line and exit code 1."""
    import sneframe.plugins

    def broken():
        raise ZeroDivisionError("never")

    monkeypatch.setattr(sneframe.plugins, "installed", broken)
    code, _, err = call(capsys, "plugins")
    assert code == 1
    assert err == "error: ZeroDivisionError: never (unexpected; --debug shows the traceback)\n"


def test_a_system_error_is_one_line_and_exit_code_1(capsys, monkeypatch):
    """An error of the system gives one line and exit code 1."""
    import sneframe.plugins

    def refused():
        raise PermissionError(13, "Permission denied", "/etc/plugins")

    monkeypatch.setattr(sneframe.plugins, "installed", refused)
    code, _, err = call(capsys, "plugins")
    assert (code, err) == (1, "error: /etc/plugins: Permission denied\n")


def test_ctrl_c_is_one_line_and_exit_code_130(capsys, monkeypatch):
    """Ctrl-C gives one line and exit code 130."""
    import sneframe.plugins

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(sneframe.plugins, "installed", interrupted)
    code, _, err = call(capsys, "plugins")
    assert (code, err) == (130, "interrupted\n")


def test_without_a_command_the_help_is_shown(capsys):
    """Without a command the help is shown."""
    code, _, err = call(capsys)
    assert code == 2
    assert err.startswith("Usage: sneframe ")


def test_shell_completion_is_offered(capsys, monkeypatch):
    """Shell completion lists the commands."""
    monkeypatch.setenv("_SNEFRAME_COMPLETE", "zsh_source")
    code, out, _ = call(capsys)
    assert code == 0
    assert "#compdef sneframe" in out


def test_plugins_are_listed(capsys):
    """plugins lists the installed plugins."""
    code, out, _ = call(capsys, "plugins")
    assert code == 0
    assert "sneframe_dwsnet" in out


def test_loading_shows_parts_and_recipes(capsys):
    """plugins --load shows parts and recipes."""
    code, out, _ = call(capsys, "plugins", "--load")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    for line in ("tokenizer sne/pad-chunk", "recipe dwsnet/default", "zoo zoos/sine"):
        assert line in lines


def test_plugin_names_are_whole_on_a_narrow_terminal(capsys, monkeypatch):
    """Names of plugins are not cut off on a narrow terminal."""
    monkeypatch.setenv("COLUMNS", "20")
    _, out, _ = call(capsys, "plugins", "--load")
    assert "aggregator dwsnet/invariant-pooling" in out


def test_a_plugin_that_does_not_load_is_listed_with_its_error(capsys, monkeypatch):
    """A plugin that does not load is listed with its error."""
    from sneframe import plugins
    from sneframe.errors import PluginError

    def broken(names):
        raise PluginError("plugin 'sne' (x 1): does not load: [/b]")

    monkeypatch.setattr(plugins, "load", broken)
    code, out, _ = call(capsys, "plugins", "--load")
    assert code == 0
    assert "  error: plugin 'sne' (x 1): does not load: [/b]\n" in out


def test_config_prints_what_run_reads(capsys, tmp_path, toy_zoo_path):
    """The TOML that config prints is what run reads."""
    _, out, _ = call(capsys, "config", "--plugin", "stats", "--set", f"zoo.path={toy_zoo_path}")
    file = tmp_path / "run.toml"
    file.write_text(out)
    code, out, _ = call(capsys, "run", "--config", str(file), "--out", str(tmp_path / "run"))
    assert code == 0
    assert "Kendall's tau-b" in out
    assert (tmp_path / "run" / "report.html").exists()


def test_no_report_prints_the_folder(capsys, tmp_path, toy_zoo_path):
    """With --no-report no report is drawn, and ``sneframe report`` draws it later."""
    folder = tmp_path / "run"
    words = ["--plugin", "stats", "--set", "head.trees=2", "--zoo", str(toy_zoo_path), "--out", str(folder)]
    code, out, _ = call(capsys, "run", "--no-report", *words)
    assert code == 0
    assert out.endswith(f"run folder: {folder}\n")
    assert not (folder / "report.html").exists()
    assert call(capsys, "report", str(folder))[0] == 0
    assert (folder / "report.html").exists()


def test_only_the_first_of_several_processes_prints(capsys, tmp_path, toy_zoo_path, monkeypatch):
    """Processes that accelerate starts beside the first one do not print the scores again."""
    monkeypatch.setattr("sneframe.devices.is_main_process", lambda: False)
    words = ["--plugin", "stats", "--set", "head.trees=2", "--zoo", str(toy_zoo_path)]
    code, out, _ = call(capsys, "run", "--no-report", *words, "--out", str(tmp_path / "run"))
    assert code == 0
    assert "Kendall" not in out
    assert "run folder" not in out


FILE = 'recipe = "sne"\n[train]\nepoch = 3\n'


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (FILE, [], "error: run.toml: unknown key 'train.epoch', did you mean 'epochs'?"),
        (FILE, ["--plugin", "sne", "--set", "seed=1"], "error: run.toml: unknown key 'train.epoch'"),
        ('recipe = "sne/big"', [], "error: run.toml: unknown recipe 'sne/big'"),
        ('[head]\npart = "head/mpl"', ["--plugin", "sne"], "error: run.toml: head: unknown part 'head/mpl'"),
        ("[train]", [], "error: run.toml: the configuration has no part for 'normalise'"),
        ("x = ", [], "error: run.toml: Invalid value"),
        (FILE.replace("epoch", "epochs"), ["--set", "sed=1"], "error: unknown key 'sed'"),
        (FILE, ["--plugin", "snee"], "error: unknown plugin 'snee'"),
    ],
)
def test_an_error_in_a_file_names_the_file(capsys, tmp_path, monkeypatch, content, words, said):
    """An error that a file causes names the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(content)
    for command in ("run", "config"):
        code, _, err = call(capsys, command, "--config", "run.toml", *words)
        assert code == 2
        assert err.startswith(said)


def test_log_records_are_lines_on_standard_error(capsys, tmp_path, toy_zoo_path):
    """A log record is one line on standard error."""
    words = ["--plugin", "stats", "--zoo", str(toy_zoo_path), "--out", str(tmp_path / "run")]
    code, _, err = call(capsys, "run", "--no-report", *words)
    assert code == 0
    assert err.startswith("warning: head 'stats/boosting' predicts a constant: ")
    assert err.count("\n") == 1


def test_a_quiet_run_prints_nothing(capsys, tmp_path, toy_zoo_path):
    """run --quiet prints nothing."""
    code, out, err = call(
        capsys,
        "run",
        "--plugin",
        "stats",
        "--zoo",
        str(toy_zoo_path),
        "--out",
        str(tmp_path / "r"),
        "--quiet",
    )
    assert (code, out, err) == (0, "", "")


def test_resume_takes_the_folders_own_configuration(capsys, tmp_path, toy_zoo_path):
    """run --resume uses the folder's own configuration and refuses other options."""
    folder = str(tmp_path / "run")
    words = [
        "--set",
        "train.epochs=1",
        "--set",
        "layer_encoder.width=8",
        "--set",
        "layer_encoder.heads=2",
        "--set",
        "aggregator.heads=2",
    ]
    words += ["--no-report", "--plugin", "sne", "--zoo", str(toy_zoo_path), "--out", folder]
    assert call(capsys, "run", *words)[0] == 0
    assert call(capsys, "run", "--resume", folder, "--no-report")[0] == 0


def test_a_zoo_is_built_from_the_command_line(capsys, tmp_path):
    """zoo build makes a zoo with the given options."""
    path = tmp_path / "sine.zarr"
    code, _, _ = call(
        capsys,
        "zoo",
        "build",
        "sine",
        "--engine",
        "serial",
        "--networks",
        "6",
        "--widths",
        "3,2",
        "--seed",
        "4",
        "--out",
        str(path),
    )
    assert code == 0
    assert len(open_zoo(path)) == 6
    assert open_zoo(path).architectures[0].num_weights == 3 + 3 + 6 + 2 + 2 + 1


def test_python_m_sneframe_is_the_command():
    """python -m sneframe is the command."""
    done = subprocess.run(
        [sys.executable, "-m", "sneframe", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("sneframe, version ")
