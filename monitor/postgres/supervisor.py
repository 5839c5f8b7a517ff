"""Keep one embedded server running for every process that uses a data folder."""

import fcntl
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import psycopg
import structlog
from psycopg import sql
from psycopg.conninfo import make_conninfo

from monitor.postgres.account import choose_account
from monitor.postgres.binaries import find_binaries
from monitor.postgres.cluster import (
    DATABASE,
    ROLE,
    ServerSettings,
    clear_stale,
    ensure_cluster,
    launch,
    log_tail,
)
from monitor.postgres.errors import DataFolderBusy, PostgresError, StartFailed
from monitor.postgres.folder import PORT, Folder, exclusive, open_lock, try_exclusive
from monitor.postgres.process import live_postmaster

_POLL_SECONDS = 0.05
_WATCH_SECONDS = 0.2
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_SHUTDOWN_SECONDS = 60.0

log = structlog.get_logger()


class EmbeddedPostgres:
    """A PostgreSQL server in the data folder, shared by all processes that use this folder.

    The first to start brings the server up, later ones adopt it. A server that dies is restarted
    by whichever user notices first. The last user to stop shuts the server down; when the last
    user is killed instead, a guardian process does so ten seconds later.

    Thread-safe. Costs about .9 s for the first start of a folder and .2 s for later ones.

    Parameters
    ----------
    data_dir
        Driftline's data folder; the server lives in its sub-folder ``postgres`` (mode 0700).
    settings
        Size of the server; the starter's settings hold.
    start_timeout
        Seconds that a start may take, recovery after a crash included.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: ServerSettings | None = None,
        start_timeout: float = 120.0,
    ) -> None:
        self._folder = Folder(root=data_dir.absolute() / "postgres")
        self._settings = settings or ServerSettings()
        self._start_timeout = start_timeout
        self._mutex = threading.Lock()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._users: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._password = ""
        self._socket_dir: Path | None = None

    @property
    def url(self) -> str:
        """Address for SQLAlchemy, password included: never log it."""
        query = urlencode({"host": str(self._where()), "port": PORT})
        return f"postgresql+psycopg://{ROLE}:{self._password}@/{DATABASE}?{query}"

    @property
    def conninfo(self) -> str:
        """Address for psycopg, password included: never log it."""
        return self._conninfo(DATABASE, self._where())

    def _where(self) -> Path:
        if self._socket_dir is None:
            message = "the embedded server has no address before start()"
            raise StartFailed(message)
        return self._socket_dir

    def _conninfo(self, database: str, socket_dir: Path) -> str:
        return make_conninfo(
            host=str(socket_dir),
            port=PORT,
            user=ROLE,
            password=self._password,
            dbname=database,
            connect_timeout=10,
        )

    def running(self) -> bool:
        """Whether a server of this folder is alive now, whoever started it."""
        return live_postmaster(self._folder.cluster) is not None

    def start(self) -> None:
        """Bring the server up or adopt the live one, and keep it up; does nothing the second time.

        Raises
        ------
        PostgresError
            One of the tree in ``monitor.postgres.errors``; nothing is left running that was not
            running before.
        """
        with self._mutex:
            if self._watcher is not None:
                return
            self._stopping.clear()
            self._folder.create()
            try:
                self._bring_up()
            except BaseException:
                self._leave()
                raise
            self._watcher = threading.Thread(target=self._watch, name="postgres-watch", daemon=True)
            self._watcher.start()

    def stop(self) -> None:
        """Let go of the server; the last user shuts it down (open transactions are rolled back)."""
        with self._mutex:
            self._stopping.set()
            if self._watcher is not None:
                self._watcher.join()
                self._watcher = None
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
            if self.running():
                continue
            log.warning("postgres_died", folder=str(self._folder.cluster))
            try:
                self._bring_up()
                pause = _FIRST_PAUSE_SECONDS
            except (PostgresError, OSError, psycopg.Error) as error:
                log.exception("postgres_restart_failed", again_in_seconds=pause, error=str(error))
                self._stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _bring_up(self) -> None:
        """Adopt or start under ``control.lock``, so that of several processes one starts."""
        deadline = time.monotonic() + self._start_timeout
        with exclusive(self._folder.lock("control"), deadline=deadline):
            self._join_users()
            self._password = self._folder.password()
            adopted = self.running() or not self._launch(deadline)
            self._socket_dir = self._wait_ready(deadline)
        log.info(
            "postgres_adopted" if adopted else "postgres_started", folder=str(self._folder.cluster)
        )

    def _join_users(self) -> None:
        if self._users is None:
            self._users = open_lock(self._folder.lock("users"))
            # Never waits: those who hold it exclusively hold control.lock, too.
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def _launch(self, deadline: float) -> bool:
        """Start a server unless one turns up while we wait for the last one to be gone entirely."""
        account = choose_account(find_binaries())
        lock = open_lock(self._folder.lock("server"))
        try:
            while not try_exclusive(lock):
                if self.running():
                    return False
                message = f"a server that is not to be seen from here (another container?) holds {self._folder.root}"
                self._pause(deadline, DataFolderBusy(message))
            ensure_cluster(self._folder, account, password=self._password, server_lock=lock)
            socket_dir = self._folder.socket_dir(account.uid)
            (self._folder.cluster / "postgresql.conf").write_text(self._settings.render(socket_dir))
            clear_stale(self._folder, socket_dir)
            self._child = launch(self._folder, account, lock)
        finally:
            os.close(lock)
        return True

    def _wait_ready(self, deadline: float) -> Path:
        """Wait until the server lets us in; make the database; return the folder of its socket."""
        while True:
            found = live_postmaster(self._folder.cluster)
            if found is None and self._child_ended():
                message = f"PostgreSQL did not start in {self._folder.cluster}"
                raise StartFailed(message, log_tail(self._folder))
            reason = "it has not opened its socket yet"
            if found is not None and found.socket_dir is not None:
                try:
                    self._ensure_database(found.socket_dir)
                except psycopg.OperationalError as error:
                    reason = str(error)
                else:
                    return found.socket_dir
            if "password authentication failed" in reason:
                message = f"the server of {self._folder.cluster} refuses the password in {self._folder.root}/password: restore that file"
                raise StartFailed(message)
            message = f"PostgreSQL in {self._folder.cluster} is not ready after {self._start_timeout:g} s: {reason}"
            self._pause(deadline, StartFailed(message, log_tail(self._folder)))

    def _child_ended(self) -> bool:
        return self._child is None or self._child.poll() is not None

    def _ensure_database(self, socket_dir: Path) -> None:
        with psycopg.connect(self._conninfo("postgres", socket_dir), autocommit=True) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _pause(self, deadline: float, failure: PostgresError) -> None:
        """Wait a moment; give up with ``failure`` after the deadline or when we are to stop."""
        if time.monotonic() >= deadline or self._stopping.wait(_POLL_SECONDS):
            raise failure

    def _leave(self) -> None:
        if self._users is None:
            return
        try:
            deadline = time.monotonic() + self._start_timeout
            with exclusive(self._folder.lock("control"), deadline=deadline):
                if try_exclusive(self._users):
                    self._shut_down()
                # A forked child may share this descriptor: closing ours would not free the lock.
                fcntl.flock(self._users, fcntl.LOCK_UN)
        finally:
            os.close(self._users)
            self._users = None
            self._socket_dir = None

    def _shut_down(self) -> None:
        """End the server: SIGINT ends sessions and writes a checkpoint, SIGQUIT just ends."""
        for number in (signal.SIGINT, signal.SIGQUIT):
            pid = self._server_pid()
            if pid is None:
                break
            os.kill(pid, number)
            if self._gone(time.monotonic() + _SHUTDOWN_SECONDS):
                log.info("postgres_stopped", folder=str(self._folder.cluster))
                return
            log.error("postgres_does_not_stop", pid=pid, signal=number.name)

    def _server_pid(self) -> int | None:
        found = live_postmaster(self._folder.cluster)
        if found is not None:
            return found.pid
        return None if self._child is None or self._child_ended() else self._child.pid

    def _gone(self, deadline: float) -> bool:
        """Whether the postmaster and all its backends ended by the deadline."""
        while self._server_pid() is not None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        try:
            with exclusive(self._folder.lock("server"), deadline=deadline):
                return True
        except DataFolderBusy:
            return False
