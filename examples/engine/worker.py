"""The one thread that runs models: collects requests for a few ms and answers them together."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from examples.engine.generation import Ask, answer_together
from examples.engine.shelf import Served

_LINGER_S: Final = 0.004
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """An ask with the model that shall answer it; ``done`` resolves when it ended."""

    served: Served
    ask: Ask
    done: Future[None] = field(default_factory=Future)


class Worker:
    """Answers jobs in batches, one model after the other.

    Requests of different adapters share the wait but not the batch: each
    adapter's weights are a model of their own (see `examples.engine.shelf`).
    """

    def __init__(self, *, max_batch: int = 32) -> None:
        self._max_batch = max_batch
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._running = 0
        self._ran: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what waits, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def submit(self, job: Job) -> None:
        """Queue a job; returns at once."""
        self._jobs.put(job)

    @property
    def running(self) -> int:
        """Requests in the batch that is being answered."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests that wait for a batch."""
        return self._jobs.qsize()

    @property
    def ran(self) -> dict[str, float]:
        """When adapters last ran together: their names with commas, Unix seconds."""
        return dict(self._ran)

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch, ended = self._collect(first)
            self._running = len(batch)
            adapters = {job.served.name for job in batch if job.served.parent}
            self._ran[",".join(sorted(adapters))] = time.time()
            for group in _by_model(batch):
                self._answer(group)
                self._running -= len(group)
            if ended:
                return

    def _collect(self, first: Job) -> tuple[list[Job], bool]:
        batch = [first]
        while len(batch) < self._max_batch:
            try:
                job = self._jobs.get(timeout=_LINGER_S)
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _answer(self, group: Sequence[Job]) -> None:
        try:
            answer_together(group[0].served.model, [job.ask for job in group])
        except Exception as error:  # noqa: BLE001 - one bad batch must not take the engine down
            _log.error("a batch of %d requests failed: %r", len(group), error)
            _settle(group, error)
        else:
            _settle(group, None)


def _by_model(batch: Sequence[Job]) -> list[list[Job]]:
    groups: dict[int, list[Job]] = {}
    for job in batch:
        groups.setdefault(id(job.served), []).append(job)
    return list(groups.values())


def _settle(group: Sequence[Job], error: Exception | None) -> None:
    for job in group:
        # False when the client has gone and its wait was cancelled.
        if job.done.set_running_or_notify_cancel():
            job.done.set_result(None) if error is None else job.done.set_exception(error)
