"""The Ray engine calls a function in tasks of a Ray cluster. It starts a cluster if there is none."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, final

from sneframe.engine.engine import Engine, Item, Result, one_thread
from sneframe.errors import MachineError, PluginError, SneframeError

#: Environment variables that the engine sets, unless the user has set them. With these values Ray writes no
#: token into the home directory, and sends no usage data.
_SETTINGS = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


@final
class RayEngine(Engine):
    """Calls the function for each item in a Ray task on one core.

    The machines of the cluster need sneframe, and must find files at the same paths as this process. If
    ``RAY_ADDRESS`` is set, or the caller has called ``ray.init``, the engine uses that cluster, with the
    authentication of that cluster. Otherwise the engine starts a cluster on this machine.

    Args:
        workers: number of tasks at a time. A cluster that the engine starts has the same number of cores.

    Raises:
        PluginError: Ray is not installed.
    """

    name: ClassVar[str] = "ray"

    def __init__(self, *, workers: int) -> None:
        self.workers = workers
        if "RAY_ADDRESS" not in os.environ:
            for key, value in _SETTINGS.items():
                os.environ.setdefault(key, value)
        try:
            import ray
        except ImportError as error:
            raise PluginError("engine 'ray' needs Ray: pip install 'sneframe[ray]'") from error
        self._ray: Any = ray

    def map_unordered(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """See :class:`~sneframe.engine.engine.Engine`."""
        ray = self._ray
        started = not ray.is_initialized()
        if started:
            self._start()
        call = ray.remote(num_cpus=1, max_retries=1)(_call)
        left = list(reversed(items))
        pending: dict[Any, Item] = {}
        try:
            while left or pending:
                while left and len(pending) < self.workers:
                    item = left.pop()
                    pending[call.remote(function, item)] = item
                for reference in ray.wait(list(pending))[0]:
                    yield pending.pop(reference), self._result(reference)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)
            if started:
                ray.shutdown()

    def _start(self) -> None:
        options: dict[str, Any] = {"num_cpus": self.workers, "include_dashboard": False}
        if "RAY_ADDRESS" in os.environ:  # an existing cluster has its own cores
            options = {}
        try:
            self._ray.init(
                **options,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
            )
        except (ConnectionError, RuntimeError, TimeoutError) as error:
            raise MachineError(f"Ray cannot be started: {str(error).splitlines()[0]}") from error

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


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    """Call ``function`` in a Ray task, with torch limited to one thread."""
    with one_thread():
        return function(item)
