"""Cells on engines: shared by several commands, tried again when killed, with the same table at the end."""

import errno
import json
import subprocess
import sys
import textwrap

import pytest
from attrs import evolve
from filelock import FileLock

from sneframe.bench import compare, schedule
from sneframe.bench.outcome import read_outcome
from sneframe.engine import ProcessEngine, SerialEngine, process
from sneframe.errors import MachineError


def cells_in(folder):
    return sorted((folder / "cells").glob("*.json"))


def scores_in(folder):
    """The scores of each cell, by the name of its file."""
    return {
        path.name: [test["scores"] for test in json.loads(path.read_text())["tests"]]
        for path in cells_in(folder)
    }


def locks_in(folder):
    return list((folder / "cells").glob(".*.lock"))


def test_processes_write_the_same_cells_as_one_after_the_other(suite, ran, row, tmp_path, monkeypatch):
    """Two cells in two worker processes have the scores of two cells in a row, with one thread each."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    suite = evolve(suite, rows=[row("stats/default"), row("stats/ridge")], seeds=1)
    compare(suite, tmp_path / "serial")
    assert len(ran) == 2
    compare(suite, tmp_path / "process", engine=ProcessEngine(workers=2))
    assert len(ran) == 2
    assert scores_in(tmp_path / "process") == scores_in(tmp_path / "serial")
    assert len(cells_in(tmp_path / "process")) == 2
    assert not locks_in(tmp_path / "process")


def test_a_cell_that_another_command_runs_is_left_to_it(suite, ran, tmp_path, monkeypatch):
    """A locked cell is not run here. When its lock is free and it has no result, it is run."""
    out, waited = tmp_path / "out", []
    compare(suite, out)
    first = cells_in(out)[0]
    key = first.stem.rpartition("-")[2]
    first.unlink()
    ran.clear()
    lock = FileLock(out / "cells" / f".{key}.lock")
    lock.acquire()

    def wait(seconds):
        waited.append(seconds)
        assert not ran
        if len(waited) == 3:  # the other command was killed
            lock.release()

    monkeypatch.setattr(schedule.time, "sleep", wait)
    compare(suite, out)
    assert len(waited) == 3
    assert [cell.key for cell in ran] == [key]
    assert first.exists()


def test_a_cell_that_another_command_has_finished_is_not_run(suite, ran, tmp_path, monkeypatch):
    """The command that waited for a cell uses the result of the other one."""
    out = tmp_path / "out"
    compare(suite, out)
    first = cells_in(out)[0]
    content = first.read_bytes()
    first.unlink()
    ran.clear()
    lock = FileLock(out / "cells" / f".{first.stem.rpartition('-')[2]}.lock")
    lock.acquire()

    def finished(_):
        first.write_bytes(content)
        lock.release()

    monkeypatch.setattr(schedule.time, "sleep", finished)
    result = compare(suite, out)
    assert not ran
    assert [line.done for line in result.lines] == [2, 2]


def test_a_file_system_without_locks_is_one_line(suite, tmp_path, monkeypatch):
    """If a cell cannot be locked, two commands could run it. So the reason is an error."""

    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(
        MachineError, match=r"\.lock: cannot be locked: No locks available; a folder of cells"
    ):
        compare(suite, tmp_path / "out")


COMMAND = """
    import sys
    from pathlib import Path
    from sneframe.bench import compare, schedule
    from sneframe.config.suite import Row, Suite

    real = schedule.run_cell

    def noted(cell, note, **how):
        with open(sys.argv[3], "a") as file:
            file.write(cell.key + chr(10))
        return real(cell, note, **how)

    schedule.run_cell = noted
    schedule.WAIT = 0.1
    words = [f"head.trees={n}" for n in (2, 3, 4)]
    rows = [Row(label=word, recipe="stats/default", overrides=(word,)) for word in words]
    suite = Suite(name="toys/shared", title="Shared", rows=rows, zoo=sys.argv[1], property="scale", seeds=1)
    result = compare(suite, sys.argv[2])
    print([line.done for line in result.lines])
"""


def test_two_commands_share_the_cells_of_a_folder(toy_zoo_path, tmp_path):
    """Together they run each cell once, and both end with the whole table."""
    script = tmp_path / "command.py"
    script.write_text(textwrap.dedent(COMMAND))
    word = [sys.executable, str(script), str(toy_zoo_path), str(tmp_path / "out")]
    commands = [
        subprocess.Popen([*word, str(tmp_path / name)], stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    answers = [command.communicate(timeout=120)[0] for command in commands]
    assert [answer.splitlines()[-1] for answer in answers] == ["[1, 1, 1]"] * 2
    keys = [
        key for name in "ab" if (tmp_path / name).exists() for key in (tmp_path / name).read_text().split()
    ]
    assert len(keys) == len(set(keys)) == 3


def test_a_cell_whose_process_is_killed_runs_once_more(suite, row, ran, tmp_path, monkeypatch):
    """The first try is killed, and the second has a result."""
    real, tries = schedule.run_cell, []

    def killed_once(cell, note, **how):
        tries.append(cell.key)
        return {"failed": "killed", "killed": True} if len(tries) == 1 else real(cell, note, **how)

    monkeypatch.setattr(schedule, "run_cell", killed_once)
    suite = evolve(suite, rows=[row("stats/default")], seeds=1)
    (line,) = compare(suite, tmp_path / "out").lines
    assert (line.done, len(tries)) == (1, 2)


def test_a_cell_that_is_killed_again_has_failed(suite, row, tmp_path, monkeypatch):
    """After two tries the reason stands in the table, and in the file of the cell."""
    tries = []

    def killed(cell, note, **how):
        tries.append(cell.key)
        return {"failed": "its process was killed by signal 9", "killed": True}

    monkeypatch.setattr(schedule, "run_cell", killed)
    suite = evolve(suite, rows=[row("stats/default")], seeds=1)
    (line,) = compare(suite, tmp_path / "out").lines
    assert (line.failed, len(tries)) == (("its process was killed by signal 9",), 2)
    (path,) = cells_in(tmp_path / "out")
    assert "killed" not in {key for key in json.loads(path.read_text()) if key != "failed"}
    assert read_outcome(path).failed == "its process was killed by signal 9"


def test_workers_share_the_cores(monkeypatch):
    """Each worker has an equal share of the cores, unless the user has set a number of threads."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(process, "cores", lambda: 7)
    assert schedule.threads_of(ProcessEngine(workers=2)) == "3"
    assert schedule.threads_of(ProcessEngine(workers=20)) == "1"
    assert schedule.threads_of(SerialEngine()) is None
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert schedule.threads_of(ProcessEngine(workers=2)) == "2"
