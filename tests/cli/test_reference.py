"""What ``driftline reference`` says of a reference."""

import json

import pytest
from typer.testing import CliRunner

from monitor.cli.app import app
from tests.routed import answering

MADE = {
    "generation": 2,
    "state": "ready",
    "progress": 1.0,
    "approved_by": None,
    "n_training": 500,
    "n_baseline": 1_599,
    "left_out": 1,
    "span_days": 3.0,
    "error": None,
    "cause": "first look",
}


@pytest.mark.parametrize("left_out", [1_234, 0])
def test_lines_of_a_baseline_that_were_left_out_are_counted(
    monkeypatch: pytest.MonkeyPatch, left_out: int
) -> None:
    body = json.dumps({"items": [MADE | {"left_out": left_out}], "seen": None, "learning": None})
    with answering(lambda *_: (200, body.encode())) as url:
        monkeypatch.setenv("DRIFTLINE_URL", url)
        monkeypatch.setenv("DRIFTLINE_KEY", "dl_k")
        monkeypatch.setenv("COLUMNS", "200")
        done = CliRunner().invoke(app, ["reference", "status", "support", "v7"])
    assert done.exit_code == 0, done.output
    said = "baseline lines left out, also among training: 1,234"
    assert (said in done.output) == bool(left_out)
