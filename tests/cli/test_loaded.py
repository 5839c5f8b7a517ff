"""What a command that only asks the service costs: it is typed again and again, in a hurry."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from tests.cli.command import ROOT
from tests.cli.conftest import DRIFTS
from tests.cli.test_without_a_service import EVERY_COMMAND
from tests.loopback import Receiver, answer
from tests.service import Service

SERVICES_OWN = (
    *("numpy", "sqlalchemy", "psycopg", "detectors", "uvicorn", "structlog"),
    *("alerts.channels", "jinja2", "opentelemetry", "smtplib"),
)
"""What the service is made of; whoever asks it needs none of it."""

COMPUTE = {
    *("serve", "gateway", "migrate", "backup", "restore", "check-config", "doctor", "demo"),
    *("discover", "report", "replay", "inspect", "parity"),
    *("keys create", "keys list", "keys revoke"),
    *("retraining run", "import folder", "import mlflow", "adapters push", "adapters pull"),
}
"""Commands that run something, open the database or read models themselves."""

ASK = """
actions
budget
receipt
status
open --print
admit support v2
status support
evaluate support
explain 1
new support --since 1h
selftest support
canary start support v2
canary list
canary show 1
canary pause 1 --reason why
canary resume 1 --reason why
canary promote 1 --reason why
canary abort 1 --reason why
canary plan support
change begin engine title
change end
change add engine title
change list
channels list
channels test journal
deliveries list
deliveries replay --all
incident list
incident show 1
incident ack 1
incident false 1 --reason why
incident accept 1 --reason why
reference build support v1 reference.ndjson
reference freeze support v1 --start 2026-11-01 --end 2026-11-02
reference learn support v1
reference refreeze --cause engine
reference status support v1
reference approve support v1 1
plan support
retention show
retention confirm
retraining list
retraining request support --reason why
retraining export 1
retraining cancel 1 --reason why
route show support
route history support
route set support stable=v1:1 --reason why
route hold support --reason why
route release support --reason why
route renew --reason why
silence add adapter=support --comment why --hours 2
silence list
silence expire 1
"""

RUN = """
import json, sys
from monitor.cli import main
unfit = {}
for words in json.loads(sys.stdin.read()):
    try:
        main(words.split())
    except SystemExit as end:
        if end.code == 2:
            unfit[words] = "wrong usage"
    if loaded := sorted(set(json.loads(sys.argv[1])) & set(sys.modules)):
        unfit[words] = loaded
        break
print(json.dumps(unfit))
"""


def test_every_command_either_asks_or_computes() -> None:
    every = {" ".join(path) for path in EVERY_COMMAND}
    leaves = {
        one for one in every if not any(other.startswith(f"{one} ") for other in every - {one})
    }
    asking = ASK.strip().splitlines()
    known = {one for one in leaves if any(f"{words} ".startswith(f"{one} ") for words in asking)}
    assert known | COMPUTE == leaves - {""}
    assert known & COMPUTE == set()


def test_commands_that_only_ask_load_nothing_of_what_the_service_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "reference.ndjson").write_text('{"role": "training", "text": "a"}\n')
    with Receiver([answer(404, body=b'{"title":"Not Found"}')]) as server:
        told = {"DRIFTLINE_URL": f"http://127.0.0.1:{server.port}", "DRIFTLINE_KEY": "dl_0"}
        ran = subprocess.run(
            [sys.executable, "-c", RUN, json.dumps(SERVICES_OWN)],
            cwd=tmp_path,
            env=os.environ | told | {"PYTHONPATH": str(ROOT)},
            input=json.dumps(ASK.strip().splitlines()),
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(ran.stdout.splitlines()[-1]) == {}, ran.stderr
    asking = [line for line in ASK.strip().splitlines() if not line.startswith("open")]
    assert len(server.seen) >= len(asking)


ONE = """
import sys
from monitor.cli import main
try:
    main(["receipt", "--help"])
except SystemExit as end:
    assert not end.code, end.code
print(*sorted(name for name in sys.modules if name.startswith("monitor.views.")))
"""


def test_a_command_loads_no_other_commands() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ONE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = ran.stdout.splitlines()[-1].split()
    assert "monitor.views.receipt" in loaded
    assert {"monitor.views.incident", "monitor.views.adapter", "monitor.views.canary"} & {
        *loaded
    } == set()


LIBRARIES = "import httpx2, rich.progress, rich.table, typer.main"
"""What any command is made of: a tenth of a second of CPU where nothing else runs."""


READS = """
status
status {adapter}
incident list
incident show 1
route show {adapter}
reference status {adapter} v1
plan {adapter}
new {adapter} --since 1h
budget
receipt
actions
canary list
channels list
deliveries list
silence list
change list
retraining list
retention show
"""


def test_answers_are_on_screen_within_three_times_what_the_libraries_take(
    service: Service, tmp_path: Path
) -> None:
    """That is .3 s of CPU; a second is a second only where nothing else runs, so both are taken."""
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.key, "PYTHONPATH": str(ROOT)}

    def spent(*words: str) -> float:
        before = _of_children()
        ran = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=os.environ | told,
            capture_output=True,
            check=False,
        )
        assert ran.stdout or ran.stderr or words[0] == "-c", ran
        return _of_children() - before

    spent("-m", "monitor", "status")  # writes the bytecode that an installation has
    slow = [line.format(adapter=DRIFTS).split() for line in READS.strip().splitlines()]
    for _ in range(4):  # measured: 1.9 to 2.4; with every command loaded 3.4, with the service 10
        libraries = spent("-c", LIBRARIES)
        slow = [words for words in slow if spent("-m", "monitor", *words) > 2.8 * libraries]
    assert slow == []


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
