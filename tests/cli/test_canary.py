"""Canaries and retraining from the command line, on the service that all commands share."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from monitor.cli import retraining
from tests.cli.command import failed
from tests.cli.conftest import Run
from tests.service import Service, until

NAME = "trialled"


def test_a_canary_is_begun_shown_steered_and_aborted(run: Run, service: Service) -> None:
    for version in ("v1", "v2"):
        service.register(NAME, version)
    begun = run(
        "canary", "start", NAME, "v2", "--step", "0.1:1h30m", "--step", "0.5:2h",
        "--unchecked", "served",
    )  # fmt: skip
    assert begun.code == 0
    assert begun.err.startswith("mind: no request was counted in the last 24 hours")
    assert "steps: 10% for 1.5 h, 50% for 2.0 h, then everything" in begun.out
    number = re.search(r"canary (\d+)", begun.out)
    assert number is not None
    one = number[1]

    def shown() -> dict[str, object]:
        found: dict[str, object] = json.loads(run("canary", "show", one, "--json").out)
        return found

    planned = run("canary", "plan", NAME, "--requests-per-day", "500").out
    assert re.search(r"by default.*5% 24.0 h, 25% 6.0 h, 50% 6.0 h", planned)
    assert re.search(r"--shadow.*copies", planned)
    until(lambda: shown()["phase"] == "running", "its first step")
    service.register(NAME, "v3")
    assert "registered since: v3; this canary goes on" in run("canary", "show", one).out
    said = run("canary", "show", one).out
    assert f"{NAME}@v2 beside v1, running, 10% of the traffic (step 1 of 2" in said
    assert f"canary {one}: running, 10% of the traffic" in run("actions", NAME).out
    paused = run("canary", "pause", one, "--reason", "sale [bold]today[/bold]")
    assert "paused (manual)" in paused.out
    assert "sale [bold]today[/bold]" in paused.out
    assert "running" in run("canary", "resume", one).out
    failed(run("canary", "promote", one), "promote it with force")
    assert NAME in run("canary", "list", "--active").out
    assert "rolling back" in run("canary", "abort", one).out
    until(lambda: shown()["phase"] == "rolled_back", "its end")
    failed(run("canary", "start", NAME, "v2"), "resume that one to let it try again")
    failed(run("canary", "start", NAME, "v2", "--step", "a tenth"), "is no step such as 0.05:24h")
    failed(run("canary", "start", NAME, "v2", "--step", "nan:2h"), "'nan' is no share")
    both = run("canary", "start", NAME, "v2", "--shadow", "--step", "0.1:2h")
    failed(both, "a shadow has no steps")
    failed(run("canary", "show", "4711"), "There is no canary 4711.")


def test_a_table_of_examples_has_a_row_for_each_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining, "TABLE_ROWS", 2)
    lines: list[dict[str, Any]] = [
        {"id": str(n), "conversations": [{"from": "human", "value": f"question {n}"}]}
        for n in range(5)
    ]
    lines[1]["conversations"] = [
        {"from": "human", "value": "why?"},
        {"from": "gpt", "value": "because é"},
    ]
    to = tmp_path / "examples.parquet"
    assert retraining.write_table(map(json.dumps, lines), to) == 5
    rows = parquet.read_table(to).to_pylist()
    assert rows[1] == {"id": "1", "prompt": "why?", "answer": "because é"}
    assert rows[4] == {"id": "4", "prompt": "question 4", "answer": None}
    with pytest.raises(json.JSONDecodeError):
        retraining.write_table(iter(["no JSON"]), to)
    assert parquet.read_table(to).num_rows == 5, "the file stays as it was"
    assert [one.name for one in tmp_path.iterdir()] == [to.name]


def test_a_retraining_is_asked_for_and_listed(run: Run, service: Service, tmp_path: Path) -> None:
    service.register("retrained", "v1")
    assert "no retraining was asked for" in run("retraining", "list", "retrained").out
    why = "new [bold]questions[/bold]"
    asked = run("retraining", "request", "retrained", "--reason", why)
    assert re.search(r"request \d+: retrain retrained from v1 on what came from", asked.out)
    failed(run("retraining", "request", "retrained", "--reason", why), "ask with force")
    assert run("retraining", "request", "retrained", "--reason", why, "--force").code == 0
    listed = run("retraining", "list", "retrained").out
    (number,) = re.findall(r"request (\d+)", asked.out)
    none = run("retraining", "export", number)
    assert (none.code, none.out, none.err.strip()) == (0, "", "0 examples")
    kept = tmp_path / "examples.jsonl"
    kept.write_text("corrected by hand\n")
    failed(run("retraining", "export", "999999", "--to", str(kept)), "999999")
    assert kept.read_text() == "corrected by hand\n"
    assert run("retraining", "export", number, "--to", str(kept)).code == 0
    assert [one.name for one in tmp_path.iterdir()] == ["examples.jsonl"]
    assert kept.read_text() == ""
    failed(run("retraining", "export", number, "--format", "parquet"), "with --to")
    table = tmp_path / "examples.parquet"
    made = run("retraining", "export", number, "--format", "parquet", "--to", str(table))
    assert made.code == 0
    assert parquet.read_table(table).column_names == ["id", "prompt", "answer"]
    assert listed.count("retrained@v1") == 2
    assert why in listed
