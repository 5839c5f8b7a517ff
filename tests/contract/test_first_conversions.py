"""Threads that convert to a class for the first time, all at once, do not crash the process.

msgspec 0.22 looks at a class when it first meets it; a second thread that comes meanwhile reads
what is half made, and the process ends by SIGSEGV.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.message import to_json
from tests.alert_samples import an_alert
from tests.service import ROOT

ONE_THREAD = {"monitor/replay/reading.py"}
"""Modules whose conversions no two threads do."""

AT_ONCE = """
import json, sys, threading
from alerts.message import from_json
body, ready = json.load(sys.stdin), threading.Barrier(8)
sys.setswitchinterval(1e-6)
def convert():
    ready.wait()
    from_json(body)
threads = [threading.Thread(target=convert) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_eight_threads_read_their_first_alert_at_once() -> None:
    # without what stands beside `from_json` one process in four crashed
    for _ in range(12):
        ran = subprocess.run(
            [sys.executable, "-c", AT_ONCE],
            cwd=ROOT,
            input=json.dumps(to_json(an_alert())),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")


def converting() -> Iterator[Path]:
    for package in ("alerts", "monitor"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "msgspec.convert(" in text and str(path.relative_to(ROOT)) not in ONE_THREAD:
                yield path


@pytest.mark.parametrize("path", list(converting()), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_class_that_threads_convert_to_is_met_when_its_module_is_loaded(path: Path) -> None:
    calls = [one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.Call)]
    asked = {
        ast.unparse(call.args[1]).removeprefix("list[").removesuffix("]")
        for call in calls
        if ast.unparse(call.func) == "msgspec.convert"
    }
    met = {
        ast.unparse(call.args[0])
        for call in calls
        if call.args and ast.unparse(call.func) == "msgspec.json.Decoder"
    }
    # a name in small letters stands for whatever class a caller gives
    assert {name for name in asked if name[0].isupper()} <= met
