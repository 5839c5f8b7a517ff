"""Start or stop the one server of a folder; callers hold ``control.lock``."""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import structlog
from psycopg import sql
from psycopg.conninfo import make_conninfo

from monitor.postgres.account import choose_account
from monitor.postgres.binaries import find_binaries
from monitor.postgres.cluster import ROLE, SERVICE, clear_stale, ensure_cluster, launch, log_tail
from monitor.postgres.errors import DataFolderBusy, StartFailed
from monitor.postgres.folder import PORT, Folder, exclusive, open_lock, try_exclusive
from monitor.postgres.process import live_postmaster
from monitor.postgres.settings import ServerSettings

DATABASE = "driftline"
_POLL_SECONDS = 0.05
_SHUTDOWN_SECONDS = 60.0

log = structlog.get_logger()


def conninfo(database: str, *, password: str, socket_dir: Path) -> str:
    """Return the address for psycopg."""
    return make_conninfo(
        host=str(socket_dir),
        port=PORT,
        user=ROLE,
        password=password,
        dbname=database,
        connect_timeout=10,
    )


class Server:
    """The server of ``folder``, whether our child or another process's.

    Parameters
    ----------
    folder, settings
        The server to run.
    stopping
        If set, waits inside ``bring_up`` are given up.
    """

    def __init__(
        self, folder: Folder, settings: ServerSettings, *, stopping: threading.Event
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._stopping = stopping
        self._child: subprocess.Popen[bytes] | None = None
        self._seen: int | None = None
        """Descriptor of the server's process: it shows the end without a look at any file."""

    def running(self) -> bool:
        """True if a server of this folder is alive."""
        return live_postmaster(self._folder.cluster) is not None

    def lives_on(self) -> bool:
        """True if a server of this folder is alive; costs next to nothing while it is the same."""
        if self._seen is not None:
            if not _ended(self._seen):
                return True
            self.forget()
        found = live_postmaster(self._folder.cluster)
        if found is not None:
            with contextlib.suppress(ProcessLookupError):
                self._seen = os.pidfd_open(found.pid)
        return found is not None

    def forget(self) -> None:
        """Let go of the process that was watched."""
        if self._seen is not None:
            os.close(self._seen)
            self._seen = None

    def bring_up(self, password: str, *, service: str, deadline: float) -> Path:
        """Adopt the live server or start one; return the folder of its socket.

        Raises
        ------
        PostgresError
            It is not ready at the deadline (by ``time.monotonic``), or cannot become ready.
        """
        while True:
            adopted = self.running() or not self._launch(password, deadline)
            socket_dir = self._wait_ready(password, service, deadline)
            if socket_dir is not None:
                event = "postgres_adopted" if adopted else "postgres_started"
                log.info(event, folder=str(self._folder.cluster))
                return socket_dir
            # A killed server is worth another try, one that gave up is not.
            if (not adopted and not self._child_was_killed()) or self._over(deadline):
                message = f"PostgreSQL did not start in {self._folder.cluster}"
                raise StartFailed(message, log_tail(self._folder))

    def _launch(self, password: str, deadline: float) -> bool:
        """Start a server, unless one turns up while we wait for the last one to end."""
        account = choose_account(find_binaries())
        lock = open_lock(self._folder.lock("server"))
        try:
            while not try_exclusive(lock):
                if self.running():
                    return False
                if self._over(deadline):
                    raise DataFolderBusy(_UNSEEN.format(self._folder.root))
            ensure_cluster(self._folder, account, password=password, server_lock=lock)
            socket_dir = self._folder.socket_dir(account.uid)
            config = self._folder.cluster / "postgresql.conf"
            config.write_text(self._settings.render(socket_dir, root=self._folder.root))
            clear_stale(self._folder, socket_dir)
            self._child = launch(self._folder, account, lock)
        finally:
            os.close(lock)
        return True

    def _wait_ready(self, password: str, service: str, deadline: float) -> Path | None:
        """Wait until the server accepts us, and create the database and the service's role.

        None if the server has ended. ``service`` is that role's password.
        """
        while True:
            found = live_postmaster(self._folder.cluster)
            if found is None and not self._child_lives():
                return None
            reason = "it does not accept connections yet"
            if found is not None and found.socket_dir is not None:
                try:
                    _ensure_database(password, service, found.socket_dir)
                except psycopg.OperationalError as error:
                    reason = str(error)
                else:
                    return found.socket_dir
            if "password authentication failed" in reason:
                raise StartFailed(_WRONG_PASSWORD.format(self._folder.root))
            if self._over(deadline):
                message = f"PostgreSQL in {self._folder.cluster} is not ready: {reason}"
                raise StartFailed(message, log_tail(self._folder))

    def _child_lives(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def _child_was_killed(self) -> bool:
        return self._child is not None and (self._child.poll() or 0) < 0

    def _over(self, deadline: float) -> bool:
        """Wait a moment; return True to give up, at the deadline or because we are stopping."""
        return self._stopping.wait(_POLL_SECONDS) or time.monotonic() >= deadline

    def shut_down(self) -> None:
        """Stop the server: SIGINT ends sessions and writes a checkpoint, SIGQUIT only ends it."""
        for number in (signal.SIGINT, signal.SIGQUIT):
            pid = self._pid()
            if pid is None:
                return
            os.kill(pid, number)
            if self._gone(time.monotonic() + _SHUTDOWN_SECONDS):
                log.info("postgres_stopped", folder=str(self._folder.cluster))
                return
            log.error("postgres_does_not_stop", pid=pid, signal=number.name)

    def _pid(self) -> int | None:
        found = live_postmaster(self._folder.cluster)
        if found is not None:
            return found.pid
        return self._child.pid if self._child is not None and self._child_lives() else None

    def _gone(self, deadline: float) -> bool:
        """True if the postmaster and all its backends ended by the deadline."""
        while self._pid() is not None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        try:
            with exclusive(self._folder.lock("server"), deadline=deadline):
                return True
        except DataFolderBusy:
            return False


def _ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _ensure_database(password: str, service: str, socket_dir: Path) -> None:
    address = conninfo("postgres", password=password, socket_dir=socket_dir)
    with psycopg.connect(address, autocommit=True) as connection:
        known = "SELECT 1 FROM pg_database WHERE datname = %s"
        if connection.execute(known, [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        _ensure_service(connection, service, address)


def _ensure_service(connection: psycopg.Connection, password: str, address: str) -> None:
    """Create the service's role, or reset its password if that was lost."""
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(make_conninfo(address, user=SERVICE, password=password)).close()
        return
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [SERVICE]).fetchone()
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
            sql.SQL("ALTER" if known else "CREATE"),
            sql.Identifier(SERVICE),
            sql.Literal(password),
        )
    )


_UNSEEN = (
    "a server that cannot be seen from here (in another container?) holds {}: stop it, "
    "or choose another service.data_dir"
)
_WRONG_PASSWORD = "the server refuses the password in {}/password: restore that file"  # noqa: S105 - a message, no password
