"""The files of the embedded server, and the locks that guard them.

Three lock files, each held with ``flock``, so that the kernel frees them with their holder:

``control.lock``
    exclusive, held for the short time in which somebody starts, adopts or stops the server.
``users.lock``
    shared, held by every process that uses the server. Who gets it exclusively (while holding
    ``control.lock``) is the last one and may stop the server.
``server.lock``
    exclusive, inherited by the server itself: free only once the postmaster *and* all of its
    backends are gone, even where their process ids cannot be seen (another container).
"""

import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from monitor.postgres.errors import DataFolderBusy, StartFailed

PORT = 5432
# sun_path holds 108 bytes with its closing NUL (unix(7)).
_SOCKET_PATH_LIMIT = 107
# libpq and postgresql.conf read a comma as the end of a path; quotes and backslashes would need
# two different escapes.
_AWKWARD = frozenset(",'\"\\\n\r")
_POLL_SECONDS = 0.05
_NOT_OURS = "{} belongs to {}: run as that user, or choose another service.data_dir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The paths below ``<data_dir>/postgres``."""

    root: Path

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory; always complete if it exists."""
        return self.root / "cluster"

    @property
    def pid_file(self) -> Path:
        """Written by the postmaster; a killed one leaves it behind."""
        return self.cluster / "postmaster.pid"

    @property
    def start_log(self) -> Path:
        """The server's output before its own log files are open."""
        return self.root / "start.log"

    def lock(self, name: str) -> Path:
        """Return the path of the lock file ``name``: ``control``, ``users`` or ``server``."""
        return self.root / f"{name}.lock"

    def create(self) -> None:
        """Create the folder, closed to others.

        Raises
        ------
        DataFolderBusy
            The folder belongs to another user.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
            owner = self.root.stat().st_uid
        except PermissionError as error:
            raise DataFolderBusy(_NOT_OURS.format(self.root, "another user")) from error
        if owner != os.geteuid():
            raise DataFolderBusy(_NOT_OURS.format(self.root, f"user id {owner}"))

    def service_password(self) -> str:
        """Read the password of the service's role, creating it if missing.

        It may be lost: the process that starts the server sets it for the role again.
        """
        path = self.root / "service-password"
        return path.read_text().strip() if path.exists() else _write_secret(path)

    def password(self) -> str:
        """Read the password of the owner's role, creating it if there is no cluster yet.

        Raises
        ------
        StartFailed
            The cluster exists but its password file is missing.
        """
        path = self.root / "password"
        if path.exists():
            return path.read_text().strip()
        if self.cluster.exists():
            raise StartFailed(
                f"{path} is missing, but the data beside it need it: restore it from your backup"
            )
        return _write_secret(path)

    def socket_dir(self, owner: int) -> Path:
        """Create the socket's folder: in the data folder, else at a short path in ``/tmp``.

        Every process computes the same path for the same folder, so that a server restarted by one
        process is found by another.

        Parameters
        ----------
        owner
            User id of the server; other users cannot pass through our closed folders.
        """
        path = self.root / "run"
        if owner != os.geteuid() or not _fits(path):
            digest = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:16]
            path = Path(f"/tmp/driftline-{owner}-{digest}")  # noqa: S108 - made and checked below
        _private_dir(path, owner)
        return path


def _write_secret(path: Path) -> str:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return path.read_text().strip()


def _fits(directory: Path) -> bool:
    socket = os.fsencode(directory / f".s.PGSQL.{PORT}")
    return len(socket) <= _SOCKET_PATH_LIMIT and not _AWKWARD & set(str(directory))


def _private_dir(path: Path, owner: int) -> None:
    """Create ``path`` for ``owner`` alone; refuse one that another user put there before us."""
    try:
        path.mkdir(mode=0o700)
        os.chown(path, owner, -1)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise StartFailed(
                f"{path} should be a folder of user id {owner} but is not: remove it"
            ) from None
    path.chmod(0o700)


def open_lock(path: Path) -> int:
    """Open a lock file; its descriptor is not inherited."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_exclusive(descriptor: int) -> bool:
    """Take the lock exclusively if nobody holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def exclusive(path: Path, *, deadline: float) -> Iterator[int]:
    """Hold a lock file alone; yields its descriptor.

    Parameters
    ----------
    path
        The lock file.
    deadline
        On the clock of ``time.monotonic``.

    Raises
    ------
    DataFolderBusy
        Somebody still held it at the deadline.
    """
    descriptor = open_lock(path)
    try:
        while not try_exclusive(descriptor):
            if time.monotonic() >= deadline:
                raise DataFolderBusy(
                    f"another process holds {path}: stop it, or choose another service.data_dir"
                )
            time.sleep(_POLL_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)
