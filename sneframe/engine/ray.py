"""The Ray engine calls a function in tasks of a Ray cluster. It starts a cluster if there is none.

Functions get paths, and write what is large to files. Ray's object store holds only small values.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, final

from sneframe.engine.engine import TRIES, Engine, Item, Result, cores, one_thread
from sneframe.errors import MachineError, PluginError, SneframeError

#: Environment variables that the engine sets, unless the user has set them. With these values Ray writes no
#: token into the home directory, and sends no usage data.
_SETTINGS = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


@final
class RayEngine(Engine):
    """Calls the function for each item in a Ray task on one core.

    The machines of the cluster need sneframe, and must find files at the same paths as this process. Relative
    paths mean files in the current folder of this process. The engine uses the cluster to which the caller
    has connected with ``ray.init``, or the one at ``address``, with the authentication of that cluster.
    Otherwise the engine starts a cluster on this machine.

    Args:
        workers: number of tasks at a time, and of the cores of a cluster that the engine starts. By default
            all cores of the cluster.
        address: address of an existing cluster, such as ``ray://host:10001``, ``host:6379``, or ``auto`` for
            the cluster of this machine; by default the one in ``RAY_ADDRESS``.

    Raises:
        PluginError: Ray is not installed.
    """

    name: ClassVar[str] = "ray"

    def __init__(self, *, workers: int | None = None, address: str | None = None) -> None:
        self._asked, self.workers = workers, workers or cores()
        self.address = address or os.environ.get("RAY_ADDRESS") or None
        if self.address is None:
            for key, value in _SETTINGS.items():
                os.environ.setdefault(key, value)
        try:
            import ray
        except ImportError as error:
            raise PluginError("engine 'ray' needs Ray: pip install 'sneframe[ray]'") from error
        self._ray: Any = ray

    @property
    def threads(self) -> int:
        """An equal share of the cores of this machine, or one thread on an existing cluster.

        Ray gives each task of a cluster one core, wherever it has one.
        """
        return 1 if self.address is not None else max(1, cores() // self.workers)

    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See :class:`~sneframe.engine.engine.Engine`.

        If a worker dies, Ray makes its call again.
        """
        ray = self._ray
        started = not ray.is_initialized()
        if started:
            self._start()
        call = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_call)
        here = str(Path.cwd())
        left = list(reversed(items))
        pending: dict[Any, Item] = {}
        ready: list[Any] = []
        try:
            while left or pending:
                results = [(pending.pop(reference), self._result(reference)) for reference in ready]
                while left and len(pending) < self.workers:
                    item = left.pop()
                    pending[call.remote(function, item, here)] = item
                yield from results
                ready = ray.wait(list(pending))[0] if pending else []
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)
            if started:
                ray.shutdown()

    def _start(self) -> None:
        """Connect to the cluster, or start one.

        Raises:
            MachineError: there is no cluster at the address, or none can be started.
        """
        options: dict[str, Any] = {"num_cpus": self.workers, "include_dashboard": False}
        if self.address is not None:  # an existing cluster has its own cores
            options = {"address": self.address}
        try:
            self._ray.init(
                **options,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
            )
        except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            where = "cannot be started" if self.address is None else f"has no cluster at {self.address!r}"
            raise MachineError(f"Ray {where}: {reason}") from error
        if self._asked is None and self.address is not None:
            self.workers = max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _result(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, SneframeError):
                raise cause from None
            raise
        except self._ray.exceptions.RayError as error:
            raise MachineError(f"a Ray task was lost: {str(error).splitlines()[0]}") from error


def _call(function: Callable[[Item], Result], item: Item, folder: str) -> Result:
    """Call ``function`` in a Ray task, with torch limited to one thread.

    Relative paths mean the same as in the process that uses the engine: the task works in its current folder,
    if this machine has that folder.
    """
    with suppress(OSError):
        os.chdir(folder)
    with one_thread():
        return function(item)
