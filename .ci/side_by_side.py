"""Run commands at the same time, each an argument, and print what each wrote when it has ended.

The exit code is 1 where a command failed.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command; its two output streams come as one text."""
    words = shlex.split(command)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(words, text=True, check=False, **pipes)  # noqa: S603  # the commands of tox.ini


def main(commands: list[str]) -> int:
    """Run all commands, and return the exit code."""
    failed = []
    with ThreadPoolExecutor(len(commands)) as pool:
        running = {pool.submit(run, command): command for command in commands}
        for each in as_completed(running):
            done = each.result()
            sys.stdout.write(f"$ {running[each]}\n{done.stdout}exit code {done.returncode}\n")
            sys.stdout.flush()
            failed += [running[each]] if done.returncode else []
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
