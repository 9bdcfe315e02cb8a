"""Engines: each yields every item once, and a failure is reported."""

import importlib.util
import os
import platform
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import torch
import work

from sneframe.engine import NAMES, ProcessEngine, RayEngine, SerialEngine, make_engine
from sneframe.errors import ConfigError, MachineError, PluginError, ZooError

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed; `tox -e ray` has it")
ENGINES = ["serial", "process", pytest.param("ray", marks=needs_ray)]


@pytest.fixture
def engine(request, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # Ray's workers look here for work.py
    return make_engine(request.param, 2)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_every_item_comes_once_with_its_result(engine):
    """Every engine yields each item once, with the result of the function."""
    found = sorted(engine.map_unordered(work.square, range(7)))
    assert found == [(number, number * number) for number in range(7)]


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_no_items_are_no_results(engine):
    """Without items there are no results."""
    assert list(engine.map_unordered(work.square, [])) == []


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_an_error_of_the_function_is_raised(engine):
    """An error that the function raises in a worker is raised here as the same error."""
    with pytest.raises(ZooError, match=r"^two is too many$"):
        list(engine.map_unordered(work.fails_at_two, range(5)))


@pytest.mark.parametrize("engine", ENGINES[1:], indirect=True)
def test_a_worker_that_dies_is_one_line(engine):
    """If a worker process dies, the error is a MachineError of one line."""
    with pytest.raises(MachineError) as error:
        list(engine.map_unordered(work.dies_at_two, range(5)))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("engine", ENGINES[1:], indirect=True)
def test_a_call_whose_worker_died_is_made_again(engine, tmp_path):
    """Workers die in two of six calls. Every call has its result in the end."""
    (tmp_path / "a").touch()
    paths = [str(tmp_path / name) for name in "abacaa"]
    found = [item for item, _ in engine.map_unordered(work.dies_once, paths)]
    assert sorted(found) == sorted(paths)


@pytest.mark.parametrize("engine", ENGINES[1:], indirect=True)
def test_a_worker_that_dies_does_not_disturb_the_others(engine, tmp_path):
    """One worker is killed while another one works. The call of the other one is made once."""
    items = [(str(tmp_path), name) for name in ("killer", "waiter")]
    tries = {item[1]: count for item, count in engine.map_unordered(work.counts_its_tries, items)}
    assert tries == {"killer": 2, "waiter": 1}


def test_a_worker_that_is_killed_between_two_calls_is_replaced():
    """A worker without a call is killed. Another one makes the next call."""
    results = ProcessEngine(workers=1).map_unordered(work.process, range(4))
    _, first = next(results)
    _, second = next(results)
    assert first == second
    os.kill(first, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(first)] if psutil.pid_exists(first) else [], timeout=10)
    assert len([number for _, number in results]) == 2


def test_a_slow_caller_is_not_overrun():
    """Calls begin when the caller takes results: two workers are at most two calls ahead."""
    results = ProcessEngine(workers=2).map_unordered(work.square, Counted(range(50)))
    next(results)
    time.sleep(0.2)
    assert Counted.taken <= 5
    results.close()


class Counted(list):
    """A list that counts how many of its items were taken."""

    taken = 0

    def __getitem__(self, number):
        Counted.taken += 1
        return super().__getitem__(number)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_call_has_one_thread(engine):
    """Torch has one thread in each call, and as many as before in the caller."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert [count for _, count in engine.map_unordered(work.threads, range(2))] == [1, 1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the options")
def test_a_worker_process_keeps_the_memory_that_it_frees():
    """The system gives the 15 625 pages of 64 MB to a worker once, not each time."""
    ((_, pages),) = ProcessEngine(workers=1).map_unordered(work.new_pages, [0])
    assert pages < 2 * 15_625


def test_results_come_as_they_finish(tmp_path):
    """Results are yielded as soon as they are ready, not in the order of the items."""
    signal_file = tmp_path / "second-is-there"
    found = []
    for item, _ in ProcessEngine(workers=2).map_unordered(work.waits_for, [str(signal_file), ""]):
        found.append(item)
        signal_file.touch()
    assert found == ["", str(signal_file)]


def test_leaving_the_iteration_ends_the_workers(tmp_path):
    """The worker processes end when the caller stops iterating."""
    naps = [(str(tmp_path), seconds) for seconds in (0.0, 300.0, 300.0)]
    for _ in ProcessEngine(workers=2).map_unordered(work.tells_its_process, naps):
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
        break
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


PARENT = """
    import sys
    sys.path.insert(0, sys.argv[2])
    import work
    from sneframe.engine import ProcessEngine

    if __name__ == "__main__":
        list(ProcessEngine(workers=2).map_unordered(work.tells_its_process, [(sys.argv[1], 300.0)] * 2))
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(kill, tmp_path):
    """The workers end when their parent is killed, and when Ctrl-C ends all of them."""
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    (folder := tmp_path / "workers").mkdir()
    command = [sys.executable, str(script), str(folder), str(Path(__file__).parent)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as parent:
        while len(list(folder.iterdir())) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
        workers = [psutil.Process(int(path.name)) for path in folder.iterdir()]
        if kill == signal.SIGINT:
            os.killpg(parent.pid, kill)  # as a terminal does, to all processes
        else:
            parent.kill()
        parent.wait(20)
        _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_an_unknown_engine_lists_the_choices():
    """The error for an unknown engine lists the known ones."""
    known = r"\(known: process, ray, serial\)"
    with pytest.raises(ConfigError, match=rf"no engine 'proces', did you mean 'process'\? {known}"):
        make_engine("proces")


def test_an_engine_needs_a_worker():
    """An engine with fewer than one worker is refused."""
    with pytest.raises(ConfigError, match="at least 1 worker, but got 0"):
        make_engine("process", 0)


@pytest.mark.parametrize("name", ["serial", "process"])
def test_only_ray_has_an_address(name):
    """An address would be ignored by another engine, so it is refused."""
    with pytest.raises(ConfigError, match=f"only the engine 'ray' has an address, but engine '{name}' got"):
        make_engine(name, 2, "ray://host:10001")


class FakeRay:
    """As much of Ray as it takes to connect to a cluster of 24 cores without tasks."""

    def __init__(self):
        self.options = None

    def is_initialized(self):
        return False

    def init(self, **options):
        if options.get("address") == "ray://nowhere:1":
            raise ConnectionError("no answer\nafter 30 s")
        self.options = options

    def cluster_resources(self):
        return {"CPU": 24.0}

    def remote(self, **_):
        return lambda function: function

    def shutdown(self):
        pass


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", made := FakeRay())
    return made


def test_ray_connects_to_an_address(fake):
    """The address goes to Ray, and the engine has as many tasks as the cluster has cores, of one thread."""
    engine = make_engine("ray", address="ray://host:10001")
    assert list(engine.map_unordered(work.square, [])) == []
    assert fake.options["address"] == "ray://host:10001"
    assert "num_cpus" not in fake.options
    assert (engine.workers, engine.threads) == (24, 1)


def test_the_address_of_ray_comes_from_the_environment(fake, monkeypatch):
    """Without an address, that in RAY_ADDRESS is used. A number of workers is kept."""
    monkeypatch.setenv("RAY_ADDRESS", "host:6379")
    engine = make_engine("ray", 3)
    assert list(engine.map_unordered(work.square, [])) == []
    assert (fake.options["address"], engine.workers) == ("host:6379", 3)


def test_ray_without_an_address_starts_workers_here(fake):
    """A cluster of this machine has as many cores as the engine has workers."""
    assert list(make_engine("ray", 3).map_unordered(work.square, [])) == []
    assert (fake.options["num_cpus"], fake.options.get("address")) == (3, None)


def test_a_cluster_that_does_not_answer_is_one_line(fake):
    """The error names the address, and gives the first line of Ray's reason."""
    engine = make_engine("ray", address="ray://nowhere:1")
    with pytest.raises(MachineError, match=r"^Ray has no cluster at 'ray://nowhere:1': no answer$"):
        list(engine.map_unordered(work.square, [1]))


def test_names_make_the_engines():
    """Each name in NAMES makes the engine of that name."""
    assert [make_engine(name).name for name in NAMES if name != "ray"] == ["serial", "process"]
    assert [kind.name for kind in (SerialEngine, ProcessEngine, RayEngine)] == list(NAMES)


def test_a_missing_ray_says_how_to_install_it(monkeypatch):
    """Without Ray installed the error says how to install it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PluginError, match=r"pip install 'sneframe\[ray\]'"):
        make_engine("ray", 2)


@needs_ray
def test_ray_writes_no_token_to_the_home_directory(tmp_path, monkeypatch):
    """A local Ray cluster leaves no authentication token in the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\nimport work\nfrom sneframe.engine import make_engine\n"
    )
    script += "print(list(make_engine('ray', 1).map_unordered(work.square, [3])))"
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", here)
    done = subprocess.run([sys.executable, "-c", script, here], capture_output=True, text=True, check=True)
    assert done.stdout == "[(3, 9)]\n"
    assert not (tmp_path / ".ray").exists()
