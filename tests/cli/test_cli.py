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
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert all(command in out for command in ("run", "config", "plugins", "zoo", "report"))


def test_help_does_not_load_torch():
    code = "import sys; from sneframe.cli import _run\n_run(['--help'], debug=False)\nassert 'torch' not in sys.modules"
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
def test_what_the_user_got_wrong_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert said in err
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback_wherever_it_stands(capsys):
    code, _, err = call(capsys, "run", "--plugin", "snee", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_what_nobody_foresaw_is_one_line_and_exit_code_1(capsys, monkeypatch):
    import sneframe.plugins

    def broken():
        raise ZeroDivisionError("never")

    monkeypatch.setattr(sneframe.plugins, "installed", broken)
    code, _, err = call(capsys, "plugins")
    assert code == 1
    assert err == "error: ZeroDivisionError: never (unexpected; --debug shows the traceback)\n"


def test_what_the_system_refuses_is_one_line_and_exit_code_1(capsys, monkeypatch):
    import sneframe.plugins

    def refused():
        raise PermissionError(13, "Permission denied", "/etc/plugins")

    monkeypatch.setattr(sneframe.plugins, "installed", refused)
    code, _, err = call(capsys, "plugins")
    assert (code, err) == (1, "error: /etc/plugins: Permission denied\n")


def test_ctrl_c_is_one_line_and_exit_code_130(capsys, monkeypatch):
    import sneframe.plugins

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(sneframe.plugins, "installed", interrupted)
    code, _, err = call(capsys, "plugins")
    assert (code, err) == (130, "interrupted\n")


def test_without_a_command_the_help_is_shown(capsys):
    code, _, err = call(capsys)
    assert code == 2
    assert err.startswith("Usage: sneframe ")


def test_shell_completion_is_offered(capsys, monkeypatch):
    monkeypatch.setenv("_SNEFRAME_COMPLETE", "zsh_source")
    code, out, _ = call(capsys)
    assert code == 0
    assert "#compdef sneframe" in out


def test_plugins_are_listed(capsys):
    code, out, _ = call(capsys, "plugins")
    assert code == 0
    assert "sneframe_dwsnet" in out


def test_loading_shows_parts_and_recipes(capsys):
    code, out, _ = call(capsys, "plugins", "--load")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    for line in ("tokenizer sne/pad-chunk", "recipe dwsnet/default", "zoo zoos/sine"):
        assert line in lines


def test_names_of_plugins_are_whole_however_narrow_the_terminal_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    _, out, _ = call(capsys, "plugins", "--load")
    assert "aggregator dwsnet/invariant-pooling" in out


def test_a_plugin_that_does_not_load_is_listed_with_its_error(capsys, monkeypatch):
    from sneframe import plugins
    from sneframe.errors import PluginError

    def broken(names):
        raise PluginError("plugin 'sne' (x 1): does not load: [/b]")

    monkeypatch.setattr(plugins, "load", broken)
    code, out, _ = call(capsys, "plugins", "--load")
    assert code == 0
    assert "  error: plugin 'sne' (x 1): does not load: [/b]\n" in out


def test_config_prints_what_run_reads(capsys, tmp_path, toy_zoo_path):
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


FILE = 'recipe = "sne"\n[train]\nepoch = 3\n'


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (FILE, [], "error: run.toml: unknown key 'train.epoch', did you mean 'epochs'?"),
        (FILE, ["--plugin", "sne", "--set", "seed=1"], "error: run.toml: unknown key 'train.epoch'"),
        ('recipe = "sne/big"', [], "error: run.toml: unknown recipe 'sne/big'"),
        ('[head]\npart = "head/mpl"', ["--plugin", "sne"], "error: run.toml: head: unknown part 'head/mpl'"),
        ("[train]", [], "error: run.toml: the configuration names no normalise"),
        ("x = ", [], "error: run.toml: Invalid value"),
        (FILE.replace("epoch", "epochs"), ["--set", "sed=1"], "error: unknown key 'sed'"),
        (FILE, ["--plugin", "snee"], "error: unknown plugin 'snee'"),
    ],
)
def test_an_error_names_the_file_where_it_is_the_files(capsys, tmp_path, monkeypatch, content, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(content)
    for command in ("run", "config"):
        code, _, err = call(capsys, command, "--config", "run.toml", *words)
        assert code == 2
        assert err.startswith(said)


def test_what_is_logged_is_one_line_on_standard_error(capsys, tmp_path, toy_zoo_path):
    words = ["--plugin", "stats", "--zoo", str(toy_zoo_path), "--out", str(tmp_path / "run")]
    code, _, err = call(capsys, "run", "--no-report", *words)
    assert code == 0
    assert err.startswith("warning: head 'stats/boosting' predicts one constant: ")
    assert err.count("\n") == 1


def test_a_quiet_run_prints_nothing(capsys, tmp_path, toy_zoo_path):
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
    done = subprocess.run(
        [sys.executable, "-m", "sneframe", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("sneframe, version ")
