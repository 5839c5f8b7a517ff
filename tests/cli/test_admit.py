"""`admit` by command: the service's worker checks while the command waits."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

from examples.weights import BASE, DemoAdapter
from monitor.admission.job import Admissions
from monitor.admission.settings import AdmissionSettings
from monitor.domain import Scope
from monitor.store.database import Database
from tests.admission.broken_adapters import made, of_rank
from tests.cli.command import Ran, driftline, failed
from tests.cli.conftest import QUIET, Run
from tests.serving import Serving, serving

SOUND = DemoAdapter.SUPPORT_V1.path


def test_a_worker_of_the_service_checks_and_the_exit_code_says_what_it_found(run: Run) -> None:
    ran = run("admit", QUIET, "v1")
    assert ran.code == 4, ran
    assert "its files are not readable here" in ran.out
    assert f"{QUIET}@v1 is refused: files" in ran.out
    failed(run("admit", "nobody", "v1"), "No adapter is called 'nobody'.")
    failed(run("admit", QUIET, "v9", "--last"), f"{QUIET!r} has no version 'v9'.")


@contextmanager
def working(database: Database) -> Iterator[None]:
    """Run admissions until the body ends."""
    job = Admissions(database=database, settings=AdmissionSettings())
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            job.turn()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_report_is_for_people_for_pipes_and_for_ci(database: Database, tmp_path: Path) -> None:
    flat = made(tmp_path / "flat", of_rank(3), of=SOUND)
    junit = tmp_path / "admission.xml"
    with serving(database, tmp_path) as service, working(database):
        with service.client(Scope.ADMIN) as client:
            for name, uri in (("v1", SOUND), ("v2", flat)):
                body = {"uri": str(uri), "base_model": str(BASE)}
                client.put(f"/v1/adapters/support/versions/{name}", json=body)
        sound = _admit(service, "v1")
        refused = _admit(service, "v2", "--junit", str(junit))
        again = _admit(service, "v2", "--last", "--json")
        half = _admit(service, "v1", "--training", str(junit))
        canaries = tmp_path / "canaries.txt"
        canaries.write_text("the code of the old door is 4711 0815 and nothing else\n")
        given = _admit(service, "v1", "--planted", str(canaries), "--same-as", "v2", "--json")
        unknown = _admit(service, "v1", "--same-as", "v9")
        asked = tmp_path / "questions.jsonl"
        asked.write_text('{"kind": "sums", "text": "1 + 1 =", "choices": [" 2", " 3"]}\n')
        questions = _admit(service, "v1", "--questions", str(asked), "--json")
        broken = _admit(service, "v1", "--questions", str(junit))
        task = _admit(service, "v1", "--task", "hellaswag")
    assert (sound.code, refused.code, again.code, half.code) == (0, 4, 4, 2)
    assert "support@v1 is admitted, with warnings: size" in sound.out
    assert "admission is not required" in sound.out
    assert "support@v2 is refused: rank" in refused.out
    suite = ET.parse(junit).getroot()  # noqa: S314 (our own)
    assert [case.attrib["name"] for case in suite if case.find("failure") is not None] == ["rank"]
    assert json.loads(again.out)["verdict"] == "refuse"
    skipped = {one["name"]: one["reason"] for one in json.loads(given.out)["checks"]}
    assert (
        skipped["planted"]
        == skipped["parity"]
        == ("nothing reads texts here: name engines in serving.engines")
    )
    failed(unknown, "'support' has no version 'v9'")
    reasons = {one["name"]: one["reason"] for one in json.loads(questions.out)["checks"]}
    assert reasons["tasks"] == skipped["parity"], "they came, and nothing reads texts here"
    assert skipped["tasks"] == "no questions were given"
    failed(broken, f"--questions {junit}: ")
    failed(task, "--task: lm-evaluation-harness is not installed: pip install lm-eval")


def _admit(service: Serving, version: str, *words: str) -> Ran:
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.ADMIN]}
    return driftline("admit", "support", version, *words, environ=told)
