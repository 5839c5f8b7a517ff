"""Is the server that a pid file names alive, and is it the server of this folder?"""

import os
from dataclasses import dataclass
from pathlib import Path

# Lines of postmaster.pid, from 0 (PostgreSQL's src/include/utils/pidfile.h).
_PID_LINE = 0
_SOCKET_DIR_LINE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """A live server; ``socket_dir`` is None until it has opened its socket."""

    pid: int
    socket_dir: Path | None


def live_postmaster(cluster: Path) -> Postmaster | None:
    """Read the pid file of ``cluster`` and believe it only if that process serves this folder."""
    lines = _pid_file_lines(cluster)
    pid = named_pid(cluster)
    if pid is None or not serves(pid, cluster):
        return None
    socket_dir = lines[_SOCKET_DIR_LINE] if len(lines) > _SOCKET_DIR_LINE else ""
    return Postmaster(pid=pid, socket_dir=Path(socket_dir) if socket_dir else None)


def named_pid(cluster: Path) -> int | None:
    """Process id in the pid file of ``cluster``; None when there is no such file, or none yet."""
    lines = _pid_file_lines(cluster)
    first = lines[_PID_LINE].strip() if lines else ""
    # The postmaster of a standalone backend writes its id negated.
    return abs(int(first)) if first.lstrip("-").isdigit() else None


def _pid_file_lines(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def exists(pid: int) -> bool:
    """Whether ``/proc`` lists the process, alive or zombie."""
    return Path(f"/proc/{pid}").exists()


def serves(pid: int, cluster: Path) -> bool:
    """Whether ``pid`` is a running server of ``cluster``.

    A postmaster works inside its data directory, so its ``cwd`` tells it from a foreign process
    that was given the same id. Where we may not read it (another user's process, in a container
    without ``CAP_SYS_PTRACE``) the name of the program has to do.
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
