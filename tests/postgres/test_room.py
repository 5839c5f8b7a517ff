"""The reserve goes when the disk runs short, and is made anew when there is room."""

import shutil
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from monitor.postgres.room import MIB, Reserve, wal_size
from monitor.store.room import REMEMBERED, DiskRoom


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A disk whose size and free space the test says; the file system's own is larger."""
    said = {"total": 320 * MIB, "free": 200 * MIB}

    def usage(_path: Path) -> Usage:
        return Usage(said["total"], said["total"] - said["free"], said["free"])

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return said


def test_the_reserve_takes_its_room_and_gives_it_up(tmp_path: Path, disk: dict[str, int]) -> None:
    reserve = Reserve(root=tmp_path)
    reserve.keep()
    assert reserve.path.stat().st_blocks * 512 >= 20 * MIB
    assert not reserve.short()
    disk["free"] = 19 * MIB
    assert reserve.short()
    reserve.keep()
    assert not reserve.path.exists()


def test_once_given_up_it_is_short_until_there_is_room_for_it_again(
    tmp_path: Path, disk: dict[str, int]
) -> None:
    reserve = Reserve(root=tmp_path)
    disk["free"] = 59 * MIB
    reserve.keep()
    assert reserve.short()
    assert not reserve.path.exists()
    disk["free"] = 60 * MIB
    reserve.keep()
    assert reserve.path.exists()
    assert not reserve.short()


@pytest.mark.parametrize(
    ("mib", "wal"), [(100, "32MB"), (2_048, "128MB"), (16_384, "1024MB"), (999_999, "1024MB")]
)
def test_the_log_is_a_sixteenth_of_the_disk(
    tmp_path: Path, disk: dict[str, int], mib: int, wal: str
) -> None:
    disk["total"] = mib * MIB
    assert wal_size(tmp_path) == wal


def test_a_refusal_for_want_of_room_is_remembered_for_a_while() -> None:
    now = [0.0]
    known = DiskRoom(clock=lambda: now[0])
    known.notice(psycopg.errors.UniqueViolation())
    assert not known.full()
    known.notice(psycopg.errors.DiskFull())
    assert known.full()
    now[0] = REMEMBERED
    assert not known.full()
