"""One cell in a process of its own: a job on standard input, what it left on standard output, one JSON a line.

The process ends when the one that started it does: its standard input is closed then, and it waits for that.
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
from typing import IO, Any

import attrs

from sneframe.bench import cell as cells
from sneframe.bench.cell import Cell
from sneframe.config.structure import unstructure
from sneframe.errors import SneframeError, printable
from sneframe.progress import Advance, Reporter

Note = Callable[[str], None]
GRACE = 10.0  #: seconds that a process is given to end by itself


# -- the side that asks ---------------------------------------------------------------------------------------


def run_cell(cell: Cell, note: Note) -> dict[str, Any]:
    """Run a cell in a new process and return what it left: ``{"failed": REASON}``, or all that goes into its file.

    Whatever befalls the process is a failure of the cell, in one line.

    Args:
        cell: what to run.
        note: is told how far it is.
    """
    with tempfile.TemporaryDirectory(prefix="sneframe-") as folder, tempfile.TemporaryFile() as errors:
        job = job_of(cell, folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "sneframe.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for the one that asks, which then ends this one
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
            pass  # it ended before it had read its job; the reason is what it wrote
        finally:
            _end(process)
        return {"failed": _reason(process.returncode, errors)}


def job_of(cell: Cell, folder: str) -> dict[str, Any]:
    """Return what a process is told of a cell; it works in the folder."""
    targets = [
        {"path": str(each.zoo.path), "digest": each.zoo.digest, "divided": each.divided}
        for each in cell.targets
    ]
    config = unstructure(cell.config)
    return {"config": config, "digest": cell.zoo.digest, "targets": targets, "folder": folder}


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
    """Say why a process that left nothing ended."""
    errors.seek(0)
    lines = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    ended = f"its process was killed by signal {-code}" if code < 0 else f"its process ended with {code}"
    if code == -9:
        ended += ", as the system does when memory is full"
    return printable(f"{ended}{f': {lines[-1].strip()}' if lines else ''}")


# -- the side that works --------------------------------------------------------------------------------------


class Notes(Reporter):
    """Passes on how far a run is.

    Args:
        note: to whom.
    """

    def __init__(self, note: Note) -> None:
        super().__init__()
        self._note = note

    @contextmanager
    def bar(self, label: str, unit: str = "") -> Iterator[Advance]:  # noqa: ARG002  # a note has no pace
        """Yield a function that notes (done, total, note)."""
        yield lambda done, total, note="": self._note(f"{label} {done}/{total} {note}".rstrip())


def work(job: Mapping[str, Any], note: Note) -> dict[str, Any]:
    """Run a job and return what goes into the file of its cell.

    Raises:
        SneframeError: it cannot be run.
    """
    from sneframe import plugins
    from sneframe.config.schema import plugins_named
    from sneframe.config.structure import structure
    from sneframe.run_folder.environment import Environment
    from sneframe.run_folder.json_files import read_json
    from sneframe.train.run import run

    config = structure(job["config"], plugins.load(plugins_named(job["config"])))
    folder = Path(job["folder"]) / "run"
    metrics = run(config, folder, reporter=Notes(note), report=False).metrics
    environment = read_json(folder / "environment.json", Environment)
    tests = [_own_test(folder, job["digest"])]
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


def _own_test(folder: Path, digest: str) -> dict[str, Any]:
    from sneframe.run_folder.load import read_folder

    read = read_folder(folder)
    found = read.predictions[0]
    return cells.described(
        digest, read.metrics.test, found.ids.tolist(), found.true.tolist(), found.predicted.tolist()
    )


def _other_test(folder: Path, config: Any, name: str, target: Mapping[str, Any]) -> dict[str, Any]:
    """Test the model on another zoo; a method that cannot take it says so."""
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
    except Exception as error:  # noqa: BLE001  # a model may fail in any way on networks that it was not made for
        return {"zoo": target["digest"], "failed": said(error)}
    task, own = next(tasks.split(value))
    true, ids = task.truth(data.columns[name].take(positions)), data.batch.ids[positions].tolist()
    return cells.described(
        target["digest"], task.score(true, own), ids, true.tolist(), task.predict(own).tolist()
    )


def peak_memory() -> int:
    """Return the largest resident set that this process had, in bytes.

    On Linux a new process inherits the ``ru_maxrss`` of the one that started it, so its own high-water mark is read.
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
    """Do the one job that standard input holds."""
    # What libraries print is no answer: it goes where errors go.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, args=(job["folder"],), daemon=True).start()

    def answer(content: Mapping[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        left = work(job, lambda text: answer({"note": text}))
    except Exception as error:  # noqa: BLE001  # a method may fail in any way; it is its cell that fails
        left = {"failed": said(error)}
    answer(left)


def said(error: Exception) -> str:
    """Return an error as the one line that stands in the table."""
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
