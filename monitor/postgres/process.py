"""Tell whether the server named by a pid file is alive, and whether it is this folder's."""

import os
from dataclasses import dataclass
from pathlib import Path

# Lines of postmaster.pid, from 0 (PostgreSQL's src/include/utils/pidfile.h).
_PID_LINE = 0
_SOCKET_DIR_LINE = 4
_STATUS_LINE = 7
_LONGEST_PID = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """A live server; ``socket_dir`` is None until it accepts connections there."""

    pid: int
    socket_dir: Path | None


def live_postmaster(cluster: Path) -> Postmaster | None:
    """Read the pid file of ``cluster``, and trust it only if that process serves this folder."""
    lines = _lines(cluster / "postmaster.pid")
    pid = named_pid(cluster / "postmaster.pid")
    if pid is None or not serves(pid, cluster):
        return None
    ready = len(lines) > _STATUS_LINE and lines[_STATUS_LINE].startswith("ready")
    return Postmaster(pid=pid, socket_dir=Path(lines[_SOCKET_DIR_LINE]) if ready else None)


def named_pid(lock_file: Path) -> int | None:
    """Return the process id in a pid file or socket lock; None if missing or without one."""
    lines = _lines(lock_file)
    # A standalone backend writes its id as a negative number.
    first = lines[_PID_LINE].strip().removeprefix("-") if lines else ""
    return int(first) if first.isdecimal() and len(first) <= _LONGEST_PID else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def exists(pid: int) -> bool:
    """True if ``/proc`` lists the process, alive or zombie."""
    return Path(f"/proc/{pid}").exists()


def serves(pid: int, cluster: Path) -> bool:
    """True if ``pid`` is a running server of ``cluster``.

    A postmaster works inside its data directory, so its ``cwd`` tells it from a foreign process
    with the same id. If we may not read that (another user's process, in a container without
    ``CAP_SYS_PTRACE``), the program's name is used.
    """
    if _state(pid) in {None, "Z", "X"}:
        return False
    try:
        return os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), cluster.stat())
    except FileNotFoundError:
        return False
    except PermissionError:
        return _program(pid) == "postgres"


def _state(pid: int) -> str | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may itself hold brackets and spaces.
    return line.rpartition(")")[2].split()[0]


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
