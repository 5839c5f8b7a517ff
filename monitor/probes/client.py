"""Talk to a model worker: start it on first use, end it if it hangs, restart it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Final, Generic, Protocol

import msgspec
import structlog

from monitor.environment import without_settings
from monitor.probes import framing
from monitor.probes.errors import ModelMissing, ProbeError, ProbeFailed, ProbeTimeout
from monitor.probes.framing import Dialogue, Failure, Opened
from monitor.probes.models import is_local

_LOG = structlog.get_logger(__name__)

_LONGEST_PAUSE: Final = 60.0
_CHUNK: Final = 1 << 20
_CLOSED: Final = "the worker was closed"


class _WorkerDied(ProbeFailed):
    """The process ended in the middle of a request."""


class Opening(Protocol):
    """The first request to a worker, which also determines its environment."""

    @property
    def model(self) -> str: ...
    @property
    def threads(self) -> int: ...


class WorkerProcess(Generic[Opened]):
    """One worker process and its model.

    Thread-safe: it answers one request at a time. If the process dies during a request, the request
    is sent once more to a fresh process; a request that takes too long ends the process. After
    repeated deaths the next start waits 1, 2, 4 ... 60 s, and requests meanwhile fail at once, as
    do all requests after closing.

    Parameters
    ----------
    opening
        The dialogue's message that names the model.
    command
        Run in place of the dialogue's module.
    """

    def __init__(
        self,
        opening: Opening,
        dialogue: Dialogue[Opened],
        *,
        start_timeout: float,
        command: tuple[str, ...] | None = None,
    ) -> None:
        self._opening = opening
        self._dialogue = dialogue
        self._start_timeout = start_timeout
        self._command = command or (sys.executable, "-P", "-m", dialogue.module)
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._opened: Opened | None = None
        self._deaths = 0
        self._not_before = 0.0
        # as text: a raised error would keep its frames, and the texts in them
        self._missing: str | None = None
        self._last: str = ""

    @property
    def pid(self) -> int | None:
        """The running process, if any."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def opened(self) -> Opened:
        """Start the worker if needed, and describe its model; raise as :meth:`ask` does."""
        with self._lock:
            return self._ready()

    def ask(self, request: msgspec.Struct, *, timeout: float) -> msgspec.Struct:
        """Send one request and wait for its answer.

        Raises
        ------
        ModelMissing
            The model cannot be loaded.
        ProbeFailed, ProbeTimeout
            There is no answer. ``asked`` is false if the request did not reach the model.
        """
        with self._lock:
            try:
                return self._answer(request, timeout)
            except _WorkerDied:
                _LOG.warning("probe_worker_died", deaths=self._deaths)
            return self._answer(request, timeout)

    def restart(self) -> None:
        """End the process; the next request starts a new one."""
        with self._lock:
            self._end()

    def close(self) -> None:
        """End the process for good, even during a request, whose caller gets an error.

        Loading a model may take minutes, and stopping a service must not wait for that.
        """
        with self._starting:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()
        with self._lock:
            self._end()

    def _answer(self, request: msgspec.Struct, timeout: float) -> msgspec.Struct:
        self._ready()
        reply = self._exchange(request, timeout)
        if isinstance(reply, Failure):
            raise self._as_error(reply)
        self._deaths = 0
        return reply

    def _ready(self) -> Opened:
        if self._opened and self.pid is not None:
            return self._opened
        try:
            return self._open()
        except ProbeFailed as error:
            error.asked = False
            raise

    def _open(self) -> Opened:
        self._end()
        self._refuse_within_pause()
        self._start()
        reply = self._exchange(self._opening, self._start_timeout)
        if isinstance(reply, self._dialogue.opened):
            self._opened = reply
            _LOG.info("probe_worker_ready", worker=self._dialogue.module, model=self._opening.model)
            return reply
        if not isinstance(reply, Failure):
            raise ProbeFailed("the worker answered out of turn", permanent=False)
        error = self._as_error(reply)
        self._failed(error)
        raise error

    def _refuse_within_pause(self) -> None:
        left = self._not_before - time.monotonic()
        if left <= 0:
            return
        if self._missing is not None:
            raise ModelMissing(self._opening.model, self._missing)
        reason = f"the worker restarts in {left:.0f} s after: {self._last}"
        raise ProbeFailed(reason, permanent=False)

    def _start(self) -> None:
        with self._starting:
            if self._closed:
                raise ProbeFailed(_CLOSED, permanent=False)
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                    env=environment(self._opening, os.environ),
                    start_new_session=True,
                )
            except OSError as error:  # memory or processes ran out
                failed = ProbeFailed(f"no worker starts: {error.strerror}", permanent=False)
                self._failed(failed)
                raise failed from error
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)

    def _exchange(self, request: object, timeout: float) -> msgspec.Struct:
        process, deadline = self._process, time.monotonic() + timeout
        if process is None or process.stdin is None or process.stdout is None:
            raise ProbeFailed("the worker is not running", permanent=False)
        try:
            _send(process.stdin.fileno(), framing.frame(request), deadline)
            head = _receive(process.stdout.fileno(), framing.LENGTH_BYTES, deadline)
            body = _receive(process.stdout.fileno(), framing.body_length(head), deadline)
            return self._dialogue.replies.decode(body)
        except TimeoutError:
            error = ProbeTimeout(timeout)
            self._failed(error)
            raise error from None
        except (ValueError, msgspec.MsgspecError) as odd:
            failed = ProbeFailed("the worker's answer was not understood", permanent=False)
            self._failed(failed)
            raise failed from odd
        except OSError as lost:
            if self._closed:
                raise ProbeFailed(_CLOSED, permanent=False, asked=False) from lost
            died = _WorkerDied(f"the worker ended: {self._ending()}", permanent=False)
            self._failed(died)
            raise died from lost

    def _ending(self) -> str:
        process = self._process
        if process is None:
            return "unknown"
        try:
            code = process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            return "its pipe closed"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _failed(self, error: ProbeError) -> None:
        self._end()
        self._deaths += 1
        self._missing = error.reason if isinstance(error, ModelMissing) else None
        self._last = str(error)
        pause = 0.0 if self._deaths == 1 else 2.0 ** min(self._deaths - 2, 6)
        if self._missing is not None:
            # each try costs seconds of importing torch, and a person must act first
            pause = _LONGEST_PAUSE
        self._not_before = time.monotonic() + min(pause, _LONGEST_PAUSE)

    def _as_error(self, reply: Failure) -> ProbeError:
        if reply.missing:
            return ModelMissing(self._opening.model, reply.reason)
        return ProbeFailed(reply.reason, permanent=reply.permanent)

    def _end(self) -> None:
        process, self._process, self._opened = self._process, None, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def environment(opening: Opening, inherited: Mapping[str, str]) -> dict[str, str]:
    """Build the worker's environment: its threads, no telemetry, none of our secrets.

    A model on this machine needs no network, so the hub is switched off for it.
    """
    kept = without_settings(inherited)
    threads = str(opening.threads)
    offline = {"HF_HUB_OFFLINE": "1"} if is_local(opening.model) else {}
    return (
        kept
        | offline
        | {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
            "TQDM_DISABLE": "1",
        }
    )


def _send(pipe: int, data: bytes, deadline: float) -> None:
    view = memoryview(data)
    while view:
        _wait(pipe, select.POLLOUT, deadline)
        view = view[os.write(pipe, view[:_CHUNK]) :]


def _receive(pipe: int, size: int, deadline: float) -> bytes:
    received = bytearray()
    while len(received) < size:
        _wait(pipe, select.POLLIN, deadline)
        part = os.read(pipe, min(_CHUNK, size - len(received)))
        if not part:
            raise BrokenPipeError("the worker closed its pipe")
        received += part
    return bytes(received)


def _wait(pipe: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError
