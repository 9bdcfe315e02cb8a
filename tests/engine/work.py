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
