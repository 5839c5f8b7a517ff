"""What a terminal of eighty columns shows of a fleet, once or again and again."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.domain import Scope
from monitor.store.database import Database
from tests import worlds
from tests.cli.command import ROOT, Ran, failed, process
from tests.loopback import Receiver, answer
from tests.serving import serving

Run = Callable[..., Ran]

LONG = "payments-emea-customer-support-production"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def run(database: Database, tmp_path: Path) -> Iterator[Run]:
    now = datetime.now(UTC)
    with database.begin() as tx:
        worlds.seed(tx, now=now, days=0.1)
        worlds.registered(tx, LONG, "v1", owner="payments", now=now)
    with serving(database, tmp_path) as service:
        told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.READ]}

        def ran(*words: str, **environ: str) -> Ran:
            return process(*words, environ=told | {"COLUMNS": "80"} | environ, cwd=tmp_path)

        yield ran


def test_the_fleet_says_why_since_when_and_under_which_incident_in_eighty_columns(run: Run) -> None:
    ran = run("status")
    assert (ran.code, ran.err) == (4, "")
    drawn = ran.out.splitlines()
    counted = re.fullmatch(r"(1 critical, 1 drifting, .*)", drawn[0])
    assert counted, drawn[0]
    assert max(map(len, drawn)) <= 80
    assert drawn[2].split() == [
        *("adapter", "verdict", "since", "incident", "compared", "traffic", "reference")
    ]
    assert LONG in drawn
    [incident] = json.loads(run("incident", "list", "--severity", "page", "--json").out)["items"]
    name = incident["adapter"]
    [at] = [n for n, line in enumerate(drawn) if line.startswith(f"{name} ")]
    assert f"#{incident['incident']}" in drawn[at]
    said = " ".join(" ".join(drawn[at : at + 5]).split())
    assert incident["summary"].removeprefix(f"{name}@{incident['version']}: ")[:40] in said


def test_the_fleet_is_narrowed_and_json_is_narrowed_alike(run: Run) -> None:
    shown = run("status", "--owner", "payments")
    assert (shown.code, LONG in shown.out) == (0, True)
    assert "critical" not in shown.out
    told = json.loads(run("status", "--verdict", "critical", "--verdict", "drifting", "--json").out)
    assert [one["verdict"] for one in told["items"]] == ["critical", "drifting"]
    named = json.loads(run("status", "--adapter", "EMEA", "--json").out)["items"]
    assert [one["adapter"] for one in named] == [LONG]
    none = run("status", "--base", "no such base")
    assert (none.code, none.out) == (0, "no adapter matches; `driftline status` shows all\n")
    failed(run("status", "--verdict", "broken"), "critical")
    assert run("status", "support", "--owner", "payments").code == 2
    assert run("status", "--watch", "--json").code == 2


def test_colours_are_those_of_the_pages_and_can_be_switched_off(run: Run) -> None:
    def coloured(**environ: str) -> str:
        return run("status", FORCE_COLOR="1", TERM="xterm-256color", **environ).out

    assert "\x1b[1;31mcritical\x1b[0m" in coloured()
    assert "31m" not in coloured(NO_COLOR="1")


# --- again and again -----------------------------------------------------------------------

EMPTY = answer(200, body=b'{"items": [], "next": null}')
RETENTION = b'{"looked_at": null, "reached": null, "withheld": null, "would_drop": {}}'
LOOK = [EMPTY, EMPTY, EMPTY, answer(200, body=RETENTION)]
"""The answers to one look: adapters, incidents, changes, retention."""


class Terminal:
    """``driftline`` in a terminal of 24 lines; what it writes can be waited for."""

    def __init__(self, *words: str, environ: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        size = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "monitor", *words],
            env=os.environ | size | environ,
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.written = ""

    def shows(self, words: str, *, patience: float = 60.0) -> None:
        """Wait for words that were not shown before."""
        before, until = len(self.written), time.monotonic() + patience
        while words not in self.written[before:]:
            assert time.monotonic() < until, self.written
            self._read()
            time.sleep(0.02)

    def _read(self) -> None:
        try:
            self.written += os.read(self._ours, 65536).decode(errors="replace")
        except (BlockingIOError, OSError):
            return

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=60)
        self._read()
        os.close(self._ours)
        return code


def test_a_watch_outlives_the_service_and_ends_cleanly(tmp_path: Path) -> None:
    with Receiver(LOOK * 1000) as server:
        told = {
            "DRIFTLINE_URL": f"http://127.0.0.1:{server.port}",
            "DRIFTLINE_KEY": "dl_0",
            "DRIFTLINE_SERVICE__DATA_DIR": str(tmp_path),
        }
        port = server.port
        terminal = Terminal("status", "--watch", "--every", "0.2", environ=told)
        terminal.shows("no adapter is registered yet")
        terminal.shows("Ctrl-C ends")
    terminal.shows("cannot reach")
    terminal.shows("Tried again every 0.2 s")
    with Receiver(LOOK * 1000, port=port):
        terminal.shows("Ctrl-C ends")
        code = terminal.interrupt()
    assert code == 0
    assert "Traceback" not in terminal.written
    assert "Aborted" not in terminal.written
    assert terminal.written.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_a_watch_with_a_wrong_key_says_so_at_once(tmp_path: Path) -> None:
    refused = answer(401, body=b'{"title": "Unauthorized", "detail": "The key is unknown."}')
    with Receiver([refused]) as server:
        told = {"DRIFTLINE_URL": f"http://127.0.0.1:{server.port}", "DRIFTLINE_KEY": "dl_0"}
        failed(process("status", "--watch", environ=told, cwd=tmp_path), "The key is unknown.")
