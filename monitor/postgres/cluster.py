"""Make a cluster, start its server, and clear what a killed server left behind."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from monitor.postgres import guardian
from monitor.postgres.account import Account
from monitor.postgres.binaries import MAJOR
from monitor.postgres.errors import OTHER_SERVER, DataFolderBusy, StartFailed, VersionMismatch
from monitor.postgres.folder import PORT, Folder
from monitor.postgres.process import exists, named_pid, serves

ROLE = "driftline"
DATABASE = "driftline"
_INITDB_SECONDS = 120
_TAIL_LINES = 20
# Nothing of our own environment, which may hold secrets, reaches the server.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What an operator may want to change of the embedded server, in PostgreSQL's own units."""

    shared_buffers: str = "128MB"
    max_connections: int = 100
    max_wal_size: str = "1GB"

    def render(self, socket_dir: Path) -> str:
        """Text of ``postgresql.conf``."""
        return _CONFIG.format(
            port=PORT,
            socket_dir=socket_dir,
            shared_buffers=self.shared_buffers,
            max_connections=self.max_connections,
            max_wal_size=self.max_wal_size,
        )


_CONFIG = """\
# Written by Driftline whenever it starts this server. ALTER SYSTEM overrides it and stays.
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = {max_connections}
shared_buffers = '{shared_buffers}'
max_wal_size = '{max_wal_size}'
# Reading ahead in the server's own process saves three worker processes.
io_method = 'sync'
jit = off
fsync = on
full_page_writes = on
synchronous_commit = on
autovacuum = on
timezone = 'UTC'
log_timezone = 'UTC'
# One file for each day of the week.
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = '1d'
log_rotation_size = 0
# Statements and error details quote rows, and rows may hold people's prompts.
log_error_verbosity = terse
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""


def ensure_cluster(folder: Folder, account: Account, *, password: str, server_lock: int) -> None:
    """Create the cluster unless it exists; check that we can run the one that does.

    The caller holds ``control.lock``, and ``server.lock`` by the descriptor ``server_lock``. An
    interrupted creation leaves no half cluster: it happens under another name, and whatever still
    runs of it keeps ``server.lock``.

    Raises
    ------
    VersionMismatch
        Another major version wrote the cluster.
    StartFailed
        ``initdb`` failed.
    """
    if folder.cluster.exists():
        _check_version(folder)
        _check_owner(folder, account)
        return
    for leftover in folder.root.glob("creating-*"):
        shutil.rmtree(leftover)
    draft = Path(tempfile.mkdtemp(prefix="creating-", dir=folder.root))
    os.chown(draft, account.uid, account.gid)
    _initdb(draft, account, password=password, server_lock=server_lock)
    draft.rename(folder.cluster)
    _sync(folder.root)
    log.info("postgres_cluster_created", folder=str(folder.cluster), major=MAJOR)


def _check_version(folder: Folder) -> None:
    found = (folder.cluster / "PG_VERSION").read_text().strip()
    if found != str(MAJOR):
        message = (
            f"{folder.cluster} was written by PostgreSQL {found}, this release of Driftline brings {MAJOR}: "
            f"dump it with the release that wrote it (pg_dump), move the folder away, start once and restore "
            f"(psql), {OTHER_SERVER}"
        )
        raise VersionMismatch(message)


def _check_owner(folder: Folder, account: Account) -> None:
    """Hand the cluster over when root changed between its two ways to run the server."""
    owner = folder.cluster.stat().st_uid
    if owner == account.uid:
        return
    if os.geteuid() != 0:
        message = f"{folder.cluster} belongs to user id {owner}: run as that user, or choose another service.data_dir"
        raise DataFolderBusy(message)
    for path in (folder.cluster, *folder.cluster.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _initdb(draft: Path, account: Account, *, password: str, server_lock: int) -> None:
    with _reachable(draft, account) as (name, descriptors), tempfile.TemporaryFile() as secret:
        secret.write(password.encode())
        secret.flush()
        os.fchown(secret.fileno(), account.uid, account.gid)
        options = [
            "--username",
            ROLE,
            f"--pwfile=/proc/self/fd/{secret.fileno()}",
            "--auth=scram-sha-256",
        ]
        options += [
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            "--no-instructions",
        ]
        done = subprocess.run(
            [*account.prefix, str(account.bin / "initdb"), "-D", name, *options],
            check=False,
            capture_output=True,
            text=True,
            timeout=_INITDB_SECONDS,
            env=_ENVIRONMENT,
            cwd="/",
            pass_fds=(*descriptors, secret.fileno(), server_lock),
            **_switch(account),
        )
    if done.returncode != 0:
        message = (
            f"initdb could not create a cluster in {draft.parent} (exit status {done.returncode})"
        )
        raise StartFailed(message, done.stderr.strip())


@contextmanager
def _reachable(path: Path, account: Account) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name ``path`` so that the server's account gets there, with the descriptors it must inherit.

    A system user cannot pass through our closed folders, but it can enter one by a descriptor.
    """
    if not account.switch:
        yield str(path), ()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def _switch(account: Account) -> dict[str, int | list[int]]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account.switch else {}


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_stale(folder: Folder, socket_dir: Path) -> None:
    """Remove lock files that name a zombie or a foreign process; the server would believe them.

    The caller holds ``control.lock`` and ``server.lock``. A file that names no process at all is
    left to the server, which checks more (shared memory still in use) before it removes it.
    """
    pid = named_pid(folder.cluster)
    if pid is None or (exists(pid) and not serves(pid, folder.cluster)):
        _remove(folder.pid_file, pid)
    _remove(socket_dir / f".s.PGSQL.{PORT}.lock", pid)


def _remove(path: Path, pid: int | None) -> None:
    if path.exists():
        path.unlink()
        log.info("postgres_stale_lock_removed", file=str(path), pid=pid)


def launch(folder: Folder, account: Account, server_lock: int) -> subprocess.Popen[bytes]:
    """Start the server as our child, in a session of its own so that Ctrl-C does not reach it.

    Parameters
    ----------
    folder, account
        Where, and as whom.
    server_lock
        Descriptor that holds ``server.lock``; the server inherits it and keeps the lock.
    """
    with (
        _reachable(folder.cluster, account) as (name, descriptors),
        folder.start_log.open("wb") as output,
    ):
        child = subprocess.Popen(
            [*account.prefix, str(account.bin / "postgres"), "-D", name],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=(*descriptors, server_lock),
            **_switch(account),
        )
    _reap(child)
    _set_guardian(folder, child.pid)
    return child


def _reap(child: subprocess.Popen[bytes]) -> None:
    # Whatever becomes of us, a dead child must not stay a zombie: its id would look alive.
    threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()


def _set_guardian(folder: Folder, pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:  # a kernel before 5.3, or a sandbox; or the server died at once
        log.warning("postgres_without_guardian", reason=str(error))
        return
    locks = [str(folder.lock("control").resolve()), str(folder.lock("users").resolve())]
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, *locks, str(pidfd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=(pidfd,),
        )
    finally:
        os.close(pidfd)
    _reap(child)


def log_tail(folder: Folder) -> str:
    """Last lines of what the server wrote, for an error message."""
    logs = sorted((folder.cluster / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
    lines: list[str] = []
    for path in (*logs[-1:], folder.start_log):
        if path.exists():
            lines += path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join(lines[-_TAIL_LINES:])
