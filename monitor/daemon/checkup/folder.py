"""Look at the data folder: who may use it, what lies in it, and what room it has."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from typing import Final

from monitor.config.sections import Config
from monitor.daemon.backups import KEY_FILES
from monitor.daemon.checkup.diagnosis import Diagnosis, fault, fine, note
from monitor.traffic.killswitch import FILE as KILL_SWITCH

LEAST_FREE: Final = 2 << 30
"""Bytes; a thousand adapters write less than that in a day."""
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


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
    if folder.stat().st_mode & _OTHERS_WRITE:
        yield fault(part, f"other accounts may write {folder}", f"chmod go-w {folder}")
    for key in (folder / name for name in KEY_FILES):
        if key.exists() and key.stat().st_mode & _OTHERS:
            yield fault(part, f"other accounts may read {key}", f"chmod 600 {key}")
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
