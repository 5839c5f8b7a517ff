"""Long attacks on real processes: ``make attack``."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.attacks.wire import address, connected, ended, heard, sent, status
from tests.gateway.conftest import listening
from tests.gateway.processes import Site
from tests.gateway.stub_service import StubService
from tests.service import CALM, ROOT, Service, until

pytestmark = pytest.mark.attack

MIB = 1 << 20
FEW_FILES = 256
PROBE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"POST /v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
FUZZED = 600
"""Seconds of fuzzing, if ``DRIFTLINE_FUZZ_SECONDS`` says nothing else."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(folder=tmp_path, changes=CALM)
    try:
        yield service
    finally:
        service.clear_away()


def _memory(pid: int) -> float:
    """Resident memory in MB."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _slow_connections(url: str, count: int) -> Iterator[list[socket.socket]]:
    """So many that begin a head and never end it, from as many addresses as it takes."""
    with ExitStack() as stack:
        made = []
        for number in range(count):
            source = f"127.0.0.{2 + number % 50}"
            with suppress(OSError):
                [one] = stack.enter_context(connected(url, source=source))
                one.sendall(SLOW)
                made.append(one)
        yield made


def _bodies_of(url: str, method: str, path: str, count: int) -> list[int]:
    """Send so many large bodies at once, as fast as they are taken; give the answers' statuses."""
    body = json.dumps({"model": "x", "reason": "x" * int(8.3e6)}).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    answers: list[int] = []

    def send() -> None:
        with socket.create_connection(address(url), timeout=60) as one:
            with suppress(OSError):
                one.sendall(head + body[:-1])
            answers.append(status(heard(one, patience=5)))

    threads = [threading.Thread(target=send) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_slow_connections_neither_stay_nor_hide_its_health(service: Service) -> None:
    service.prefix = ("prlimit", f"--nofile={FEW_FILES}:{FEW_FILES}")
    service.start()
    with _slow_connections(service.url, 600) as held:
        for _ in range(20):
            assert status(sent(service.url, PROBE)) == 200
            time.sleep(0.5)
        gone = ended(held, within=30)
    print(f"{len(held)} made, {len(gone)} ended")
    assert len(gone) == len(held)
    assert status(sent(service.url, PROBE.replace(b"/livez", b"/login"))) == 200


def test_bodies_without_a_key_are_no_memory(service: Service) -> None:
    service.start()
    assert service.process is not None
    before = _memory(service.process.pid)
    answers = _bodies_of(service.url, "PUT", "/v1/kill-switch", 50)
    after = _memory(service.process.pid)
    print(f"{before:.0f} MB before, {after:.0f} MB after; {set(answers)}")
    assert set(answers) <= {401, 0}  # 0: closed while it was still sending
    assert after - before < 40


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A gateway before an engine that is away; it is ready once it was told its routes."""
    with listening(StubService().app()) as told:
        site = Site(tmp_path, engines=["http://127.0.0.1:9"], service=told)
        site.keep()
        yield site


def test_bodies_at_the_gateway_are_bounded_memory(site: Site) -> None:
    with site.gateway(max_bodies=64 * MIB) as gateway:
        before = _memory(gateway.process.pid)
        answers = _bodies_of(gateway.url, "POST", "/v1/chat/completions", 50)
        after = _memory(gateway.process.pid)
    print(f"{before:.0f} MB before, {after:.0f} MB after; {set(answers)}")
    assert 429 in answers
    assert after - before < 150


def test_the_gateway_lives_through_slow_connections(site: Site) -> None:
    with site.gateway() as gateway, _slow_connections(gateway.url, 600) as held:
        assert status(sent(gateway.url, PROBE)) == 200
        assert len(ended(held, within=30)) == len(held)


@pytest.mark.timeout(3600)
def test_a_fuzzer_finds_no_fault_of_ours(service: Service, tmp_path: Path) -> None:
    found = ROOT / ".venv-attack" / "bin" / "st"
    fuzzer = str(found) if found.exists() else shutil.which("st")
    if fuzzer is None:
        pytest.skip("no schemathesis: `make attack` installs it")
    service.start()
    seconds = os.environ.get("DRIFTLINE_FUZZ_SECONDS", str(FUZZED))
    log = tmp_path / "fuzzer.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [
                fuzzer, "run", f"{service.url}/openapi.json",
                "--header", f"Authorization: Bearer {service.key}",
                "--checks", "not_a_server_error", "--exclude-path-regex", "/test$|/answers$",
                "--max-examples", "100000", "--continue-on-failure", "--seed", "13",
                "--max-time", seconds, "--workers", "1", "--request-timeout", "100",
            ],
            stdout=output, stderr=output, check=False, cwd=tmp_path,
        )  # fmt: skip
    print(log.read_text(errors="replace")[-4000:])
    assert service.alive
    assert '"status": 5' not in service.log.read_text(errors="replace")
    assert done.returncode == 0
    until(lambda: status(sent(service.url, PROBE)) == 200, "it still answers")
