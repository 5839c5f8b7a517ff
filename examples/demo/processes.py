"""Processes of the demo: started with their output in files, and always ended."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx2

FRESH: Final = httpx2.Limits(max_keepalive_connections=0)
"""A connection for each request: on a busy machine a kept one may be closed as it is used."""
PATIENCE_S: Final = 20.0
"""How long a process may take to end by itself before it is killed."""


class ProcessFailedError(RuntimeError):
    """A process ended, or did not get ready; the text says which and where its log is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Process:
    """A running program whose output goes to ``log``."""

    name: str
    log: Path
    handle: subprocess.Popen[bytes]
    lasting: bool = True
    """Whether it must not end before the demo does."""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.handle.poll() is None

    def tail(self, lines: int = 15) -> str:
        """Last lines of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def require_alive(self) -> None:
        """Raise ProcessFailedError if it has ended."""
        if not self.alive:
            raise ProcessFailedError(
                f"{self.name} ended with status {self.handle.returncode}; its log: {self.log}"
            )

    def wait_until_ready(self, url: str, *, seconds: float) -> None:
        """Ask ``url`` until it answers 200; raises ProcessFailedError when it does not."""
        deadline = time.monotonic() + seconds
        answer = "no answer"
        while time.monotonic() < deadline:
            self.require_alive()
            try:
                reply = httpx2.get(url, timeout=5)
            except httpx2.TransportError as error:
                answer = type(error).__name__
            else:
                if reply.is_success:
                    return
                answer = f"{reply.status_code} {reply.text[:300]}"
            time.sleep(0.2)
        raise ProcessFailedError(f"{self.name} was not ready in {seconds:.0f} s: {answer}")

    def stop(self) -> None:
        """Ask it to end, and kill what is left of its process group after a while."""
        if self.alive:
            self.handle.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.handle.wait(PATIENCE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.handle.pid, signal.SIGKILL)
        self.handle.wait()


class Processes:
    """Starts programs in sessions of their own and ends them in reverse order.

    A session of its own keeps Ctrl-C in the terminal from ending them all at once: the
    demo ends them in order, so that what is under way is finished.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with _undisturbed():
            for process in reversed(self._started):
                process.stop()

    def __iter__(self) -> Iterator[Process]:
        return iter(self._started)

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        lasting: bool = True,
    ) -> Process:
        """Run ``python -m …`` with the demo's own interpreter."""
        log = self._folder / f"{name}.log"
        with log.open("wb") as output, _undisturbed():
            handle = subprocess.Popen(  # noqa: S603 - our own modules, no shell
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Libraries leave caches in the folder for temporary files: it is ours.
                env={**os.environ, "TMPDIR": str(self._folder), **(environ or {})},
                start_new_session=True,
            )
            process = Process(name=name, log=log, handle=handle, lasting=lasting)
            self._started.append(process)
        return process

    def run(self, name: str, arguments: Sequence[str]) -> None:
        """Run ``python -m …`` to its end; raises ProcessFailedError unless it succeeds."""
        process = self.start(name, arguments)
        try:
            if process.handle.wait() != 0:
                process.require_alive()
        finally:
            process.stop()
            self._started.remove(process)

    def require_alive(self) -> None:
        """Raise ProcessFailedError if any has ended."""
        for process in self._started:
            if process.lasting:
                process.require_alive()


def free_port(wanted: int | None = None) -> int:
    """Give a port of the loopback interface that nobody listens on; ``wanted`` if it is free."""
    for port in (wanted, 0):
        if port is None:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise OSError("no free port on the loopback interface")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back, so that no process is started and not noted, or left running.

    A handler, not `signal.SIG_IGN` and not a mask: those a child would inherit.
    """
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda caught, _: came.append(caught))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
