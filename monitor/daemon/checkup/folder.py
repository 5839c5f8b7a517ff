"""Look at the data folder: who may use it, what lies in it, and what room it has."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from monitor.config.sections import Config
from monitor.daemon.backups import KEY_FILES
from monitor.daemon.checkup.diagnosis import Diagnosis, fault, fine, note
from monitor.traffic.killswitch import FILE as KILL_SWITCH

LEAST_FREE: Final = 2 << 30
"""Bytes; a thousand adapters write less than that in a day."""
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
MOUNTS: Final = Path("/proc/self/mountinfo")
OF_A_POD: Final = "/volumes/kubernetes.io~empty-dir/"
"""In the path on the node of a volume that is made and removed with its pod."""


def check_folder(config: Config) -> Iterator[Diagnosis]:
    """Look at the folder, its keys, its kill switch and its disk."""
    part, folder = "data folder", config.service.data_dir.absolute()
    if not folder.exists():
        yield note(part, f"{folder}: the first start makes it")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        owner = folder.stat().st_uid
        yield fault(
            part,
            f"this account may not write {folder}",
            f"run as the account that owns it (uid {owner})",
        )
        return
    if _others(folder, _OTHERS_WRITE, of_group=stat.S_IWGRP):
        yield _writable(folder)
    for key in (folder / name for name in KEY_FILES):
        if key.exists() and _others(key, _OTHERS, of_group=stat.S_IRGRP):
            yield _readable(key)
    if (folder / KILL_SWITCH).exists():
        yield note(
            "kill switch",
            "on by a file: nothing moves traffic by itself",
            f"remove {folder / KILL_SWITCH}",
        )
    free = shutil.disk_usage(folder).free
    told = f"{folder}: {free / (1 << 30):.1f} GiB free"
    if free < LEAST_FREE:
        yield fault(part, told, "make room, or lower capture.retention")
    else:
        yield fine(part, told)


def _is_own(path: Path) -> bool:
    """True if this account may change who may use the file."""
    return os.geteuid() in (0, path.stat().st_uid)


def _others(path: Path, rights: int, *, of_group: int) -> bool:
    """True if other accounts have one of these rights.

    A file of another account may give ``of_group`` to a group that this process was put into: so
    Kubernetes lets a pod use its volumes and secrets (``fsGroup``).
    """
    found = path.stat()
    if not _is_own(path) and found.st_gid in {os.getegid(), *os.getgroups()}:
        rights &= ~of_group
    return bool(found.st_mode & rights)


def _writable(folder: Path) -> Diagnosis:
    part = "data folder"
    if _is_own(folder):
        return fault(part, f"other accounts may write {folder}", f"chmod go-w {folder}")
    if _is_of_a_pod(folder):  # the node lets nobody else get there
        return note(part, f"every container of this pod that mounts {folder} may write it")
    return fault(
        part,
        f"other accounts may write {folder}",
        f"as root: chown {os.geteuid()} {folder} && chmod go-w {folder}",
    )


def _readable(key: Path) -> Diagnosis:
    advice = f"chmod 600 {key}"
    if not _is_own(key):
        advice = f"let its owner (uid {key.stat().st_uid}) give it, or its Secret, the mode 0440"
    return fault("data folder", f"other accounts may read {key}", advice)


def _is_of_a_pod(folder: Path) -> bool:
    """True if it is mounted from an ``emptyDir``, which Kubernetes makes writable by all."""
    if not MOUNTS.exists():
        return False
    mounts = (line.split() for line in MOUNTS.read_text().splitlines())
    return any(OF_A_POD in source and at == str(folder) for _, _, _, source, at, *_ in mounts)
