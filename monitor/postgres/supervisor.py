"""Keep one embedded server running for all processes that use a data folder."""

import fcntl
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import structlog

from monitor.postgres.cluster import ROLE, SERVICE
from monitor.postgres.errors import StartFailed
from monitor.postgres.folder import PORT, Folder, exclusive, open_lock, try_exclusive
from monitor.postgres.room import Reserve
from monitor.postgres.server import DATABASE, Server, conninfo
from monitor.postgres.settings import ServerSettings

_WATCH_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0

log = structlog.get_logger()


class EmbeddedPostgres:
    """A PostgreSQL server in the data folder, shared by all processes that use this folder.

    The first to start brings the server up, later ones adopt it. If the server dies, the first user
    to notice restarts it. The last user to stop shuts the server down; if that user is killed
    instead, a guardian process does so about ten seconds later.

    Thread-safe. The first start of a folder takes about .7 s, later ones .2 s.

    Parameters
    ----------
    data_dir
        Driftline's data folder; the server lives in its sub-folder ``postgres`` (mode 0700).
    settings
        The server's settings; those of the process that starts it apply.
    start_timeout
        Seconds that a start may take, including recovery after a crash.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: ServerSettings | None = None,
        start_timeout: float = 120.0,
    ) -> None:
        self._folder = Folder(root=data_dir.absolute() / "postgres")
        self._start_timeout = start_timeout
        self._mutex = threading.Lock()
        self._stopping = threading.Event()
        self._server = Server(self._folder, settings or ServerSettings(), stopping=self._stopping)
        self.reserve = Reserve(root=self._folder.root)
        self._watcher: threading.Thread | None = None
        self._users: int | None = None
        self._password = self._service_password = ""
        self._socket_dir: Path | None = None

    @property
    def url(self) -> str:
        """The owner's address for SQLAlchemy, including the password: never log it."""
        return self._url(ROLE, self._password)

    @property
    def service_url(self) -> str:
        """The address of the service's role, likewise."""
        return self._url(SERVICE, self._service_password)

    def _url(self, role: str, password: str) -> str:
        query = urlencode({"host": str(self._where()), "port": PORT})
        return f"postgresql+psycopg://{role}:{password}@/{DATABASE}?{query}"

    @property
    def conninfo(self) -> str:
        """The address for psycopg, including the password: never log it."""
        return conninfo(DATABASE, password=self._password, socket_dir=self._where())

    def _where(self) -> Path:
        if self._socket_dir is None:
            raise StartFailed("the embedded server has no address unless it is started")
        return self._socket_dir

    def running(self) -> bool:
        """True if a server of this folder is alive, no matter who started it."""
        return self._server.running()

    def start(self) -> None:
        """Start the server or adopt the live one, and keep it up; repeated calls do nothing.

        Raises
        ------
        PostgresError
            One of the tree in ``monitor.postgres.errors``; no new server stays behind.
        """
        with self._mutex:
            if self._watcher is not None:
                return
            self._stopping.clear()
            self._folder.create()
            self.reserve.keep()  # a process killed on a full disk did not release it
            try:
                self._bring_up()
            except BaseException:
                self._leave()
                raise
            self._watcher = threading.Thread(target=self._watch, name="postgres-watch", daemon=True)
            self._watcher.start()

    def stop(self) -> None:
        """Release the server; the last user shuts it down, rolling open transactions back.

        Raises
        ------
        DataFolderBusy
            Another process has been starting or stopping the server for ``start_timeout``.
        """
        with self._mutex:
            self._stopping.set()
            if self._watcher is not None:
                self._watcher.join()
                self._watcher = None
                self._server.forget()
            self._leave()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _watch(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping.wait(_WATCH_SECONDS):
            self.reserve.keep()
            if self._server.lives_on():
                continue
            log.warning("postgres_died", folder=str(self._folder.cluster))
            try:
                self._bring_up()
                pause = _FIRST_PAUSE_SECONDS
            except Exception as error:  # noqa: BLE001 - nothing may end the watch
                reason = str(error).partition("\n")[0]
                log.warning("postgres_not_restarted", again_in_seconds=pause, reason=reason)
                self._stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _bring_up(self) -> None:
        """Adopt or start under ``control.lock``, so that only one of several processes starts."""
        deadline = time.monotonic() + self._start_timeout
        with exclusive(self._folder.lock("control"), deadline=deadline):
            self._join_users()
            self._password = self._folder.password()
            self._service_password = self._folder.service_password()
            self._socket_dir = self._server.bring_up(
                self._password, service=self._service_password, deadline=deadline
            )

    def _join_users(self) -> None:
        if self._users is None:
            self._users = open_lock(self._folder.lock("users"))
            # Never waits: the exclusive holder also holds control.lock.
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def _leave(self) -> None:
        if self._users is None:
            return
        try:
            deadline = time.monotonic() + self._start_timeout
            with exclusive(self._folder.lock("control"), deadline=deadline):
                if try_exclusive(self._users):
                    self._server.shut_down()
                # A forked child may share this descriptor: closing ours would not free the lock.
                fcntl.flock(self._users, fcntl.LOCK_UN)
        finally:
            os.close(self._users)
            self._users = None
            self._socket_dir = None
