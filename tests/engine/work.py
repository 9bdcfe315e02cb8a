"""Functions for workers, in a module of their own because workers import them by name."""

import os
import time
from pathlib import Path

from sneframe.errors import ZooError


def square(number):
    return number * number


def threads(_):
    import torch  # here, so that workers with the other functions need not load it

    return torch.get_num_threads()


def fails_at_two(number):
    if number == 2:
        raise ZooError("two is too many")
    return number


def dies_at_two(number):
    if number == 2:
        os._exit(7)
    return number


def dies_once(path):
    """Die in the first call with a path, and return the path in the second."""
    if not Path(path).exists():
        Path(path).touch()
        os._exit(7)
    return path


def waits_for(path):
    while path and not Path(path).exists():
        time.sleep(0.01)
    return path


def tells_its_process(folder_and_seconds):
    folder, seconds = folder_and_seconds
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(seconds)


def new_pages(_):
    """Return how many pages the system had to give when 64 MB were used and freed 20 times."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytearray(64_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def counts_its_tries(folder_and_name):
    """Take note of a try. ``killer`` dies once, and ``waiter`` ends when ``killer`` was tried twice."""
    folder, name = Path(folder_and_name[0]), folder_and_name[1]
    tries = folder / name
    with tries.open("a") as file:
        file.write("x")
    if name == "killer" and tries.read_text() == "x":
        while not (folder / "waiter").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), 9)
    killer = folder / "killer"
    while name == "waiter" and not (killer.exists() and killer.read_text() == "xx"):
        time.sleep(0.01)
    return len(tries.read_text())


def process(_):
    return os.getpid()
