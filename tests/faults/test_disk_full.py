"""The disk of the embedded server fills: told at once, survived, over when there is room."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import psycopg
import pytest

from monitor.postgres.room import Reserve, wal_size
from tests.inbox import Inbox
from tests.service import CALM, NDJSON, Service, Talk, ndjson, running, until

SIZE = 256 << 20
LEFT = 4 << 20
"""Bytes that the ballast leaves free."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 256 MiB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode != 0:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave a little room, however much there was."""
    found = os.statvfs(disk)
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - LEFT)
    return ballast


def send(service: Service, talk: Talk) -> tuple[int, str, int]:
    """Send records; give the status, the kind of problem and how many were acknowledged."""
    body = ndjson(talk.records(20))
    answer = service.call("POST", "/v1/records", content=body, headers=NDJSON)
    said = answer.json()
    kind = str(said.get("type", "")).rpartition(":")[2]
    return answer.status_code, kind, said.get("accepted", 0)


def answers(service: Service) -> bool:
    with suppress(httpx2.TransportError):
        return service.call("GET", "/livez").is_success
    return False


def metric(service: Service) -> float:
    [line] = [
        one
        for one in service.call("GET", "/metrics").text.splitlines()
        if one.startswith("driftline_disk_full ")
    ]
    return float(line.split()[1])


def ready(service: Service) -> list[str]:
    answer = service.call("GET", "/readyz")
    return [str(one) for one in answer.json()["reasons"]]


def test_a_full_disk_is_told_and_survived_and_its_end_needs_no_restart(small_disk: Path) -> None:
    with Inbox() as inbox, running(small_disk / "service", inbox=inbox, changes=CALM) as service:
        service.register("support", "v1")
        talk, acknowledged = Talk("support"), 0
        status, _, accepted = send(service, talk)
        assert status == 202
        acknowledged += accepted
        reserve = Reserve(root=service.data_dir / "postgres")
        until(reserve.path.exists, "the reserve")

        ballast = fill(small_disk)
        until(lambda: any("disk-full" in one for one in ready(service)), "not ready", patience=10)
        assert send(service, talk)[:2] == (507, "disk-full")
        assert metric(service) == 1
        said = ("driftline", "started", "page")
        until(lambda: said in [one.said for one in inbox.messages], "a page")
        service.kill_postgres()
        until(lambda: len(service.events("postgres_started")) > 1, "the server up again")
        assert not reserve.path.exists()

        ballast.unlink()
        until(lambda: not ready(service), "ready again")
        until(lambda: send(service, talk)[0] == 202, "records taken in again")
        assert metric(service) == 0
        over = ("driftline", "recovered", "page")
        until(lambda: over in [one.said for one in inbox.messages], "the end told")
        until(reserve.path.exists, "the reserve made anew")
        with service.stored() as connection:
            row = connection.execute("SELECT count(*) FROM records").fetchone()
        assert row is not None
        assert row[0] >= acknowledged


def test_a_service_that_is_killed_on_a_full_disk_starts_there_and_says_so(
    small_disk: Path,
) -> None:
    with running(small_disk / "service", changes=CALM) as service:
        service.register("support", "v1")
        talk = Talk("support")
        assert send(service, talk)[0] == 202
        until(Reserve(root=service.data_dir / "postgres").path.exists, "the reserve")
        ballast = fill(small_disk)
        until(lambda: send(service, talk)[:2] == (507, "disk-full"), "full")
        service.kill()
        service.kill_postgres()
        service.launch()
        until(lambda: answers(service), "an answer of the service")
        assert service.get("/v1/adapters/support")["adapter"] == "support"
        ballast.unlink()
        until(lambda: not ready(service), "ready again")
        until(lambda: send(service, talk)[0] == 202, "records taken in again")


def test_the_log_of_a_small_disk_is_small(small_disk: Path) -> None:
    assert wal_size(small_disk) == "32MB"
    with running(small_disk / "service", changes=CALM) as service, service.stored() as connection:
        assert setting(connection, "max_wal_size") == "32MB"


def setting(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])
