"""Writers that are killed, interrupted, or meet a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sneframe.architecture import Architecture
from sneframe.errors import MachineError
from sneframe.zoo import create, open_zoo

Weights = Callable[..., dict[str, np.ndarray]]

WRITER = """
import sys
import time
import numpy as np
from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.zoo import create

parameters = [Parameter(name="w", shape=(512, 1024))]
architecture = Architecture(layers=[Layer(kind="linear", parameters=parameters)])
rng = np.random.default_rng(0)
with create(sys.argv[1], name="z", overwrite=True) as zoo:
    for _ in range(3):
        zoo.append(architecture, {"w": rng.standard_normal((2, 512, 1024)).astype("f4")}, {})
    BODY
"""


#: Says that the zoo is half written, and waits to be killed. A read, or one long sleep, would miss a signal
#: that comes just before it begins.
WAITS = """
    print("written", flush=True)
    for _ in range(30_000):
        time.sleep(0.01)
"""


def writer(path: Path, body: str, before: str = "") -> subprocess.Popen[str]:
    code = before + WRITER.replace("BODY", body)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env=os.environ,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def killed_writer(path: Path) -> Path:
    """Kill a writer that has written whole chunks, and return the temporary folder that it leaves."""
    process = writer(path, WAITS)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    (left,) = (file for file in path.parent.iterdir() if file.name.startswith(f"{path.name}.tmp-"))
    assert list(left.rglob("c/0/0/0"))
    return left


def test_a_killed_writer_leaves_nothing_at_the_path(tmp_path: Path) -> None:
    """After SIGKILL there is nothing at the zoo's path."""
    killed_writer(tmp_path / "z.zarr")
    assert not (tmp_path / "z.zarr").exists()


def test_what_a_killed_writer_leaves_is_no_zoo(tmp_path: Path) -> None:
    """The temporary folder of a killed writer opens as half-built."""
    from sneframe.errors import ZooError

    left = killed_writer(tmp_path / "z.zarr")
    with pytest.raises(ZooError, match="half-built"):
        open_zoo(left / "content")


def test_the_next_writer_removes_what_a_kill_left(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """Writing the zoo again removes the temporary folder of a killed writer."""
    killed_writer(tmp_path / "z.zarr")
    with create(tmp_path / "z.zarr", name="again") as zoo:
        zoo.append(architecture, weights(architecture, 1), {})
    assert [file.name for file in tmp_path.iterdir()] == ["z.zarr"]
    open_zoo(tmp_path / "z.zarr").verify()


def test_a_killed_overwrite_leaves_the_old_zoo(small: Path) -> None:
    """Killing a writer that would overwrite a zoo leaves the old zoo intact."""
    killed_writer(small)
    open_zoo(small).verify()


def test_a_half_done_overwrite_is_undone_by_the_next(
    small: Path, architecture: Architecture, weights: Weights
) -> None:
    """The next writer moves the old zoo back if a kill came between the two renames."""
    left = small.with_name(f"{small.name}.tmp-0")
    left.mkdir()
    small.rename(left / "replaced")
    with pytest.raises(RuntimeError), create(small, name="next", overwrite=True) as zoo:  # noqa: PT012
        zoo.append(architecture, weights(architecture, 1), {})
        raise RuntimeError
    assert open_zoo(small).name == "small"
    assert [file.name for file in small.parent.iterdir()] == [small.name]


def test_another_writers_temporary_folder_is_left_alone(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """Folders of running writers and of other zoos are not removed."""
    with create(tmp_path / "z.zarr", name="slow") as slow:
        slow.append(architecture, weights(architecture, 1), {})
        with create(tmp_path / "z.zarr.tmp-mine", name="another name, alike") as alike:
            alike.append(architecture, weights(architecture, 1), {})
        process = writer(tmp_path / "other.zarr", "pass")
        assert process.wait() == 0
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
    open_zoo(tmp_path / "z.zarr").verify()


def test_the_second_of_two_writers_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """If two writers make the same zoo, the first to finish wins and the other raises."""
    from sneframe.errors import ZooError

    with (  # noqa: PT012  # the whole block must fail
        pytest.raises(ZooError, match="exists already; it appeared while this folder was"),
        create(tmp_path / "z.zarr", name="outer") as outer,
    ):
        outer.append(architecture, weights(architecture, 1), {})
        with create(tmp_path / "z.zarr", name="inner") as inner:
            inner.append(architecture, weights(architecture, 1), {})
    assert open_zoo(tmp_path / "z.zarr").name == "inner"
    assert [file.name for file in tmp_path.iterdir()] == ["z.zarr"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_exception_inside_leaves_nothing(
    tmp_path: Path, make: Callable[..., Architecture], weights: Weights, error: type[BaseException]
) -> None:
    """Any exception in the with block leaves neither a zoo nor a temporary folder."""
    architecture = make({"w": (512, 1024)})
    with pytest.raises(error), create(tmp_path / "z.zarr", name="z") as zoo:  # noqa: PT012
        zoo.append(architecture, weights(architecture, 3), {})
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_a_chunk_is_written_leaves_nothing(
    tmp_path: Path, make: Callable[..., Architecture], weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during a write leaves nothing."""
    architecture = make({"w": (512, 1024), "b": (4,)})
    written = []
    write_bytes = Path.write_bytes

    def interrupted(self: Path, data: bytes) -> int:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(self)
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt), create(tmp_path / "z.zarr", name="z") as zoo:
        zoo.append(architecture, weights(architecture, 9), {})
    assert len(written) == 2
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    """SIGINT to a writing process leaves nothing."""
    process = writer(tmp_path / "z.zarr", WAITS)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGINT)
        process.wait()
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A full disk is reported in one line, and nothing stays."""
    process = writer(tmp_path / "z.zarr", "pass", before=FULL)
    _, errors = process.communicate()
    last = errors.strip().splitlines()[-1]
    assert process.returncode == 1
    assert last == f"sneframe.errors.MachineError: {tmp_path / 'z.zarr'}: File too large"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_at_the_very_end_leaves_the_old_zoo(
    small: Path, architecture: Architecture, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk while the manifest is written keeps the old zoo."""
    write_text = Path.write_text

    def full(self: Path, data: str, encoding: str) -> int:
        if "digest" in data:
            raise OSError(28, "No space left on device")
        return write_text(self, data, encoding)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(MachineError) as caught, create(small, name="new", overwrite=True) as zoo:
        zoo.append(architecture, weights(architecture, 1), {})
    assert str(caught.value) == f"{small}: No space left on device"
    assert caught.value.exit_code == 1
    open_zoo(small).verify()
    assert [file.name for file in small.parent.iterdir()] == [small.name]


def test_a_failed_append_prevents_completion(
    tmp_path: Path, make: Callable[..., Architecture], weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an append that failed half-way, further appends and completion are refused."""
    from sneframe.errors import ZooError

    architecture = make({"w": (512, 1024)})

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with (  # noqa: PT012  # the whole block must fail
        pytest.raises(ZooError, match="an append failed half-way"),
        create(tmp_path / "z.zarr", name="z") as zoo,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_bytes", full)
            with pytest.raises(MachineError):
                zoo.append(architecture, weights(architecture, 2), {})
        with pytest.raises(ZooError, match="an earlier append failed half-way"):
            zoo.append(architecture, weights(architecture, 2), {})
    assert list(tmp_path.iterdir()) == []
