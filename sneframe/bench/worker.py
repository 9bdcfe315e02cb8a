"""Run one cell in its own process.

The process reads its job from standard input and writes progress and the result to standard output, as one
JSON value per line.

The process ends when its parent ends, because its standard input is closed then.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs

from sneframe.bench.cell import Cell
from sneframe.bench.outcome import described
from sneframe.bench.zoos import StoredZoo
from sneframe.config.structure import unstructure
from sneframe.errors import SneframeError, printable
from sneframe.freed_memory import keep_freed_memory
from sneframe.progress import Advance, Reporter

if TYPE_CHECKING:
    from sneframe.run_folder.load import RunFolder

Note = Callable[[str], None]
GRACE = 10.0  #: seconds for a process to end by itself before it is killed


# -- the parent ----------------------------------------------------------------------------------------------


def _environment(threads: str | None) -> dict[str, str]:
    """Return the environment of a cell's process.

    Threads of OpenMP that wait for each other sleep, unless the user asks for another policy. By default they
    spin. If several commands run cells on the same cores, spinning threads take the time of those that work.
    """
    given = {} if threads is None else {"OMP_NUM_THREADS": threads}
    return {"OMP_WAIT_POLICY": "passive", **os.environ, **given}


def run_cell(cell: Cell, note: Note, *, threads: str | None = None) -> dict[str, Any]:
    """Run a cell in a new process and return the content of its file, or ``{"failed": REASON}``.

    If the process ends without a result, the cell has failed, and the reason is one line. If it was killed,
    the result also has ``killed``.

    Args:
        cell: the cell to run.
        note: receives progress.
        threads: ``OMP_NUM_THREADS`` of the process; None for that of this process.
    """
    with tempfile.TemporaryDirectory(prefix="sneframe-") as folder, tempfile.TemporaryFile() as errors:
        job = job_of(cell, folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "sneframe.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(threads),
            start_new_session=True,  # Ctrl-C goes to the parent only, which then ends this process
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                said = json.loads(line)
                if "note" not in said:
                    return dict(said)
                note(said["note"])
        except BrokenPipeError:
            pass  # the process ended before it read the job; its error output has the reason
        finally:
            _end(process)
        return {
            "failed": _reason(process.returncode, errors),
            **({"killed": True} if process.returncode < 0 else {}),
        }


def job_of(cell: Cell, folder: str) -> dict[str, Any]:
    """Return the job that a process reads to run a cell. The process writes its files under ``folder``."""
    targets = [
        {**_named(each.zoo), "path": str(each.zoo.path), "divided": each.divided} for each in cell.targets
    ]
    config = unstructure(cell.config)
    return {"config": config, **_named(cell.zoo), "targets": targets, "folder": folder}


def _named(zoo: StoredZoo) -> dict[str, Any]:
    """Return what a test says about its zoo."""
    return {"digest": zoo.digest, "label": zoo.label}


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _reason(code: int, errors: IO[bytes]) -> str:
    """Return the reason why a process ended without a result."""
    errors.seek(0)
    lines = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    ended = f"its process was killed by signal {-code}" if code < 0 else f"its process ended with {code}"
    if code == -9:
        ended += ", as the system does when memory is full"
    return printable(f"{ended}{f': {lines[-1].strip()}' if lines else ''}")


# -- the process ---------------------------------------------------------------------------------------------


class Notes(Reporter):
    """A reporter that passes each step of progress to ``note``, as one line.

    Args:
        note: receives each line.
    """

    def __init__(self, note: Note) -> None:
        super().__init__()
        self._note = note

    @contextmanager
    def bar(self, label: str, unit: str = "") -> Iterator[Advance]:  # noqa: ARG002  # a note shows no speed
        """Yield a function that takes (done, total, note) and reports them as one line."""
        yield lambda done, total, note="": self._note(f"{label} {done}/{total} {note}".rstrip())


def work(job: Mapping[str, Any], note: Note) -> dict[str, Any]:
    """Run a job and return the content of the cell's file.

    Raises:
        SneframeError: the job cannot be run.
    """
    from sneframe import plugins
    from sneframe.config.schema import read_toml
    from sneframe.config.structure import structure
    from sneframe.run_folder.environment import Environment
    from sneframe.run_folder.json_files import read_json
    from sneframe.train.run import run

    config = structure(job["config"], plugins.part)
    folder = Path(job["folder"]) / "run"
    metrics = run(config, folder, reporter=Notes(note), report=False).metrics
    environment = read_json(folder / "environment.json", Environment)
    tests = [_own_test(folder, job["digest"], job["label"])]
    tests += [_other_test(folder, config, metrics["property"], target) for target in job["targets"]]
    return {
        "failed": None,
        "property": metrics["property"],
        "val": metrics["val"],
        "baseline": metrics["baseline"]["test"],
        "tests": tests,
        **{key: metrics[key] for key in ("size", "epochs", "passes", "best_epoch", "stopped_by")},
        "planned": config.train.epochs,
        "seconds": {
            key: None if value is None else round(value, 6) for key, value in metrics["seconds"].items()
        },
        "peak_memory": peak_memory(),
        "threads": environment.threads,
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "device": environment.device,
            "shuffle": read_toml(folder / "config.toml")["train"]["shuffle"],
        },
        "versions": {
            "sneframe": environment.sneframe,
            "python": environment.python,
            **environment.packages,
            **{
                f"plugin {name}": f"{plugin.distribution} {plugin.version}"
                for name, plugin in environment.plugins.items()
            },
        },
    }


def _own_test(folder: Path, digest: str, label: str) -> dict[str, Any]:
    from sneframe.run_folder.load import read_folder

    read = read_folder(folder)
    found = read.predictions[0]
    true, predicted = found.true.tolist(), found.predicted.tolist()
    test = described(digest, label, read.metrics.test, found.ids.tolist(), true, predicted, found.group)
    coverage = read.metrics.intervals and read.metrics.intervals.coverage
    return {**test, "coverage": coverage, **(_mapped(read) if read.shown else {})}


def _mapped(run: RunFolder) -> dict[str, Any]:
    """Return where the test networks lie on a map of their embeddings, and the values to show on it."""
    from sneframe.report.projection import Projection, project, unit
    from sneframe.zoo.column import finite_or_none

    ids, embeddings = run.predictions[0].ids.tolist(), run.embeddings
    projection = None if embeddings is None else project(embeddings.values)
    if embeddings is None or not isinstance(projection, Projection):
        return {}
    row = {number: place for place, number in enumerate(embeddings.ids[projection.rows].tolist())}
    points = unit(projection.tsne)
    return {
        "shown": {
            name: [finite_or_none(value) for value in values.tolist()] for name, values in run.shown.items()
        },
        "map": [points[row[number]] if number in row else [None, None] for number in ids],
    }


def _other_test(folder: Path, config: Any, name: str, target: Mapping[str, Any]) -> dict[str, Any]:
    """Test the model on another zoo. If the model cannot take that zoo, return the reason."""
    from sneframe import devices
    from sneframe.run_folder import checkpoint
    from sneframe.train import evaluate
    from sneframe.train.data import load_data, load_whole

    zoo = attrs.evolve(
        config.zoo, path=target["path"], property=name, also=(), balance=None, train_fraction=1.0
    )
    try:
        data = (load_data if target["divided"] else load_whole)(zoo, Reporter())
        accelerator = devices.prepare(config.device, config.precision)
        model, tasks, _ = checkpoint.load_model(folder / "best.safetensors")
        data, model = data.to(accelerator.device), model.to(accelerator.device)
        positions = data.split.test
        value = evaluate.predict(
            model, data, positions, accelerator, batch_size=config.train.batch_size
        ).value
    except Exception as error:  # noqa: BLE001  # a model may fail in any way on other networks
        return {"zoo": target["digest"], "label": target["label"], "failed": said(error)}
    task, own = next(tasks.split(value))
    true, ids = task.truth(data.columns[name].take(positions)), data.batch.ids[positions].tolist()
    scores, predicted, group = task.score(true, own), task.predict(own).tolist(), data.zoo.group[positions]
    return described(target["digest"], target["label"], scores, ids, true.tolist(), predicted, group)


def peak_memory() -> int:
    """Return the largest resident set that this process has had, in bytes.

    On Linux a new process inherits ``ru_maxrss`` from its parent, so ``VmHWM`` is read instead.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def main() -> None:
    """Read one job from standard input, run it, and write the result to standard output."""
    # What libraries print is not part of the answer, so it goes to the error output.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    keep_freed_memory()
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, args=(job["folder"],), daemon=True).start()

    def answer(content: Mapping[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        left = work(job, lambda text: answer({"note": text}))
    except Exception as error:  # noqa: BLE001  # whatever fails in a method fails its cell
        left = {"failed": said(error)}
    answer(left)


def said(error: Exception) -> str:
    """Return an error as one line for the table."""
    if isinstance(error, SneframeError):
        return str(error)
    return printable(" ".join(f"{type(error).__name__}: {error}".split()))


def _end_with_stdin(folder: str) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
