"""Create a cluster, start its server, and clean up after a killed one."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from monitor.postgres import guardian
from monitor.postgres.account import ENVIRONMENT, ServerAccount
from monitor.postgres.binaries import MAJOR
from monitor.postgres.errors import OTHER_SERVER, DataFolderBusy, StartFailed, VersionMismatch
from monitor.postgres.folder import PORT, Folder
from monitor.postgres.process import exists, named_pid, serves

ROLE = "driftline"
"""Created with the cluster: a superuser, who owns the tables and migrates."""
SERVICE = "driftline_service"
"""The role of the service: it may log in, and do what the owner grants."""
_INITDB_SECONDS = 120
_INITDB_OPTIONS = (
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--locale=C.UTF-8",
    "--no-instructions",
)
_TAIL_LINES = 20

log = structlog.get_logger()


def ensure_cluster(
    folder: Folder, account: ServerAccount, *, password: str, server_lock: int
) -> None:
    """Create the cluster unless it exists; check that we can run an existing one.

    The caller holds ``control.lock``, and ``server.lock`` by the descriptor ``server_lock``. An
    interrupted creation leaves no half-made cluster: it happens under another name, and its
    remaining processes hold ``server.lock``.

    Raises
    ------
    VersionMismatch
        Another major version wrote the cluster.
    DataFolderBusy
        The cluster belongs to another user.
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
        raise VersionMismatch(
            f"{folder.cluster} was written by PostgreSQL {found}, this Driftline brings {MAJOR}: "
            f"dump it with the release that wrote it (pg_dump), move the folder away, start once "
            f"and restore the dump (psql), {OTHER_SERVER}"
        )


def _check_owner(folder: Folder, account: ServerAccount) -> None:
    """Change the cluster's owner if root switched between its two ways to run the server."""
    owner = folder.cluster.stat().st_uid
    if owner == account.uid:
        return
    if os.geteuid() != 0:
        raise DataFolderBusy(
            f"{folder.cluster} belongs to user id {owner}: run as that user, "
            f"or choose another service.data_dir"
        )
    for path in (folder.cluster, *folder.cluster.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _initdb(draft: Path, account: ServerAccount, *, password: str, server_lock: int) -> None:
    with _reachable(draft, account) as (name, reach), tempfile.TemporaryFile() as secret:
        secret.write(password.encode())
        secret.flush()
        os.fchown(secret.fileno(), account.uid, account.gid)
        child = account.spawn(
            "initdb",
            f"--pgdata={name}",
            f"--username={ROLE}",
            f"--pwfile=/proc/self/fd/{secret.fileno()}",
            *_INITDB_OPTIONS,
            output=subprocess.PIPE,
            descriptors=(*reach, secret.fileno(), server_lock),
        )
        said = _finish(child)
    if child.returncode != 0:
        status = f"exit status {child.returncode}"
        raise StartFailed(f"initdb could not create a cluster in {draft.parent} ({status})", said)


def _finish(child: subprocess.Popen[bytes]) -> str:
    with child:
        try:
            said, _ = child.communicate(timeout=_INITDB_SECONDS)
        except subprocess.TimeoutExpired as error:
            child.kill()
            raise StartFailed(f"initdb did not end within {_INITDB_SECONDS} s") from error
    return said.decode(errors="replace").strip()


@contextmanager
def _reachable(path: Path, account: ServerAccount) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield a name for ``path`` that the server's account can reach, and descriptors to inherit.

    A system user cannot pass through our closed folders, but can enter one by a descriptor.
    """
    if not account.switch:
        yield str(path), ()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_stale(folder: Folder, socket_dir: Path) -> None:
    """Remove lock files that name a zombie or a foreign process, which would mislead the server.

    The caller holds ``control.lock`` and ``server.lock``. A file that names no process is left to
    the server, which checks more (is its shared memory still in use?) before it starts.
    """
    for path in (folder.pid_file, socket_dir / f".s.PGSQL.{PORT}.lock"):
        pid = named_pid(path)
        empty = pid is None and path.exists()
        if empty or (pid is not None and exists(pid) and not serves(pid, folder.cluster)):
            path.unlink()
            log.info("postgres_stale_lock_removed", file=str(path), pid=pid)


def launch(folder: Folder, account: ServerAccount, server_lock: int) -> subprocess.Popen[bytes]:
    """Start the server as our child, with its guardian beside it.

    Parameters
    ----------
    folder, account
        The folder, and the account to run as.
    server_lock
        Descriptor that holds ``server.lock``; the server inherits it and so keeps the lock.
    """
    with (
        _reachable(folder.cluster, account) as (name, reach),
        folder.start_log.open("wb") as output,
    ):
        child = account.spawn(
            "postgres", "-D", name, output=output, descriptors=(*reach, server_lock)
        )
    # Before anything reaps the child: until then no other process can get its id.
    _set_guardian(folder, child.pid)
    _reap(child)
    return child


def _reap(child: subprocess.Popen[bytes]) -> None:
    # Even if we fail, a dead child must not stay a zombie: its id would look alive.
    threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()


def _set_guardian(folder: Folder, pid: int) -> None:
    locks = [str(folder.lock(name)) for name in ("control", "users")]
    try:
        pidfd = os.pidfd_open(pid)
        try:
            child = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-I", "-S", guardian.__file__, *locks, str(pidfd)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                pass_fds=(pidfd,),
            )
        finally:
            os.close(pidfd)
    except OSError as error:  # a kernel before 5.3, or a sandbox that hides what this needs
        log.warning("postgres_without_guardian", reason=str(error))
        return
    _reap(child)


def log_tail(folder: Folder) -> str:
    """Return the last lines of the server's log, for an error message."""
    logs = sorted((folder.cluster / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
    lines: list[str] = []
    for path in (folder.start_log, *logs[-1:]):
        if path.exists():
            lines += path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join(lines[-_TAIL_LINES:])
